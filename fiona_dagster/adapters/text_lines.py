"""Lines of text: the rectangles that cover them, their pictures, and the way that they take through a view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fiona_dagster.domain.pixels.windowing import View

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]
_FULL = 0.6
"""Share of a box that its line must fill; an oblique line is cut into smaller boxes until it does."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Left, top, right and bottom (behind the last) in pixels of the view."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Course:
    """The way of a line through `source`, in its pixels: centre, direction (a unit vector), length and height."""

    source: View
    centre: tuple[float, float]
    along: tuple[float, float]
    length: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: upright rectangles that cover it, its picture turned so that it reads from left to right, and
    its way through the view in that direction."""

    pieces: tuple[Rectangle, ...]
    score: float
    picture: View
    course: Course


def pieces_of(mask: Mask, thickness: float) -> Iterator[Rectangle]:
    """Rectangles that cover a mask and little else: halved along the longer side while they are mostly empty."""
    waiting = [Rectangle(0, 0, mask.shape[1], mask.shape[0])]
    while waiting:
        box = waiting.pop()
        inside = mask[box.top : box.bottom, box.left : box.right]
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not rows.size:
            continue
        left, right = box.left + int(columns[0]), box.left + int(columns[-1]) + 1
        top, bottom = box.top + int(rows[0]), box.top + int(rows[-1]) + 1
        filled = float(mask[top:bottom, left:right].mean())
        width, height = right - left, bottom - top
        if filled >= _FULL or max(width, height) <= 2 * max(8.0, thickness):
            yield Rectangle(left, top, right, bottom)
        elif width >= height:
            middle = left + width // 2
            waiting += [Rectangle(left, top, middle, bottom), Rectangle(middle, top, right, bottom)]
        else:
            middle = top + height // 2
            waiting += [Rectangle(left, top, right, middle), Rectangle(left, middle, right, bottom)]


def picture_of(view: View, points: Points, reach: int) -> View:
    """The line that `points` are the middle of, cut out and turned upright, as far as the look was."""
    (x, y), width, height, angle = _upright(points)
    size = max(8, round(width + 2 * reach)), max(8, round(height + 1.4 * reach))
    matrix = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    matrix[:, 2] += np.array([size[0] / 2 - x, size[1] / 2 - y])
    cut = cv2.warpAffine(view, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, dtype=np.uint8)


def course_of(source: View, points: Points, reach: int, scale: float, turned: int | None) -> Course:
    """The way of the line that `points` are the middle of, seen at a scale of `source`.

    `turned` is how many rows the look has whose left is the top of the source (np.rot90); None for an upright one.
    """
    (x, y), width, height, angle = _upright(points)
    radians = np.deg2rad(angle)
    right, down = float(np.cos(radians)), float(np.sin(radians))
    if turned is not None:
        x, y = turned - 1 - y, x
        right, down = -down, right
    return Course(
        source,
        ((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5),
        (right, down),
        width / scale,
        max(8.0, height + 1.4 * reach) / scale,
    )


def _upright(points: Points) -> tuple[tuple[float, float], float, float, float]:
    """Centre, length, thickness and angle (-90 to 90 degrees) of the rectangle around points."""
    (x, y), (width, height), angle = cv2.minAreaRect(points)
    if width < height:
        width, height, angle = height, width, angle - 90
    return (x, y), width, height, (angle + 90) % 180 - 90
