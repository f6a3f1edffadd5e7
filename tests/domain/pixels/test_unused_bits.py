"""What stands in bits of a sample that its value does not have."""

from __future__ import annotations

import numpy as np
import pytest

from fiona_dagster.domain.pixels.frames import ImagePixel
from fiona_dagster.domain.pixels.unused_bits import says_something, unused_bits


def image(allocated: int = 16, stored: int = 12, high: int = 11, signed: int = 0) -> ImagePixel:
    return ImagePixel(
        "1.2.840.10008.1.2.1", "PixelData", 1, 2, 1, 1, "MONOCHROME2", 0, allocated, stored, high, signed
    )


@pytest.mark.parametrize(
    ("of", "bits"),
    [
        (image(), 0xF000),
        (image(stored=16, high=15), 0),
        (image(stored=12, high=15), 0x000F),
        (image(stored=10, high=12), 0xE007),
        (image(8, 8, 7), 0),
        (image(8, 6, 5), 0xC0),
        (image(1, 1, 0), 0),
    ],
)
def test_which_bits_are_unused(of: ImagePixel, bits: int) -> None:
    assert unused_bits(of) == bits


@pytest.mark.parametrize(
    ("signed", "samples", "says"),
    [
        (0, [0x0FFF, 0x0001], False),
        (0, [0x0FFF, 0x1001], True),
        (0, [0xF800, 0x0001], True),
        (1, [0xF800, 0x07FF], False),  # negative, its sign carried on
        (1, [0x0800, 0x07FF], False),  # negative, its sign not carried on
        (1, [0xF7FF, 0x0001], True),
        (1, [0x1800, 0x0001], True),
    ],
)
def test_only_zeros_and_signs_say_nothing(signed: int, samples: list[int], says: bool) -> None:
    stored = np.array([samples], "u2").view("i2" if signed else "u2")
    assert says_something(stored, image(signed=signed)) is says


def test_bits_of_an_overlay_are_not_asked() -> None:
    stored = np.array([[0x1001, 0x0FFF]], "u2")
    assert not says_something(stored, image(), besides=0x1000)
    assert says_something(stored, image(), besides=0x2000)
    signed = np.array([[0xE800, 0xF800]], "u2").view("i2")
    assert not says_something(signed, image(signed=1), besides=0x1000)
