"""Bar codes and matrix codes are found wherever they stand, and nothing of them is left that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from zxingcpp import BarcodeFormat, create_barcode, read_barcodes, write_barcode_to_image

from fiona_dagster.adapters.codes_in_pixels import codes_of
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.pixels.policy import PixelPolicy
from fiona_dagster.domain.pixels.texts import TextJudge
from tests.pixels.images import image_file

Picture = npt.NDArray[np.uint8]
FORMATS = ["Code128", "Code39", "ITF", "QRCode", "DataMatrix", "PDF417", "Aztec"]


def picture(text: str = "77112233", kind: str = "Code128", *, scale: int = 3, turns: int = 0) -> Picture:
    """A code on noise, at row 60 and column 40 or near."""
    code = np.asarray(write_barcode_to_image(create_barcode(text, getattr(BarcodeFormat, kind)), scale=scale))
    code = np.rot90(code, turns)
    made = np.random.default_rng(3).integers(60, 90, (code.shape[0] + 150, code.shape[1] + 120), dtype="u1")
    made[60 : 60 + code.shape[0], 40 : 40 + code.shape[1]] = code
    return made


def view(plane: Picture) -> Picture:
    return np.dstack([plane] * 3)


@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_code_is_found_and_nothing_is_left_that_can_be_read(kind: str, turns: int) -> None:
    plane = picture(kind=kind, turns=turns)
    found = codes_of(view(plane))
    assert {text for _, text in found} == {"77112233"}
    for place, _ in found:
        plane[place.top : place.bottom, place.left : place.right] = 0
    assert read_barcodes(plane) == []


def test_light_codes_on_dark_are_found() -> None:
    assert {text for _, text in codes_of(view(255 - picture(kind="DataMatrix")))} == {"77112233"}


def test_where_no_code_is_none_is_found() -> None:
    noise = np.random.default_rng(5).integers(0, 255, (256, 256), dtype="u1")
    assert codes_of(view(noise)) == []


def test_what_stands_in_a_code_never_stays_and_is_known_to_the_gate(tmp_path: Path) -> None:
    path = image_file(tmp_path / "image.dcm", picture("ISOTROPIC", "QRCode")[None])
    boxes = [box for box in read_text(path).boxes if box.text == "ISOTROPIC"]
    assert boxes
    values = OriginalValues()
    values.identifiers.add("77112233")
    for mask in ("all", "identifiers"):
        policy = PixelPolicy(mode="all", mask=mask, allowed=frozenset({"isotropic"}))
        assert not any(TextJudge(values, policy).stays(box) for box in boxes)
    again = image_file(tmp_path / "again.dcm", picture("77112233", "QRCode")[None])
    assert any(TextJudge(values, policy).identifies(box.text) for box in read_text(again).boxes)
    assert not any(box.text for box in read_text(again, recognize=False).boxes)
