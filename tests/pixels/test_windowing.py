"""What is written in an image is visible in its view, wherever its values lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fiona_dagster.domain.pixels.frames import Frame, ImagePixel, Palette
from fiona_dagster.domain.pixels.windowing import image_bits, view_of

_IMAGE = ImagePixel("1.2.840.10008.1.2.1", "PixelData", 64, 64, 1, 1, "MONOCHROME2", 0, 16, 16, 15, 0)
_LETTER = (slice(20, 40), slice(30, 33))


def _contrast(stored: npt.NDArray[Any], image: ImagePixel) -> int:
    """Grey levels between letter and surroundings in the channel that shows it best."""
    view = view_of(Frame(0, stored, image.photometric_interpretation), image).astype(int)
    assert view.shape == (64, 64, 3)
    assert view_of(Frame(0, stored, image.photometric_interpretation), image).dtype == np.uint8
    return int(np.abs(view[25, 31] - view[25, 20]).max())


@pytest.mark.parametrize(
    ("ground", "letter", "outlier"),
    [(100, 4095, None), (4095, 0, None), (100, 160, 65535), (40000, 39900, 0), (0, 3, 65535)],
)
def test_a_letter_at_any_value_is_seen_even_beside_an_outlier(
    ground: int, letter: int, outlier: int | None
) -> None:
    stored = np.full((64, 64), ground, dtype=np.uint16)
    stored[_LETTER] = letter
    if outlier is not None:
        stored[0, 0] = outlier
    assert _contrast(stored, _IMAGE) > 100


@pytest.mark.parametrize("dtype", ["i2", "i4", "u4", "f4", "f8"])
def test_signs_wide_integers_and_floats_are_seen(dtype: str) -> None:
    stored = np.full((64, 64), -3 if dtype[0] != "u" else 5, dtype=dtype)
    stored[_LETTER] = 20
    if dtype[0] == "f":
        stored[0, 0], stored[1, 1] = np.nan, np.inf
        image = replace(
            _IMAGE, pixel_keyword="FloatPixelData", bits_allocated=32, bits_stored=32, high_bit=31
        )
    else:
        bits = stored.dtype.itemsize * 8
        image = replace(
            _IMAGE,
            bits_allocated=bits,
            bits_stored=bits,
            high_bit=bits - 1,
            pixel_representation=int(dtype[0] == "i"),
        )
    assert _contrast(stored, image) > 100


def test_bits_that_are_not_the_image_are_not_shown() -> None:
    stored = np.array([[0xF123, 0x0FFF]], dtype=np.uint16)
    twelve = replace(_IMAGE, bits_stored=12, high_bit=11)
    assert image_bits(stored, twelve).tolist() == [[0x123, 0xFFF]]
    assert image_bits(stored.view(np.int16), replace(twelve, pixel_representation=1)).tolist() == [
        [0x123, -1]
    ]
    assert image_bits(stored, replace(twelve, high_bit=15)).tolist() == [[0xF12, 0x0FF]]


def test_colour_of_the_same_brightness_is_seen() -> None:
    image = replace(
        _IMAGE,
        samples_per_pixel=3,
        photometric_interpretation="RGB",
        bits_allocated=8,
        bits_stored=8,
        high_bit=7,
    )
    stored = np.full((64, 64, 3), (180, 60, 60), dtype=np.uint8)
    stored[_LETTER] = (60, 121, 60)
    assert _contrast(stored, image) > 100
    ybr = np.full((64, 64, 3), (90, 128, 128), dtype=np.uint8)
    ybr[_LETTER] = (90, 128, 230)
    assert _contrast(ybr, replace(image, photometric_interpretation="YBR_FULL")) > 100


def test_a_palette_shows_its_colours_not_its_numbers() -> None:
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[7] = 255
    image = replace(
        _IMAGE,
        photometric_interpretation="PALETTE COLOR",
        bits_allocated=8,
        bits_stored=8,
        high_bit=7,
        palette=Palette(0, colours),
    )
    stored = np.full((64, 64), 6, dtype=np.uint8)
    stored[_LETTER] = 7
    assert _contrast(stored, image) == 255
