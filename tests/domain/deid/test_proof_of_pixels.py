"""What a proof says of pixels that were searched."""

from __future__ import annotations

from dataclasses import replace

from fiona_dagster.domain.deid.proof import _masked_part
from fiona_dagster.domain.deidentification import DeidentifiedInstance
from fiona_dagster.domain.pixels.masks import Mask, Masking
from fiona_dagster.domain.signed import canonical

COPY = DeidentifiedInstance(1, "1.2.3", "released")


def test_the_share_of_masked_pixels_is_a_whole_number_that_can_be_signed() -> None:
    masking = Masking("why", ("reading",), (Mask(0, 0, 1, 1, 5, 5),), share=0.0041)
    part = _masked_part(replace(COPY, masking=masking))
    assert part["pixels"]["percent"] == 1, "something is never told as nothing"
    assert canonical(part)
    assert _masked_part(COPY) == {}
