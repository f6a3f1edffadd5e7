"""What is masked: boxes, the value that fills them, and where they lie. No text of the pixels is kept.

What was masked is written down beside the copy, so that verification can prove from both files that every other pixel
is the original's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiona_dagster.domain.pixels.frames import ImagePixel
    from fiona_dagster.domain.pixels.templates import Rectangle, Template

MARGIN = 2
"""Pixels by which a box around text grows on each side, as FIONA's did."""
_MOST = 0.5
HALF_COLOUR = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
"""Two neighbours share their colour (PS3.3 C.7.6.3.1.2)."""


@dataclass(frozen=True, slots=True, order=True)
class Mask:
    """A rectangle in a run of frames: indices counted from 0 and inclusive, pixels of the stored matrix."""

    first_frame: int
    last_frame: int
    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column behind it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """First row below it."""
        return self.top + self.height

    def covers(self, other: Mask) -> bool:
        """Whether the other lies in it, in all of its frames."""
        return (
            self.first_frame <= other.first_frame
            and other.last_frame <= self.last_frame
            and self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True, slots=True)
class Masking:
    """What was done to the pixels of one copy.

    `reason` says why they were looked at, `sources` what named the boxes (the object's ultrasound regions, a template,
    reading). `overlay_bits` are the bits of every sample that an embedded overlay had and that were cleared.
    `transfer_syntax_uid` is the copy's, where it had to be another than the original's. `share` of all pixels of all
    frames lies in boxes (0 to 1). `excluded_by` is the keyword of the attribute by which the project has the image keep
    its pixels.
    """

    reason: str
    sources: tuple[str, ...] = ()
    boxes: tuple[Mask, ...] = ()
    overlay_bits: int = 0
    transfer_syntax_uid: str = ""
    share: float = 0.0
    excluded_by: str = ""

    @property
    def was_searched(self) -> bool:
        """Whether anybody looked at the pixels: of an image that the project excludes at its overlays alone."""
        return not self.excluded_by or bool(self.overlay_bits)

    @property
    def changes_pixels(self) -> bool:
        return bool(self.boxes or self.overlay_bits)

    def in_frame(self, frame: int) -> list[Mask]:
        """The boxes of a frame, counted from 0."""
        return [box for box in self.boxes if box.first_frame <= frame <= box.last_frame]

    def to_json(self) -> str:
        """One line for the ledger; holds no text of the pixels."""
        boxes = [[b.first_frame, b.last_frame, b.left, b.top, b.width, b.height] for b in self.boxes]
        content = {
            "reason": self.reason,
            "sources": list(self.sources),
            "boxes": boxes,
            "overlay_bits": self.overlay_bits,
            "transfer_syntax_uid": self.transfer_syntax_uid,
            "share": self.share,
            "excluded_by": self.excluded_by,
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Masking | None:
        """What `to_json` wrote; None for ''."""
        if not text:
            return None
        content = json.loads(text)
        boxes = tuple(Mask(*one) for one in content.pop("boxes"))
        return cls(boxes=boxes, **{**content, "sources": tuple(content["sources"])})


def masked_images(maskings: Iterable[Masking | None]) -> dict[str, int]:
    """How many images have boxes, how many are masked for the larger part (texture, perhaps, that was taken for text),
    and how many keep their pixels because the project excludes them."""
    found = [one for one in maskings if one is not None]
    shares = [one.share for one in found if one.boxes]
    return {
        "masked_images": len(shares),
        "mostly_masked_images": sum(one > _MOST for one in shares),
        "excluded_images": sum(bool(one.excluded_by) for one in found),
    }


def of_rectangles(rectangles: Iterable[Rectangle], image: ImagePixel) -> list[Mask]:
    """Rectangles in all frames, cut at the edges of the matrix."""
    found = []
    for left, top, width, height in rectangles:
        right, bottom = min(image.columns, left + width), min(image.rows, top + height)
        if left < right and top < bottom:
            found.append(Mask(0, image.number_of_frames - 1, left, top, right - left, bottom - top))
    return found


def around(kept: Sequence[Rectangle], image: ImagePixel) -> list[Mask]:
    """Rectangles that cover everything but those that are kept, in all frames: bands of rows, cut between them."""
    areas = [(one.left, one.top, one.right, one.bottom) for one in of_rectangles(kept, image)]
    borders = sorted({0, image.rows, *(one[1] for one in areas), *(one[3] for one in areas)})
    bands: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for top, bottom in pairwise(borders):
        column = 0
        for left, right in sorted((a[0], a[2]) for a in areas if a[1] <= top and bottom <= a[3]):
            if column < left:
                _add_band(bands, (column, left), top, bottom)
            column = max(column, right)
        if column < image.columns:
            _add_band(bands, (column, image.columns), top, bottom)
    last = image.number_of_frames - 1
    return sorted(
        Mask(0, last, left, top, right - left, bottom - top)
        for (left, right), rows in bands.items()
        for top, bottom in rows
    )


def _add_band(
    bands: dict[tuple[int, int], list[tuple[int, int]]], across: tuple[int, int], top: int, bottom: int
) -> None:
    rows = bands.setdefault(across, [])
    if rows and rows[-1][1] == top:
        rows[-1] = (rows[-1][0], bottom)
    else:
        rows.append((top, bottom))


def of_template(template: Template, image: ImagePixel) -> list[Mask]:
    """What a template says of an image of its size."""
    return around(template.keep, image) if template.keep else of_rectangles(template.mask, image)


def settled(masks: Iterable[Mask], image: ImagePixel) -> tuple[Mask, ...]:
    """The masks that are applied: on whole pairs of columns where two share a colour, none that lies in another."""
    if image.photometric_interpretation in HALF_COLOUR:
        masks = [_on_pairs(one, image.columns) for one in masks]
    kept: list[Mask] = []
    for one in sorted(set(masks), key=lambda m: (-m.width * m.height, m)):
        if not any(other.covers(one) for other in kept):
            kept.append(one)
    return tuple(sorted(kept))


def _on_pairs(one: Mask, columns: int) -> Mask:
    left = one.left // 2 * 2
    right = min(columns, (one.right + 1) // 2 * 2)
    return Mask(one.first_frame, one.last_frame, left, one.top, right - left, one.height)
