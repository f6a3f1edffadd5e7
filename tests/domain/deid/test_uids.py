from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid.uids import UidMapper
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.identifiers import is_valid_uid

KEY = b"k" * 32


@given(
    st.text(alphabet="0123456789.", min_size=1, max_size=64),
    st.sampled_from(["2.25", "1.2.826.0.1.3680043.10"]),
)
def test_every_new_uid_is_valid_and_stable(uid: str, root: str) -> None:
    new = UidMapper(KEY, root)(uid)
    assert is_valid_uid(new)
    assert new.startswith(root + ".")
    assert new == UidMapper(KEY, root)(uid + "\0")


def test_the_formula_is_the_documented_one() -> None:
    digest = hmac.new(KEY, b"1.2.3", hashlib.sha256).digest()
    assert UidMapper(KEY)("1.2.3") == f"2.25.{int.from_bytes(digest[:16], 'big')}"


def test_registered_uids_stay_and_borrowed_roots_do_not() -> None:
    mapper = UidMapper(KEY)
    assert mapper("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert mapper("1.2.840.10008.99.123456") != "1.2.840.10008.99.123456"
    assert mapper("") == ""


def test_another_key_gives_other_uids() -> None:
    assert UidMapper(KEY)("1.2.3") != UidMapper(b"x" * 32)("1.2.3")


@pytest.mark.parametrize("root", ["", "2", "2.025", "2.25.", "a.b", "1.2.840.113619.6.95.31.0.3"])
def test_a_root_that_cannot_carry_128_bit_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError):
        UidMapper(KEY, root)
