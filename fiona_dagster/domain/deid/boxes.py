"""Compressed frames in boxes: JP2 (ITU-T T.800 annex I) and JPEG XL (ISO/IEC 18181-2), and JPEG XL without boxes.

PS3.5 wants codestreams alone, and devices write files. Boxes are followed to the end of the frame; what is no part of
the image (Exif, XML, UUID, labels, whatever nobody knows) is text to be searched, what is packed once more is held.

Where a JPEG XL codestream ends only its decoder can tell. It is searched as bytes, and one in which something can be
read is not followed: in entropy-coded bytes so many printable ones never stand in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fiona_dagster.domain.deid.codestreams import Frame, begins_frame, follow_jpeg_2000

JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
JPEG_XL_START = b"\0\0\0\x0cJXL \r\n\x87\n"
_JPEG_XL_CODESTREAM = b"\xff\x0a"
_IMAGE_BOXES = frozenset(
    {b"ftyp", b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res ", b"resc", b"resd"}
)
_JPEG_XL_BOXES = frozenset({b"ftyp", b"jxll", b"jxli"})
_SUPERBOXES = frozenset({b"jp2h", b"res ", b"asoc", b"uinf"})
_PACKED = frozenset({b"brob", b"jbrd", b"jp2c", b"jxlc", b"jxlp"})
"""Compressed metadata, what rebuilds a JPEG with its metadata; and images in places where none belongs."""
_DEEPEST = 8
_READABLE = re.compile(rb"[\x20-\x7e]{24,}|(?:[\x20-\x7e]\0){12,}|(?:\0[\x20-\x7e]){12,}")
_OF_WORDS = 10
"""Different characters that text of such a length has; a flat background gives rows of a few."""


def follow_boxed_jpeg_2000(content: bytes) -> Frame | None:
    """The boxes of a JP2 file, or the segments of a bare codestream, up to its end; None where it has none."""
    if not content.startswith(JP2_START):
        return follow_jpeg_2000(content)
    texts: list[bytes] = []
    tables: list[bytes] = []
    seen = 0
    for kind, start, stop in _boxes(content, len(JP2_START), len(content)):
        if kind == b"":
            # bytes that are no box stand behind the image; what they are the caller decides
            return Frame(tuple(texts), tuple(tables), start) if seen else None
        if kind == b"jp2c":
            frame = follow_jpeg_2000(content[start:stop])
            seen += 1
            if frame is None or seen > 1 or content[start + frame.end : stop].strip(b"\0"):
                return None
            texts += frame.texts
            tables += frame.tables
        elif not _sort(content, kind, start, stop, texts, tables, 0):
            return None
    return Frame(tuple(texts), tuple(tables), len(content)) if seen else None


def follow_jpeg_xl(content: bytes) -> Frame | None:
    """A JPEG XL codestream, in boxes or not; None where something beside the image could not be searched."""
    if content.startswith(_JPEG_XL_CODESTREAM):
        return None if _is_readable(content) else Frame((), (content,), len(content))
    if not content.startswith(JPEG_XL_START):
        return None
    texts: list[bytes] = []
    tables: list[bytes] = []
    stream: list[bytes] = []
    end = len(content)
    for kind, start, stop in _boxes(content, len(JPEG_XL_START), len(content)):
        if kind == b"":
            end = start
            break
        if kind == b"jxlc" and not stream:
            stream.append(content[start:stop])
        elif kind == b"jxlp" and stop - start >= 4:
            stream.append(content[start + 4 : stop])
        elif kind in _JPEG_XL_BOXES:
            tables.append(content[start:stop])
        elif not _sort(content, kind, start, stop, texts, tables, 0):
            return None
    whole = b"".join(stream)
    if not whole.startswith(_JPEG_XL_CODESTREAM) or _is_readable(whole):
        return None
    return Frame(tuple(texts), (*tables, whole), end)


def begins_jpeg_2000(fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame in JPEG 2000, in boxes or not; its first 12 bytes tell."""
    return fragment.startswith(JP2_START) or begins_frame(fragment)


def begins_jpeg_xl(fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame in JPEG XL; its first 12 bytes tell."""
    return fragment.startswith((JPEG_XL_START, _JPEG_XL_CODESTREAM))


def _is_readable(content: bytes) -> bool:
    return any(len(set(match[0])) >= _OF_WORDS for match in _READABLE.finditer(content))


def _sort(
    content: bytes, kind: bytes, start: int, stop: int, texts: list[bytes], tables: list[bytes], depth: int
) -> bool:
    """Put a box among texts or tables; False where it cannot be searched."""
    if kind in _PACKED or depth > _DEEPEST:
        return False
    if kind in _SUPERBOXES:
        for inner, begin, end in _boxes(content, start, stop):
            if inner == b"":
                texts.append(content[begin:stop])
                return True
            if not _sort(content, inner, begin, end, texts, tables, depth + 1):
                return False
        return True
    (tables if kind in _IMAGE_BOXES else texts).append(content[start:stop])
    return True


def _boxes(content: bytes, position: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind and place of the content of every box; the kind is b'' where bytes are left that are none."""
    while position < stop:
        length, kind = (
            int.from_bytes(content[position : position + 4], "big"),
            content[position + 4 : position + 8],
        )
        header = 8
        if length == 1:
            length, header = int.from_bytes(content[position + 8 : position + 16], "big"), 16
        elif length == 0 and len(kind) == 4 and kind.strip(b"\0"):
            length = stop - position  # to the end
        if length < header or position + length > stop:
            yield b"", position, stop
            return
        yield kind, position + header, position + length
        position += length
