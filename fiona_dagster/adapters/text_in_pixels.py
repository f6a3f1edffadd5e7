"""Finds and reads the text in the frames of an object, and bar codes.

It changes nothing; what it returns is patient data. A frame that was seen before costs nothing, one that differs in
part is read there again. At no time are more than two frames held.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fiona_dagster.adapters.codes_in_pixels import codes_of
from fiona_dagster.adapters.pixel_frames import decoded_frames, describe
from fiona_dagster.adapters.text_detection import lines_of
from fiona_dagster.adapters.text_ends import beyond_ends, is_stub, ways_of
from fiona_dagster.adapters.text_lines import Line, Rectangle
from fiona_dagster.adapters.text_models import recognized
from fiona_dagster.domain.pixels.boxes import Box, FramesText, joined_in_time
from fiona_dagster.domain.pixels.frames import Frame, ImagePixel, Stored
from fiona_dagster.domain.pixels.repeats import (
    Region,
    changed_tiles,
    is_unchanged_somewhere,
    regions_to_read,
)
from fiona_dagster.domain.pixels.windowing import View, view_of

_REMEMBERED = 1024
"""Frames whose boxes are kept: a loop comes round again."""
_SURE = 0.8
"""Confidence below which a line is read upside down as well."""
_NEARLY_ALL = 0.9
_DENSEST = 0.9
"""Characters that a line has at least for each of its heights that it is long, but for one."""
_FOLLOWED = 0.5
"""Confidence from which a line is followed beyond its ends: below it most are none."""
_PART = 0.5
"""Confidence at most in what was read of a line in part."""
_NEVER_SURE = 0.0
"""Confidence in what stands in a code: it never stays."""
_THICKER = 2.0
"""Times the thickness of a line from which another one is not the same line seen at another scale."""


def read_text(path: Path, *, frames: Iterable[int] | None = None, recognize: bool = True) -> FramesText:
    """Boxes around all text in the frames of the object at `path`, biased to find too much.

    Args:
        path: a DICOM file with pixels.
        frames: indices counted from 0; all where it is None.
        recognize: whether to read what stands in the boxes; without it every `text` is '', at less cost.

    Raises:
        Undecodable: a frame cannot be decoded; nothing is said of the others then.
        ConfigurationError: the models are not installed.
    """
    image = describe(path)
    reader = _Reader(image, recognize=recognize)
    read: list[int] = []
    boxes: list[Box] = []
    for frame in decoded_frames(path, frames=frames):
        read.append(frame.index)
        boxes.extend(
            replace(box, first_frame=frame.index, last_frame=frame.index) for box in reader.boxes_of(frame)
        )
    return FramesText(
        rows=image.rows,
        columns=image.columns,
        frames=image.number_of_frames,
        read=tuple(read),
        boxes=tuple(joined_in_time(boxes)),
        runs=reader.runs,
    )


class _Reader:
    """Reads frame after frame and remembers what it read."""

    def __init__(self, image: ImagePixel, *, recognize: bool) -> None:
        self._image, self._recognize = image, recognize
        self._is_colour = image.palette is not None or image.samples_per_pixel > 1
        self._known: OrderedDict[bytes, tuple[Box, ...]] = OrderedDict()
        self._before: Stored | None = None
        self._boxes: tuple[Box, ...] = ()
        self.runs = 0

    def boxes_of(self, frame: Frame) -> tuple[Box, ...]:
        """The boxes of a frame, for frame 0: whose frame it is is the caller's to say."""
        stored = np.ascontiguousarray(frame.stored)
        digest = hashlib.blake2b(stored.data, digest_size=16).digest()
        boxes = self._known.get(digest)
        if boxes is None:
            boxes = self._read(frame, stored)
            self._known[digest] = boxes
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._before, self._boxes = stored, boxes
        return boxes

    def _read(self, frame: Frame, stored: Stored) -> tuple[Box, ...]:
        rows, columns = stored.shape[:2]
        view = view_of(frame, self._image)
        codes = [_box(place, text if self._recognize else "", _NEVER_SURE) for place, text in codes_of(view)]
        if self._before is None:
            return (*self._found(view, Region(0, 0, columns, rows)), *codes)
        changed = changed_tiles(self._before, stored)
        regions = regions_to_read(changed, self._boxes, rows=rows, columns=columns)
        if sum(region.area for region in regions) > rows * columns * _NEARLY_ALL:
            regions = [Region(0, 0, columns, rows)]
        kept = [box for box in self._boxes if is_unchanged_somewhere(box, changed)]
        found = [box for region in regions for box in self._found(view, region)]
        return tuple(dict.fromkeys([*kept, *found, *codes]))

    def _found(self, view: View, region: Region) -> list[Box]:
        part = np.ascontiguousarray(view[region.top : region.bottom, region.left : region.right])
        boxes, runs = boxes_of_view(part, is_colour=self._is_colour, recognize=self._recognize)
        self.runs += runs
        return [replace(box, left=region.left + box.left, top=region.top + box.top) for box in boxes]


