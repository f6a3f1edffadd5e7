"""Where text stands in the frames of an image, as boxes of its stored matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle with text in it, the same in a run of frames.

    `first_frame` to `last_frame` inclusive, counted from 0. `left`, `top`, `width` and `height` are pixels of the
    stored matrix (column 0, row 0 is its first sample), always inside of it. `text` is what was recognized, '' where
    nothing was or where nobody asked; it is patient data. `confidence` (0 to 1) is that of the recognition, or of the
    detector where `text` is ''.
    """

    first_frame: int
    last_frame: int
    left: int
    top: int
    width: int
    height: int
    text: str = ""
    confidence: float = 0.0

    @property
    def right(self) -> int:
        """First column behind the box."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.top + self.height

    def overlaps(self, other: Box) -> bool:
        """Whether the two share a pixel of the matrix, in whatever frames."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def grown(self, margin: int, *, rows: int, columns: int) -> Box:
        """The box with `margin` pixels more on each side, cut at the edges of the matrix."""
        left, top = max(0, self.left - margin), max(0, self.top - margin)
        right, bottom = min(columns, self.right + margin), min(rows, self.bottom + margin)
        return replace(self, left=left, top=top, width=right - left, height=bottom - top)


@dataclass(frozen=True, slots=True)
class FramesText:
    """All text that was found in the frames of one object.

    `frames` is the number of frames of the object, `read` the indices of those that were looked at, ascending; every
    one of them was decoded and compared, whether it cost a run of the detector or not. `runs` counts those runs.
    """

    rows: int
    columns: int
    frames: int
    read: tuple[int, ...]
    boxes: tuple[Box, ...]
    runs: int = 0

    def of_frame(self, index: int) -> tuple[Box, ...]:
        """The boxes that stand in frame `index`, counted from 0."""
        return tuple(box for box in self.boxes if box.first_frame <= index <= box.last_frame)


def joined_in_time(boxes: Iterable[Box]) -> Iterator[Box]:
    """Boxes of single frames as boxes of runs: equal places and texts in frames that follow each other are one."""
    by_place: dict[tuple[int, int, int, int, str], list[Box]] = {}
    for box in boxes:
        by_place.setdefault((box.left, box.top, box.width, box.height, box.text), []).append(box)
    for same in by_place.values():
        same.sort(key=lambda box: box.first_frame)
        current = same[0]
        for box in same[1:]:
            if box.first_frame <= current.last_frame + 1:
                current = replace(
                    current,
                    last_frame=max(current.last_frame, box.last_frame),
                    confidence=max(current.confidence, box.confidence),
                )
            else:
                yield current
                current = box
        yield current
