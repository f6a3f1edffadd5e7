"""What stands in the pixel data of a file beside its image: fragments, their tables, segments with text.

Native pixels are judged by what the header says of them; only compressed ones are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from fiona_dagster.adapters.dicom_files import EXPLICIT_LITTLE_UID, InstanceFile, PixelSpan
from fiona_dagster.domain.deid import boxes, codestreams
from fiona_dagster.domain.deid.elements import PIXEL_TAGS, DataSet
from fiona_dagster.domain.deid.pixel_data import (
    FRAGMENT_TABLES,
    NOT_DESCRIBED,
    PIXEL_DATA,
    SEVERAL,
    TOO_LONG,
    WRONG_OFFSETS,
    fragment_tables_fit,
    frames_of,
    image_of,
    native_reason,
    offsets_reason,
)
from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.residuals import ResidualSearch

_SYNTAX = "1.2.840.10008.1.2."
_JPEG = frozenset(f"{_SYNTAX}4.{number}" for number in range(50, 82))
_JPEG_2000 = frozenset(f"{_SYNTAX}4.{number}" for number in (90, 91, 92, 93, 201, 202, 203))
_RLE, _DEFLATED_FRAMES, _UNCOMPRESSED = f"{_SYNTAX}5", f"{_SYNTAX}8.1", f"{EXPLICIT_LITTLE_UID}.98"
NOBODY_FOLLOWS = "pixel data in fragments of a transfer syntax whose frames nobody can follow"
_FOLLOWED: tuple[tuple[frozenset[str], Callable[[bytes], bool], codestreams.Follow], ...] = (
    (_JPEG, codestreams.begins_frame, codestreams.follow_jpeg),
    (_JPEG_2000, boxes.begins_jpeg_2000, boxes.follow_boxed_jpeg_2000),
)
"""Transfer syntaxes, how their frames begin, and how they are followed. Where a codestream of JPEG XL ends only its
decoder can tell: a second image could stand behind it."""
_HEADER = 8
_BEGINNING = 12
"""Bytes of a fragment that tell whether a frame begins with it."""
_LONGEST_PADDING = 1 << 16
_REMEMBERED = 4096
"""Length and number of texts that are remembered: most images of a study have the same."""


class PixelContent(NamedTuple):
    """What was found in the pixel data of a file.

    `reason` says why it may hold more than its image, `offsets_fit` whether the tables of its fragments at the first
    level name them. `texts` and `tables` are those of `codestreams.Frame`, each once.
    """

    reason: str = ""
    offsets_fit: bool = True
    texts: tuple[bytes, ...] = ()
    tables: tuple[bytes, ...] = ()


def examine_pixels(file: InstanceFile) -> PixelContent:
    """Look into the pixel data of a file.

    Raises:
        Permanent: the file cannot be read.
    """
    try:
        return _examined(file)
    except OSError as error:
        raise Permanent(f"the file cannot be read ({error.strerror})") from None


class PixelSearch:
    """Looks for original values beside the images of copies, and for what identifies by its form."""

    def __init__(self, search: ResidualSearch) -> None:
        self._search = search
        self._clear: set[bytes] = set()

    def problems(self, file: InstanceFile) -> list[str]:
        """What is wrong with the pixel data of a copy; names no value."""
        content = examine_pixels(file)
        found = [f"PixelData: {content.reason}"] if content.reason else []
        if not content.offsets_fit:
            found.append(f"PixelData: {WRONG_OFFSETS}")
        if any(self._leaks(value) for value in (*content.texts, *content.tables)):
            found.append("PixelData has an original value beside its image")
        elif any(self._identifies(value) for value in content.texts):
            found.append("PixelData has text beside its image that identifies")
        return found

    def _leaks(self, value: bytes) -> bool:
        from fiona_dagster.domain.deid.walk import Found

        return self._search.leaks(Found((PIXEL_DATA,), "OB", "OB", value, ("utf8",)))

    def _identifies(self, value: bytes) -> bool:
        if value in self._clear:
            return False
        if codestreams.identifies(value, self._search.in_text):
            return True
        if len(value) <= _REMEMBERED and len(self._clear) < _REMEMBERED:
            self._clear.add(value)
        return False


def _examined(file: InstanceFile) -> PixelContent:
    dataset, span = file.dataset, file.pixels
    has_tables = any(tag in dataset.places for tag in FRAGMENT_TABLES)
    inside = [(part, tag) for part in (dataset, file.behind) for tag in PIXEL_TAGS if tag in part.places]
    if len(inside) + (span is not None) > 1:
        return PixelContent(SEVERAL, offsets_fit=not has_tables)
    if span is not None and span.undefined_length:
        return _encapsulated(file, span)
    reason = ""
    if span is not None:
        reason = native_reason(dataset, span.tag, span.end - span.start)
        if reason == TOO_LONG and _is_padded(file, span):
            reason = ""
    elif inside:
        part, tag = inside[0]
        _, start, stop, _ = part.places[tag]
        reason = native_reason(dataset, tag, stop - start)
    return PixelContent(reason, offsets_fit=not has_tables)


def _is_padded(file: InstanceFile, span: PixelSpan) -> bool:
    """Whether only a few zeros stand behind the image."""
    image = image_of(file.dataset, span.tag)
    if image is None or (surplus := span.end - span.start - image.size) > _LONGEST_PADDING:
        return False
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not os.pread(descriptor, surplus, span.end - surplus).strip(b"\0")
    finally:
        os.close(descriptor)


def _encapsulated(file: InstanceFile, span: PixelSpan) -> PixelContent:
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = list(_fragments(descriptor, span))
        lengths = [stop - start for start, stop in pieces[1:]]
        has_tables = any(tag in file.dataset.places for tag in FRAGMENT_TABLES)
        fits = not has_tables or fragment_tables_fit(file.dataset, lengths)
        table = os.pread(descriptor, pieces[0][1] - pieces[0][0], pieces[0][0]) if pieces else b""
        reason = offsets_reason(table, lengths)
        if reason:
            return PixelContent(reason, offsets_fit=fits)
        found = _frames(descriptor, file.dataset, file.transfer_syntax_uid, pieces[1:])
        return found._replace(offsets_fit=fits)
    finally:
        os.close(descriptor)


def _fragments(descriptor: int, span: PixelSpan) -> Iterator[tuple[int, int]]:
    """Where the values of the items lie, that of the Basic Offset Table first; the file was read before."""
    position = span.start
    while position + 2 * _HEADER <= span.end:
        length = int.from_bytes(os.pread(descriptor, 4, position + 4), "little")
        yield position + _HEADER, position + _HEADER + length
        position += _HEADER + length


def _frames(
    descriptor: int, dataset: DataSet, syntax_uid: str, fragments: list[tuple[int, int]]
) -> PixelContent:
    full = [one for one in fragments if one[0] < one[1]]
    for syntaxes, begins, follow in _FOLLOWED:
        if syntax_uid in syntaxes:
            return _followed(descriptor, dataset, full, begins, follow)
    if syntax_uid == _UNCOMPRESSED:
        length = sum(stop - start for start, stop in full)
        image = image_of(dataset)
        if image is None:
            return PixelContent(NOT_DESCRIBED)
        return PixelContent(TOO_LONG if length > image.size + image.frames else "")
    if syntax_uid in {_RLE, _DEFLATED_FRAMES}:
        return PixelContent(_whole_frames(descriptor, dataset, syntax_uid, full))
    return PixelContent(NOBODY_FOLLOWS)


def _followed(
    descriptor: int,
    dataset: DataSet,
    fragments: list[tuple[int, int]],
    begins: Callable[[bytes], bool],
    follow: codestreams.Follow,
) -> PixelContent:
    """Frames that tell where they begin; each may have several fragments."""
    first = [
        n
        for n, (start, stop) in enumerate(fragments)
        if begins(os.pread(descriptor, min(_BEGINNING, stop - start), start))
    ]
    if fragments and first[:1] != [0]:
        return PixelContent(codestreams.NOT_FOLLOWED)
    if len(first) > frames_of(dataset):
        return PixelContent(codestreams.BEYOND)
    texts: dict[bytes, None] = {}
    tables: dict[bytes, None] = {}
    for begin, end in pairwise([*first, len(fragments)]):
        content = b"".join(os.pread(descriptor, stop - start, start) for start, stop in fragments[begin:end])
        frame = follow(content)
        if frame is None:
            return PixelContent(codestreams.NOT_FOLLOWED)
        rest = content[frame.end :]
        if not codestreams.is_padding(rest):
            if len(rest) > codestreams.LONGEST_REST:
                return PixelContent(codestreams.BEYOND)
            texts[rest] = None
        texts.update(dict.fromkeys(frame.texts))
        tables.update(dict.fromkeys(frame.tables))
    return PixelContent(texts=tuple(texts), tables=tuple(tables))


def _whole_frames(
    descriptor: int, dataset: DataSet, syntax_uid: str, fragments: list[tuple[int, int]]
) -> str:
    """Why frames that have one fragment each may hold more, or ''; a single frame may have several."""
    image = image_of(dataset)
    if image is None:
        return NOT_DESCRIBED
    if image.frames == 1:
        parts = [fragments]
    elif len(fragments) > image.frames:
        return codestreams.BEYOND
    else:
        parts = [[one] for one in fragments]
    for part in parts:
        content = b"".join(os.pread(descriptor, stop - start, start) for start, stop in part)
        if syntax_uid == _RLE:
            end = codestreams.rle_end(content, image.pixels)
        else:
            end = codestreams.inflated_end(content, image.frame_size)
        if end is None:
            return codestreams.NOT_FOLLOWED
        if not codestreams.is_padding(content[end:]):
            return codestreams.BEYOND
    return ""
