from __future__ import annotations

import numpy as np
import pytest

from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.pixels.frames import ImagePixel
from fiona_dagster.domain.pixels.masks import Mask, Masking, around, masked_images, of_rectangles, settled
from fiona_dagster.domain.pixels.painting import fill_of, masked_share, only_masked, paint, paint_native


def image(rows: int = 10, columns: int = 12, **more: object) -> ImagePixel:
    said = {
        "transfer_syntax_uid": "1.2.840.10008.1.2.1", "pixel_keyword": "PixelData", "number_of_frames": 1,
        "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2", "planar_configuration": 0,
        "bits_allocated": 8, "bits_stored": 8, "high_bit": 7, "pixel_representation": 0,
    }  # fmt: skip
    return ImagePixel(rows=rows, columns=columns, **{**said, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kept",
    [
        [(2, 3, 5, 4)],
        [(0, 0, 12, 10)],
        [(1, 1, 3, 3), (6, 2, 4, 5)],
        [(1, 1, 6, 6), (4, 4, 6, 5)],
        [(8, 8, 100, 100)],
        [],
    ],
)
def test_what_is_around_regions_is_exactly_what_is_not_in_one(kept: list[tuple[int, int, int, int]]) -> None:
    inside = np.zeros((10, 12), dtype=int)
    for left, top, width, height in kept:
        inside[top : top + height, left : left + width] = 1
    covered = np.zeros((10, 12), dtype=int)
    for one in around(kept, image()):
        covered[one.top : one.bottom, one.left : one.right] += 1
    assert (covered + inside == 1).all()


def test_masks_are_cut_at_the_edges_and_none_lies_in_another() -> None:
    said = image()
    found = of_rectangles([(10, 8, 50, 50), (20, 0, 5, 5)], said)
    assert found == [Mask(0, 0, 10, 8, 2, 2)]
    assert settled([*found, Mask(0, 0, 11, 9, 1, 1), *found], said) == tuple(found)


def test_the_share_that_is_masked_is_of_all_frames_and_counts_no_pixel_twice() -> None:
    said = image(number_of_frames=4)
    masking = Masking("x", boxes=(Mask(0, 3, 0, 0, 12, 2), Mask(1, 2, 0, 1, 12, 4)))
    assert masked_share(masking, said) == (2 + 5 + 5 + 2) / 40
    assert masked_share(Masking("x"), said) == 0
    told = Masking.from_json(Masking("x", boxes=masking.boxes, share=0.35).to_json())
    assert told is not None
    mostly = Masking("x", boxes=masking.boxes, share=0.6)
    assert masked_images([None, Masking("x", excluded_by="ImageComments"), told, mostly]) == {
        "masked_images": 2,
        "mostly_masked_images": 1,
        "excluded_images": 1,
    }
    assert Masking.from_json(told.to_json().replace(',"share":0.35', "")) == Masking("x", boxes=masking.boxes)


def test_columns_that_share_a_colour_are_masked_together() -> None:
    said = image(photometric_interpretation="YBR_FULL_422", samples_per_pixel=3)
    assert settled([Mask(0, 0, 3, 0, 4, 2)], said) == (Mask(0, 0, 2, 0, 6, 2),)
    content = bytearray(range(240))
    masking = Masking("x", boxes=(Mask(0, 0, 2, 0, 6, 2),))
    paint_native(content, 0, masking, said)
    assert content[4:16] == bytes([0, 0, 128, 128]) * 3
    assert content[:4] == bytes(range(4))
    assert content[16:24] == bytes(range(16, 24))
    assert content[48:] == bytes(range(48, 240))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_are_masked_in_either_order(planar: int, bits: int) -> None:
    said = image(samples_per_pixel=3, photometric_interpretation="RGB", planar_configuration=planar,
                 bits_allocated=bits, bits_stored=bits)  # fmt: skip
    values = np.arange(1, 361).astype(f"<u{bits // 8}")
    shape = (3, 10, 12) if planar else (10, 12, 3)
    expected = values.reshape(shape).copy()
    (expected[:, 2:5, 1:4] if planar else expected[2:5, 1:4])[...] = 0
    content = bytearray(values.tobytes())
    paint_native(content, 0, Masking("x", boxes=(Mask(0, 0, 1, 2, 3, 3),)), said)
    assert content == expected.tobytes()


def test_pixels_of_one_bit_are_masked_across_frames_that_begin_inside_of_bytes() -> None:
    said = image(rows=3, columns=5, bits_allocated=1, bits_stored=1, number_of_frames=3)
    content = bytearray(b"\xff" * 6)
    masking = Masking("x", boxes=(Mask(1, 1, 1, 1, 2, 2),))
    for frame in range(3):
        paint_native(content, frame, masking, said)
    bits = np.unpackbits(np.frombuffer(bytes(content), np.uint8), bitorder="little")[:45].reshape(3, 3, 5)
    expected = np.ones((3, 3, 5), dtype=int)
    expected[1, 1:3, 1:3] = 0
    assert (bits == expected).all()


def test_what_cannot_be_found_in_its_bytes_is_held() -> None:
    for more in ({"bits_allocated": 12}, {"bits_allocated": 1, "samples_per_pixel": 3}):
        with pytest.raises(Hold, match="cannot be masked"):
            paint_native(bytearray(500), 0, Masking("x"), image(**more))


@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "f4", "f8"])
def test_decoded_frames_change_in_their_boxes_alone(kind: str) -> None:
    stored = np.arange(-60, 60).astype(kind).reshape(10, 12)
    masking = Masking("x", boxes=(Mask(0, 2, 3, 4, 5, 2), Mask(1, 1, 0, 0, 12, 10)))
    painted = paint(stored, 0, masking, (0,))
    assert only_masked(stored, painted, 0, masking, (0,))
    assert (painted[4:6, 3:8] == 0).all()
    assert not only_masked(stored, painted, 1, masking, (0,))
    assert not only_masked(stored, stored, 0, masking, (0,))
    painted[9, 11] += 1
    assert not only_masked(stored, painted, 0, masking, (0,))


def test_black_has_no_colour() -> None:
    assert fill_of("YBR_FULL", 8, 3) == (0, 128, 128)
    assert fill_of("RGB", 8, 3) == (0, 0, 0)
    assert fill_of("MONOCHROME1", 12, 1) == (0,)