def boxes_of_view(view: View, *, is_colour: bool = False, recognize: bool = True) -> tuple[list[Box], int]:
    """The boxes of what can be seen of a frame, for frame 0, and how often the detector ran.

    Raises:
        ConfigurationError: the models are not installed.
    """
    lines, runs = lines_of(view, is_colour=is_colour)
    chosen = _distinct(lines, (view.shape[0], view.shape[1]))
    readings = _readings([one.line for one in chosen if one.is_read], recognize=recognize)
    known: list[_Reading] = []
    for one in chosen:
        if one.is_read:
            known.append(next(readings))
        else:
            known.append(known[one.within] if one.within is not None else _Reading("", one.line.score))
    boxes = [
        _box(piece, read.text, read.confidence if read.text else one.line.score)
        for one, read in zip(chosen, known, strict=True)
        for piece in one.line.pieces
    ]
    if recognize:
        boxes += [_box(piece, "", _PART) for piece in _beyond(chosen, known, view.shape)]
    return boxes, runs


def _box(piece: Rectangle, text: str, confidence: float) -> Box:
    width, height = piece.right - piece.left, piece.bottom - piece.top
    return Box(0, 0, piece.left, piece.top, width, height, text, confidence)


def _beyond(chosen: Sequence[_Chosen], known: Sequence[_Reading], shape: tuple[int, ...]) -> list[Rectangle]:
    """What stands where lines that were read go on."""
    covered = np.zeros(shape[:2], dtype=bool)
    for one in chosen:
        for piece in one.line.pieces:
            covered[piece.top : piece.bottom, piece.left : piece.right] = True
    followed = [
        way
        for one, read in zip(chosen, known, strict=True)
        if one.is_read and (read.confidence >= _FOLLOWED or is_stub(one.line))
        for way in ways_of(one.line, turned=read.turned)
    ]
    return beyond_ends(followed, covered)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of a line, how sure that is, and whether it stands on its head."""

    text: str
    confidence: float
    turned: bool = False


def _readings(lines: Sequence[Line], *, recognize: bool) -> Iterator[_Reading]:
    if not recognize:
        return iter([_Reading("", line.score) for line in lines])
    found = [_Reading(*one) for one in recognized([line.picture for line in lines])]
    doubted = [number for number, one in enumerate(found) if one.confidence < _SURE]
    turned = recognized([np.ascontiguousarray(lines[number].picture[::-1, ::-1]) for number in doubted])
    for number, other in zip(doubted, turned, strict=True):
        found[number] = max(found[number], _Reading(*other, turned=True), key=lambda one: one.confidence)
    return iter(_doubting_gaps(one, line) for one, line in zip(found, lines, strict=True))


def _doubting_gaps(reading: _Reading, line: Line) -> _Reading:
    """A reading that is too short for its line has passed over something: it is no longer sure."""
    height, width = line.picture.shape[:2]
    if len(reading.text) + 1 >= _DENSEST * width / height:
        return reading
    return replace(reading, confidence=min(reading.confidence, _PART))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A line that covers something of its own. One that is not read has the text of the line it lies within, if any."""

    line: Line
    is_read: bool
    within: int | None = None


def _distinct(lines: Sequence[Line], shape: tuple[int, int]) -> list[_Chosen]:
    """Lines that add something; the surest first.

    One that lies within another is left out, and one that only reaches a little beyond it covers, but is not read.
    Within much thicker lines it counts as a line of its own: what was read there was not this one.
    """
    owner = np.full(shape, -1, dtype=np.int32)
    thickness: list[float] = []
    chosen: list[_Chosen] = []
    for line in lines:
        own = _thickness(line)
        counts: Counter[int] = Counter()
        total = 0
        for piece in line.pieces:
            part = owner[piece.top : piece.bottom, piece.left : piece.right]
            total += part.size
            numbers, times = np.unique(part, return_counts=True)
            counts.update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        like = {n: count for n, count in counts.items() if n >= 0 and thickness[n] <= _THICKER * own}
        inside = sum(like.values())
        if inside == total:
            continue
        most = max(like, key=lambda n: like[n], default=None)
        is_read = inside < _NEARLY_ALL * total
        alone = most is not None and like[most] >= _NEARLY_ALL * total
        chosen.append(_Chosen(line, is_read, most if alone and not is_read else None))
        thickness.append(own)
        for piece in line.pieces:
            part = owner[piece.top : piece.bottom, piece.left : piece.right]
            replaced = ~np.isin(part, list(like)) if like else np.ones(part.shape, dtype=bool)
            part[replaced] = len(chosen) - 1
    return chosen


def _thickness(line: Line) -> float:
    """Of its largest piece, in pixels of the view."""
    piece = max(line.pieces, key=lambda one: (one.right - one.left) * (one.bottom - one.top))
    return float(min(piece.right - piece.left, piece.bottom - piece.top))
