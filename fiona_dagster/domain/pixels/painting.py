"""Masks applied: to decoded frames, to the bytes of native ones, and the proof that nothing else changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.pixels.frames import ImagePixel, Stored
from fiona_dagster.domain.pixels.masks import HALF_COLOUR, Masking

_YBR = ("YBR_FULL", "YBR_PARTIAL")
_WIDTHS = frozenset({1, 8, 16, 32, 64})


def fill_of(photometric_interpretation: str, bits_stored: int, samples: int) -> tuple[int, ...]:
    """The value of each sample in a masked pixel: 0, for colour differences their zero (PS3.3 C.7.6.3.1.2)."""
    if samples == 3 and photometric_interpretation.startswith(_YBR):
        return (0, 1 << (bits_stored - 1), 1 << (bits_stored - 1))
    return (0,) * samples


def masked_share(masking: Masking, image: ImagePixel) -> float:
    """Share of all pixels of all frames that lies in boxes, 0 to 1, in steps of a ten-thousandth."""
    frames = image.number_of_frames
    borders = sorted(
        {
            0,
            frames,
            *(one.first_frame for one in masking.boxes),
            *(one.last_frame + 1 for one in masking.boxes),
        }
    )
    area = 0
    for first, behind in pairwise(borders):
        covered = np.zeros((image.rows, image.columns), dtype=bool)
        for box in masking.in_frame(first):
            covered[box.top : box.bottom, box.left : box.right] = True
        area += int(covered.sum()) * (behind - first)
    return round(area / (image.rows * image.columns * frames), 4)


def paint(stored: Stored, frame: int, masking: Masking, fill: Sequence[int]) -> Stored:
    """A decoded frame with its masks; the one that is given stays as it is."""
    painted = np.array(stored)
    if masking.overlay_bits:
        bits = painted.view(f"u{painted.dtype.itemsize}")
        bits &= bits.dtype.type(~masking.overlay_bits & (1 << 8 * bits.dtype.itemsize) - 1)
    value = fill[0] if painted.ndim == 2 else list(fill)
    for box in masking.in_frame(frame):
        painted[box.top : box.bottom, box.left : box.right] = value
    return painted


def paint_native(content: bytearray, frame: int, masking: Masking, image: ImagePixel) -> None:
    """Mask one frame in the bytes of its native encoding (PS3.5 8.1, 8.2), little endian; nothing else changes.

    Raises:
        Hold: an encoding in which boxes cannot be found.
    """
    fill = fill_of(image.photometric_interpretation, image.bits_stored, image.samples_per_pixel)
    rows, columns, bits, samples = image.rows, image.columns, image.bits_allocated, image.samples_per_pixel
    if bits not in _WIDTHS or (bits == 1 and samples != 1):
        raise Hold(f"pixels of {bits} bits cannot be masked where they stand")
    if bits == 1:
        _paint_bits(content, frame, masking, image)
        return
    values: npt.NDArray[np.unsignedinteger] = np.frombuffer(content, f"<u{bits // 8}")
    if image.photometric_interpretation in HALF_COLOUR and samples == 3:
        pairs = values[: rows * columns * 2].reshape(rows, columns // 2, 4)
        for box in masking.in_frame(frame):
            pairs[box.top : box.bottom, box.left // 2 : box.right // 2] = (fill[0], fill[0], fill[1], fill[2])
        return
    values = values[: rows * columns * samples]
    if masking.overlay_bits:
        values &= values.dtype.type(~masking.overlay_bits & (1 << bits) - 1)
    apart = samples > 1 and image.planar_configuration == 1
    planes = values.reshape((samples, rows, columns) if apart else (rows, columns, samples))
    for box in masking.in_frame(frame):
        for sample, value in enumerate(fill):
            plane = planes[sample] if apart else planes[..., sample]
            plane[box.top : box.bottom, box.left : box.right] = value


def _paint_bits(content: bytearray, frame: int, masking: Masking, image: ImagePixel) -> None:
    """One bit a pixel, the first in the lowest bit; `content` holds all frames, which follow each other bit by bit."""
    values = np.frombuffer(content, np.uint8)
    for box in masking.in_frame(frame):
        for row in range(box.top, box.bottom):
            start = (frame * image.rows + row) * image.columns + box.left
            places = np.arange(start, start + box.width)
            np.bitwise_and.at(values, places >> 3, ~(1 << (places & 7)).astype(np.uint8))


def only_masked(original: Stored, copy: Stored, frame: int, masking: Masking, fill: Sequence[int]) -> bool:
    """Whether a decoded frame of a copy is the original's but for its masks, which hold one value and nothing else."""
    if original.shape != copy.shape or original.dtype.itemsize != copy.dtype.itemsize:
        return False
    outside = np.ones(original.shape[:2], dtype=bool)
    value = np.array(fill[0] if copy.ndim == 2 else list(fill))
    for box in masking.in_frame(frame):
        outside[box.top : box.bottom, box.left : box.right] = False
        if not (copy[box.top : box.bottom, box.left : box.right] == value).all():
            return False
    kind = f"u{original.dtype.itemsize}"
    its, mine = np.ascontiguousarray(original).view(kind), np.ascontiguousarray(copy).view(kind)
    keep = its.dtype.type(~masking.overlay_bits & (1 << 8 * its.dtype.itemsize) - 1)
    return bool((its[outside] & keep == mine[outside]).all())
