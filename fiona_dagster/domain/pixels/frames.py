"""What an object says of its pixels, and a frame of them as it is stored (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Stored = npt.NDArray[Any]
"""Rows x columns, or rows x columns x samples, of any integer or floating type."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of PALETTE COLOR: `first` is the stored value of the first row of `colours` (entries x 3, uint8)."""

    first: int
    colours: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The Image Pixel module of an object: attributes by keyword, in the standard's units.

    `pixel_keyword` is PixelData, FloatPixelData or DoubleFloatPixelData; for the latter two the bits are 32 and 64.
    `window` is (WindowCenter, WindowWidth) in stored values, where the object names one that can be used.
    """

    transfer_syntax_uid: str
    pixel_keyword: str
    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int
    photometric_interpretation: str
    planar_configuration: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    palette: Palette | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, decoded and otherwise as stored: no window, no colour conversion, no rescaling.

    `stored` has the shape (rows, columns) or (rows, columns, samples) whatever the planar configuration, and all bits
    allocated: those above `bits_stored` may hold an embedded overlay. `photometric_interpretation` is what the samples
    mean after decoding, which for JPEG may differ from what the object says.
    """

    index: int
    stored: Stored
    photometric_interpretation: str
