"""Lines of text in one view, by several looks at it: as it is, turned, smaller, larger.

One look misses vertical and very large or very small letters; the sum of them is biased to find too much. Views are
cut into tiles, so that memory of a look is bounded and nothing far away counts; tiles without contrast cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from fiona_dagster.adapters.text_lines import Line, Rectangle, course_of, picture_of, pieces_of
from fiona_dagster.adapters.text_models import text_probability
from fiona_dagster.domain.pixels.windowing import View, windows_of_grey

Mask = npt.NDArray[np.bool_]
TILE, OVERLAP = 480, 96
"""Pixels of a side of what the detector sees at once, and how much of it neighbours see too. It weighs all that it
sees: in a larger tile, the grain of an image hides faint and small letters from it."""
LIKELY = 0.2
"""Probability from which a pixel belongs to text: half of what others use."""
_ENLARGED = ((600_000, 2.0), (2_500_000, 1.5))
"""Up to how many pixels a view is looked at enlarged as well, and how much: there alone letters of 8 to 10 pixels are
found that are faint, oblique or on a rough ground."""
_FLAT = 3
"""Grey levels of 255 within which a tile has nothing to read."""
_CERTAIN = 0.45
"""Probability that a line reaches somewhere: below it is the grain of an image."""
_LEAST_AREA = 6
_GROWTH, _MARGIN = 0.5, 2
"""Of a line's thickness, and pixels: the detector marks the middle of a line, not its ascenders."""
_ELONGATED, _ENDS = 1.5, 1.0
"""A line this much longer than thick grows at its ends by so many thicknesses: its first and last letters are missed
first, where something bright lies behind them."""
_THICKEST = 40
"""Pixels of a line that grows with its thickness; what is larger is found by a smaller look as well."""
_THICK = 64
"""Pixels in one look from which something is no line; a line that thick is found by a smaller look."""
_STROKE = 15
"""Pixels that a stroke may be wide to stay when anatomy is taken away."""


def lines_of(view: View, *, is_colour: bool = False) -> tuple[list[Line], int]:
    """Lines of text in a view, the surest first, and how often the detector ran. A line may be found several times.

    `is_colour` tells that its channels are colours and no windows of one grey frame: dim text is looked for then, too.
    """
    rows, columns = view.shape[:2]
    scales = [1.0]
    if max(rows, columns) >= 128:
        scales.append(0.5)
    if max(rows, columns) >= 1024:
        scales.append(0.25)
    scales += [scale for most, scale in _ENLARGED if rows * columns <= most][:1]
    found: list[Line] = []
    runs = 0
    looks = [(scale, view, _scaled(view, scale)) for scale in scales]
    if is_colour:
        grey = windows_of_grey(view)
        looks.append((1.0, grey, grey))
    for scale, source, scaled in looks:
        for turned in (False, True):
            seen = np.ascontiguousarray(np.rot90(scaled)) if turned else scaled
            probability, cost = _probability(seen)
            runs += cost
            thick = _thick(probability >= LIKELY)
            if thick.any():
                probability, more = _second_look(seen, probability, thick)
                runs += more
            found.extend(_components(seen, probability, source, scale, turned=turned))
    found.sort(key=lambda line: -line.score * line.picture.shape[1])
    return found, runs


def _scaled(view: View, scale: float) -> View:
    if scale == 1.0:
        return view
    size = max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale))
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(view, size, interpolation=way), dtype=np.uint8)


def _probability(view: View, where: Mask | None = None) -> tuple[npt.NDArray[np.float32], int]:
    """Of each pixel; in tiles that have nothing of `where`, nothing is asked and nothing found."""
    rows, columns = view.shape[:2]
    whole = np.zeros((rows, columns), dtype=np.float32)
    runs = 0
    for top, high in _tiles(rows):
        for left, wide in _tiles(columns):
            if where is not None and not where[top : top + high, left : left + wide].any():
                continue
            tile = view[top : top + high, left : left + wide]
            if int(tile.max()) - int(tile.min()) <= _FLAT or _is_flat(tile):
                continue
            place = whole[top : top + high, left : left + wide]
            np.maximum(place, text_probability(np.ascontiguousarray(tile)), out=place)
            runs += 1
    return whole, runs


def _thick(likely: Mask) -> Mask:
    """What is marked in one piece thicker than any line in this look: a head, a thorax, a whole scan."""
    thick = np.zeros(likely.shape, dtype=bool)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8))
    for number in range(1, count):
        left, top, width, height, _ = (int(value) for value in stats[number])
        if min(width, height) < _THICK:
            continue
        part = labels[top : top + height, left : left + width] == number
        depth = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 3)
        if 2 * float(np.max(depth)) >= _THICK:
            thick[top : top + height, left : left + width] |= part
    return thick


