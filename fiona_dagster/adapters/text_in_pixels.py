"""Finds and reads the text in the frames of an object. It changes nothing; what it returns is patient data.

A frame that was seen before costs nothing, one that differs in part is read there again. At no time are more than two
frames held.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fiona_dagster.adapters.pixel_frames import decoded_frames, describe
from fiona_dagster.adapters.text_detection import Line, Mask, lines_of
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
        if self._before is None:
            return tuple(self._found(view, Region(0, 0, columns, rows)))
        changed = changed_tiles(self._before, stored)
        regions = regions_to_read(changed, self._boxes, rows=rows, columns=columns)
        if sum(region.area for region in regions) > rows * columns * _NEARLY_ALL:
            regions = [Region(0, 0, columns, rows)]
        kept = [box for box in self._boxes if is_unchanged_somewhere(box, changed)]
        found = [box for region in regions for box in self._found(view, region)]
        return tuple(dict.fromkeys([*kept, *found]))

    def _found(self, view: View, region: Region) -> list[Box]:
        part = np.ascontiguousarray(view[region.top : region.bottom, region.left : region.right])
        lines, runs = lines_of(part)
        self.runs += runs
        chosen = _distinct(lines, (part.shape[0], part.shape[1]))
        texts = self._texts([line for line, is_new in chosen if is_new])
        boxes = []
        for line, is_new in chosen:
            text, confidence = next(texts) if is_new else ("", line.score)
            boxes += [
                Box(
                    first_frame=0,
                    last_frame=0,
                    left=region.left + piece.left,
                    top=region.top + piece.top,
                    width=piece.right - piece.left,
                    height=piece.bottom - piece.top,
                    text=text,
                    confidence=confidence if text else line.score,
                )
                for piece in line.pieces
            ]
        return boxes

    def _texts(self, lines: Sequence[Line]) -> Iterator[tuple[str, float]]:
        if not self._recognize:
            return iter([("", line.score) for line in lines])
        upright = recognized([line.picture for line in lines])
        doubted = [number for number, (_, confidence) in enumerate(upright) if confidence < _SURE]
        turned = recognized([np.ascontiguousarray(lines[number].picture[::-1, ::-1]) for number in doubted])
        for number, other in zip(doubted, turned, strict=True):
            upright[number] = max(upright[number], other, key=lambda result: result[1])
        return iter(upright)


def _distinct(lines: Sequence[Line], shape: tuple[int, int]) -> list[tuple[Line, bool]]:
    """Lines that add something, and whether it is a line of its own; the surest first.

    One that lies within others is left out; one that only reaches a little beyond them covers, but is not read.
    """
    covered: Mask = np.zeros(shape, dtype=bool)
    chosen = []
    for line in lines:
        inside = total = 0
        for piece in line.pieces:
            part = covered[piece.top : piece.bottom, piece.left : piece.right]
            inside, total = inside + int(part.sum()), total + part.size
        if inside == total:
            continue
        chosen.append((line, inside < _NEARLY_ALL * total))
        for piece in line.pieces:
            covered[piece.top : piece.bottom, piece.left : piece.right] = True
    return chosen
