"""Compressed frames in the boxes of a JP2 file (ITU-T T.800 annex I).

PS3.5 wants codestreams alone, and devices write files. Boxes are followed to the end of the frame; what is no part of
the image (XML, UUID, labels, whatever nobody knows) is text to be searched, what may be packed once more is held.
"""

from __future__ import annotations

from collections.abc import Iterator

from fiona_dagster.domain.deid.codestreams import Frame, begins_frame, follow_jpeg_2000

JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
_IMAGE_BOXES = frozenset(
    {b"ftyp", b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res ", b"resc", b"resd"}
)
_SUPERBOXES = frozenset({b"jp2h", b"res ", b"asoc", b"uinf"})
_PACKED = frozenset({b"brob", b"jbrd", b"jp2c", b"jxlc", b"jxlp"})
"""Compressed metadata and images in places where none belongs, those of JPEG XL (ISO/IEC 18181-2), too."""
_DEEPEST = 8


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


def begins_jpeg_2000(fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame in JPEG 2000, in boxes or not; its first 12 bytes tell."""
    return fragment.startswith(JP2_START) or begins_frame(fragment)


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
