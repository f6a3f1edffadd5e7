"""Names and numbers that were burned into a real image are read, and masked where a person marked them.

`python benchmarks/real_text.py` asks the same of all marked images and all of their frames.
"""

from __future__ import annotations

import pytest

from benchmarks.real_text import MARKED, left_standing
from fiona_dagster.adapters.text_in_pixels import read_text
from tests.conftest import need_shared


def test_what_is_burned_into_a_real_image_is_read_and_masked() -> None:
    (one,) = (one for one in MARKED if one.path.endswith("2_ORIGINAL.dcm"))
    text = read_text(need_shared("corpus", *one.path.split("/")))
    words = " ".join(box.text for box in text.boxes)
    assert all(word in words for word in ("KAUFMAN", "SCOTT", "03.09.2012"))
    assert left_standing(need_shared("corpus"), one, text) == []


def test_another_image_in_the_place_of_a_marked_one_is_noticed() -> None:
    one, other = MARKED[:2]
    text = read_text(need_shared("corpus", *other.path.split("/")), frames=[])
    with pytest.raises(LookupError):
        left_standing(need_shared("corpus"), type(one)(other.path, one.uid_hash, ()), text)