def _second_look(
    view: View, probability: npt.NDArray[np.float32], thick: Mask
) -> tuple[npt.NDArray[np.float32], int]:
    """Anatomy taken for text is looked at again with nothing but its strokes: text over it stays, it does not."""
    strokes, runs = _probability(_strokes(view), thick)
    strokes[_thick(strokes >= LIKELY)] = 0.0
    return np.where(thick, strokes, probability), runs


def _strokes(view: View) -> View:
    """Bright and dark strokes narrower than the kernel, both bright, on black."""
    kernel = np.ones((_STROKE, _STROKE), dtype=np.uint8)
    bright = cv2.morphologyEx(view, cv2.MORPH_TOPHAT, kernel)
    dark = cv2.morphologyEx(view, cv2.MORPH_BLACKHAT, kernel)
    both = np.asarray(np.maximum(bright, dark)).max(axis=2).astype(np.float32)
    most = max(1.0, float(np.percentile(both, 99.8)))
    return np.repeat(np.clip(both * (255.0 / most), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _is_flat(tile: View) -> bool:
    return all(int(channel.max()) - int(channel.min()) <= _FLAT for channel in np.moveaxis(tile, 2, 0))


def _tiles(length: int) -> Iterator[tuple[int, int]]:
    """Start and length of equal parts of a side, no longer than a tile, that overlap their neighbours."""
    count = max(1, -(-(length - OVERLAP) // (TILE - OVERLAP)))
    size = -(-(length + (count - 1) * OVERLAP) // count)
    for number in range(count):
        yield round(number * (length - size) / max(1, count - 1)), size


def _components(
    view: View, probability: npt.NDArray[np.float32], source: View, scale: float, *, turned: bool
) -> Iterator[Line]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats((probability >= LIKELY).astype(np.uint8))
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        if area < _LEAST_AREA:
            continue
        part = labels[top : top + height, left : left + width] == number
        inside = probability[top : top + height, left : left + width][part]
        if inside.max() < _CERTAIN or _is_flat(view[top : top + height, left : left + width]):
            continue
        points = np.argwhere(part)[:, ::-1].astype(np.float32) + np.array([left, top], np.float32)
        thickness = min(width, height, _THICKEST, 2 * area / max(width, height))
        reach = max(_MARGIN, round(_GROWTH * thickness) + _MARGIN)
        spread = np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
        right, down = _end(points)
        border = reach + max(abs(right), abs(down))
        grown = np.asarray(cv2.dilate(np.pad(part, border).astype(np.uint8), spread))
        mask = _lengthened(grown.astype(bool), right, down)
        pieces = tuple(
            _in_view(piece, left - border, top - border, view.shape, source.shape, scale, turned=turned)
            for piece in pieces_of(mask, thickness)
        )
        course = course_of(source, points, reach, scale, len(view) if turned else None)
        yield Line(pieces, float(inside.mean()), picture_of(view, points, reach), course)


def _end(points: npt.NDArray[np.float32]) -> tuple[int, int]:
    """By how many pixels a line grows at one of its ends, to the right and down; 0 where it has no direction."""
    _, (width, height), angle = cv2.minAreaRect(points)
    thickness = max(1.0, min(width, height))
    if max(width, height) < _ELONGATED * thickness:
        return 0, 0
    length = _ENDS * min(thickness, _THICKEST)
    radians = np.deg2rad(angle + (90 if width < height else 0))
    return round(length * float(np.cos(radians))), round(length * float(np.sin(radians)))


def _lengthened(mask: Mask, right: int, down: int) -> Mask:
    """A mask with itself moved by half and by all of a distance, both ways; its border is as wide as that."""
    longer = mask.copy()
    for share in (-1.0, -0.5, 0.5, 1.0) if right or down else ():
        longer |= np.roll(mask, (round(share * down), round(share * right)), axis=(0, 1))
    return longer


def _in_view(
    piece: Rectangle,
    left: int,
    top: int,
    seen: tuple[int, ...],
    shape: tuple[int, ...],
    scale: float,
    *,
    turned: bool,
) -> Rectangle:
    """A piece of what was seen, in pixels of the view that it was made from."""
    box = (piece.left + left, piece.top + top, piece.right + left, piece.bottom + top)
    if turned:  # np.rot90 turns to the left: its rows are our columns from the right
        box = (seen[0] - box[3], box[0], seen[0] - box[1], box[2])
    lower = [int(np.floor(value / scale)) for value in box[:2]]
    upper = [int(np.ceil(value / scale)) for value in box[2:]]
    return Rectangle(
        max(0, min(shape[1] - 1, lower[0])),
        max(0, min(shape[0] - 1, lower[1])),
        max(1, min(shape[1], upper[0])),
        max(1, min(shape[0], upper[1])),
    )
