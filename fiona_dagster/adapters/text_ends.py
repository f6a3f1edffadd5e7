"""Lines of text followed beyond their ends, as far as the reader finds characters there.

The detector weighs a whole tile and may leave out the first word of a line that it found: a label before a number, the
end of a date across something bright. The reader sees a strip as high as the line and nothing else, and says where in
it its characters stand. What is there is covered, not read: where in doubt, more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fiona_dagster.adapters.text_lines import Course, Line, Rectangle, pieces_of
from fiona_dagster.adapters.text_models import LINE_HEIGHT, character_places
from fiona_dagster.domain.pixels.windowing import View

Mask = npt.NDArray[np.bool_]
Corners = npt.NDArray[np.float64]
_BEHIND, _BEYOND = 1.5, 2.0
"""Heights of a strip that are seen of the line itself, for the reader to fall into step, and beyond its end."""
_ROUNDS = 6
"""A line grows by so many strips at most at each end: a label of some twelve characters."""
_SIDE = 0.6
"""Heights that are covered beyond the middle of the last character."""
_SURE = 0.3
"""Confidence from which there is a character: what it is does not matter."""
_STUB_SURE = 0.8
"""The same, beyond what is too short to be a line."""
_LARGEST_STUB, _AROUND = 64, 1.2
"""Pixels of one, and how much higher its strip is."""
_FLAT = 3
"""Grey levels of 255 within which there is nothing to read."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A line to follow: its course, whether it stands on its head, and how sure the reader must be of a character."""

    course: Course
    turned: bool
    sure: float = _SURE


@dataclass(slots=True)
class _End:
    course: Course
    way: int
    """1: where the course leads to; -1: where it comes from."""
    turned: bool
    sure: float
    reach: float = 0.0
    """Pixels by which it was followed."""


def is_stub(line: Line) -> bool:
    """Whether a line is a letter or two."""
    return line.course.length < line.course.height


def ways_of(line: Line, *, turned: bool) -> list[Followed]:
    """A line as it is followed. One that is a letter or two says nothing of its direction: it is followed both ways
    along rows and columns, upright and upside down, and the reader must be surer."""
    course = line.course
    left, top = (min(getattr(one, side) for one in line.pieces) for side in ("left", "top"))
    right, bottom = (max(getattr(one, side) for one in line.pieces) for side in ("right", "bottom"))
    side = max(right - left, bottom - top)
    if not is_stub(line):
        return [Followed(course, turned)]
    if side > _LARGEST_STUB:
        return []
    centre = (left + right - 1) / 2, (top + bottom - 1) / 2
    return [
        Followed(Course(course.source, centre, along, length, _AROUND * side), head, _STUB_SURE)
        for along, length in (((1.0, 0.0), right - left), ((0.0, 1.0), bottom - top))
        for head in (False, True)
    ]


def beyond_ends(lines: Sequence[Followed], covered: Mask) -> list[Rectangle]:
    """Rectangles with characters that stand where lines go on; none where all is `covered` already."""
    covered = covered.copy()
    ends = [_End(line.course, way, line.turned, line.sure) for line in lines for way in (-1, 1)]
    found: list[Rectangle] = []
    for _ in range(_ROUNDS):
        ends = [one for one in ends if _is_worth_reading(one, covered)]
        going = []
        for one, last in zip(ends, _last_characters(ends), strict=True):
            if last <= 0:
                continue
            for piece in _pieces(_corners(one, 0.0, last + _SIDE), one.course.height, covered.shape):
                part = covered[piece.top : piece.bottom, piece.left : piece.right]
                if not part.all():
                    part[...] = True
                    found.append(piece)
            one.reach += last * one.course.height
            going.append(one)
        ends = going
    return found


def _is_worth_reading(one: _End, covered: Mask) -> bool:
    """Whether beyond the end is something that is not covered, and not flat."""
    shape, left, top = _drawn(_corners(one, 0.0, _BEYOND), covered.shape)
    window = (slice(top, top + shape.shape[0]), slice(left, left + shape.shape[1]))
    seen = one.course.source[window][shape & ~covered[window]]
    return bool(seen.size) and int(np.ptp(seen, axis=0).max()) > _FLAT


def _pieces(corners: Corners, thickness: float, shape: tuple[int, ...]) -> list[Rectangle]:
    """Upright rectangles that cover an oblique one, as far as it lies in the view."""
    mask, left, top = _drawn(corners, shape)
    return [
        Rectangle(one.left + left, one.top + top, one.right + left, one.bottom + top)
        for one in pieces_of(mask, thickness)
    ]


def _drawn(corners: Corners, shape: tuple[int, ...]) -> tuple[Mask, int, int]:
    """The part of an oblique rectangle that lies in the view, and where that part begins."""
    left, top = (max(0, int(value)) for value in np.floor(corners.min(axis=0)))
    right, bottom = (int(value) + 1 for value in np.ceil(corners.max(axis=0)))
    size = max(0, min(shape[0], bottom) - top), max(0, min(shape[1], right) - left)
    mask = np.zeros(size, dtype=np.uint8)
    if mask.size:
        cv2.fillConvexPoly(mask, np.rint(corners - [left, top]).astype(np.int32), 1)
    return mask.astype(bool), left, top


def _last_characters(ends: Sequence[_End]) -> Iterator[float]:
    """For each end how far beyond it the last character stands, in heights of its strip; 0 where there is none."""
    pictures = [_strip(one) for one in ends]
    for one, picture, places in zip(ends, pictures, character_places(pictures), strict=True):
        width, behind = picture.shape[1] / LINE_HEIGHT, _behind(one)
        from_start = one.way > 0
        if one.turned:
            from_start = not from_start
        beyond = [
            (place / LINE_HEIGHT if from_start else width - place / LINE_HEIGHT) - behind
            for place, sure in places
            if sure >= one.sure
        ]
        yield max(0.0, *beyond, 0.0)


def _behind(one: _End) -> float:
    return min(_BEHIND, (one.course.length + one.reach) / one.course.height)


def _strip(one: _End) -> View:
    """The end of a line and what comes behind it, from left to right as it reads."""
    course, behind = one.course, _behind(one)
    scale = LINE_HEIGHT / course.height
    width = max(8, round((behind + _BEYOND) * LINE_HEIGHT))
    first = -behind if one.way > 0 else -_BEYOND
    end = _end(one)
    along = np.array(course.along)
    across = np.array([-along[1], along[0]])
    corner = end + along * first * course.height - across * course.height / 2
    matrix = np.column_stack([along / scale, across / scale, corner])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(
        course.source, matrix, (width, LINE_HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    picture = cut[::-1, ::-1] if one.turned else cut
    return np.ascontiguousarray(picture, dtype=np.uint8)


def _end(one: _End) -> npt.NDArray[np.float64]:
    along = np.array(one.course.along) * one.way
    return np.array(one.course.centre) + along * (one.course.length / 2 + one.reach)


def _corners(one: _End, first: float, last: float) -> Corners:
    """The rectangle beyond an end from `first` to `last`, in heights of the strip."""
    height = one.course.height
    along = np.array(one.course.along) * one.way
    across = np.array([-along[1], along[0]]) * height / 2
    near, far = _end(one) + along * first * height, _end(one) + along * last * height
    return np.array([near - across, far - across, far + across, near + across])
