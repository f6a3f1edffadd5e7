"""Bits of a sample outside of those that are stored (PS3.5 8.1.1): old overlays stood there, and anything may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fiona_dagster.domain.pixels.frames import ImagePixel, Stored


def unused_bits(image: ImagePixel) -> int:
    """The bits of a sample that its value does not have: above HighBit, and below its lowest bit."""
    if image.pixel_keyword != "PixelData" or image.bits_allocated not in {8, 16, 32, 64}:
        return 0
    lowest = max(0, image.high_bit + 1 - image.bits_stored)
    value = (1 << image.high_bit + 1) - (1 << lowest)
    return ~value & (1 << image.bits_allocated) - 1


def says_something(stored: Stored, image: ImagePixel, besides: int = 0) -> bool:
    """Whether unused bits of a frame, apart from `besides`, are more than zeros or the sign carried on."""
    unused = unused_bits(image) & ~besides
    if not unused or stored.dtype.kind not in "iu" or stored.dtype.itemsize * 8 != image.bits_allocated:
        return False
    samples = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    kind = samples.dtype.type
    found = samples & kind(unused)
    if not image.pixel_representation:
        return bool(found.any())
    above = kind(unused & ~((1 << image.high_bit + 1) - 1))
    negative = samples & kind(1 << image.high_bit) != 0
    return bool(((found != 0) & ~(negative & (found == above))).any())
