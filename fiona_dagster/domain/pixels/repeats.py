"""What a frame shares with the one before it, so that what stands still is read once.

Frames are compared sample by sample, tile by tile; only tiles that differ are read again, with their surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fiona_dagster.domain.pixels.boxes import Box
from fiona_dagster.domain.pixels.frames import Stored

TILE = 32
"""Pixels of a side."""
Tiles = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Region:
    """Part of a frame: columns `left` to `right`, rows `top` to `bottom`, the last ones excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)

    def touches(self, box: Box | Region) -> bool:
        return (
            self.left < box.right
            and box.left < self.right
            and self.top < box.bottom
            and box.top < self.bottom
        )

    def joined(self, other: Box | Region) -> Region:
        return Region(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )


def changed_tiles(before: Stored, now: Stored) -> Tiles:
    """Which tiles differ in any sample; both frames have the same shape. NaN equals NaN."""
    different = before.view(f"u{before.dtype.itemsize}") != now.view(f"u{now.dtype.itemsize}")
    if different.ndim == 3:
        different = different.any(axis=2)
    rows, columns = different.shape
    down, across = -(-rows // TILE), -(-columns // TILE)
    padded = np.zeros((down * TILE, across * TILE), dtype=bool)
    padded[:rows, :columns] = different
    return np.asarray(padded.reshape(down, TILE, across, TILE).any(axis=(1, 3)))


def regions_to_read(changed: Tiles, boxes: Sequence[Box], *, rows: int, columns: int) -> list[Region]:
    """Parts of a frame that hold all changed tiles, a tile around them, and the boxes they touch, whole.

    They do not overlap: those that would are one.
    """
    regions = [
        Region(
            max(0, (column - 1) * TILE),
            max(0, (row - 1) * TILE),
            min(columns, (column + 2) * TILE),
            min(rows, (row + 2) * TILE),
        )
        for row, column in np.argwhere(changed).tolist()
    ]
    regions = _apart(regions)
    while True:
        grown = []
        for region in regions:
            whole = region
            for box in boxes:
                if whole.touches(box):
                    whole = whole.joined(box)
            grown.append(whole)
        grown = _apart(grown)
        if grown == regions:
            return regions
        regions = grown


def _apart(regions: list[Region]) -> list[Region]:
    """The same area or more, in regions of which no two touch."""
    done: list[Region] = []
    for region in regions:
        current = region
        while True:
            near = [other for other in done if current.touches(other)]
            if not near:
                break
            for other in near:
                done.remove(other)
                current = current.joined(other)
        done.append(current)
    return sorted(done, key=lambda region: (region.top, region.left))


def is_unchanged_somewhere(box: Box, changed: Tiles) -> bool:
    """Whether a tile under the box is as it was: its text may still be there, in part."""
    part = changed[
        box.top // TILE : (box.bottom - 1) // TILE + 1,
        box.left // TILE : (box.right - 1) // TILE + 1,
    ]
    return not bool(part.all())
