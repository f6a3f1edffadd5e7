"""Compressed frames: where they end, and what they carry beside their image.

Only the marker segments are followed; nothing is decoded. JPEG and JPEG-LS: ITU-T T.81 annex B, T.87 annex C; JPEG 2000
with its high-throughput blocks: T.800 annex A; RLE: PS3.5 annex G; deflated frames: PS3.5 A.4.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from struct import unpack_from
from typing import NamedTuple

from fiona_dagster.domain.deid.identifier_patterns import identifiers_in

BEYOND = "the pixel data holds more than its frames"
NOT_FOLLOWED = "a compressed frame cannot be followed to its end"
_JPEG_START, _JPEG_2000_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_JPEG_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""A marker between entropy-coded bytes, where 0xFF is followed by a zero bit, or a restart marker (T.81 B.1.1.5)."""
_EOI, _SOS = 0xD9, 0xDA
_SOT, _SOD = 0x90, 0x93
_JPEG_TABLES = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xF7, 0xF8})
_JPEG_2000_TABLES = frozenset(
    {0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, _SOT}
)
LONGEST_REST = 7
"""Bytes behind a frame that encoders leave there to align the next one, with whatever their memory held."""
_RLE_HEADER, _RLE_SEGMENTS = 64, 15
_RLE_BYTES = (*range(2, 130), 1, *[2] * 127)
_RLE_PIXELS = (*range(1, 129), 0, *range(128, 1, -1))
"""By the first byte of a run: how long it is, and how many bytes it stands for (PS3.5 G.3.1)."""
_LARGEST_DECODED_PLANE = 1 << 20
"""A larger plane is followed run by run: two bytes of a hostile segment decode to 128."""
_RUN = re.compile(r"[^\x00-\x1f\x7f-\x9f\ufffd]{3,}")
_TELLING = frozenset({"identity_number", "e-mail", "name", "telephone"})
_PERSON_NAME = re.compile(r"[^\W\d_]{2,}\^[^\W\d_]")
"""As DICOM writes names (PS3.5 6.2.1)."""


class Frame(NamedTuple):
    """What was found in a frame: the values of its segments and where it ends.

    `tables` are those of the segments that decoding needs, `texts` those of all others.
    """

    texts: tuple[bytes, ...]
    tables: tuple[bytes, ...]
    end: int


Follow = Callable[[bytes], Frame | None]


def follow_jpeg(content: bytes) -> Frame | None:
    """The segments of a JPEG or JPEG-LS image up to its end; None where it has none."""
    texts: list[bytes] = []
    tables: list[bytes] = []
    position = 2
    if not content.startswith(_JPEG_START):
        return None
    while True:
        while content[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(content) or content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == _EOI:
            return Frame(tuple(texts), tuple(tables), position + 2)
        behind = _behind_segment(content, position)
        if behind is None:
            return None
        (tables if marker in _JPEG_TABLES else texts).append(content[position + 4 : behind])
        if marker == _SOS:
            found = _JPEG_MARKER.search(content, behind)
            if found is None:
                return None
            behind = found.start()
        position = behind


def follow_jpeg_2000(content: bytes) -> Frame | None:
    """The segments of a JPEG 2000 codestream, those of its tile-parts included; None where it has no end."""
    texts: list[bytes] = []
    tables: list[bytes] = []
    position, tile_end = 2, 0
    if not content.startswith(_JPEG_2000_START):
        return None
    while position + 2 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _EOI:
            return Frame(tuple(texts), tuple(tables), position + 2)
        if marker == _SOD:
            if not tile_end:
                tile_end = content.find(b"\xff\xd9", position)
            if tile_end <= position:
                return None
            position, tile_end = tile_end, 0
            continue
        behind = _behind_segment(content, position)
        if behind is None:
            return None
        if marker == _SOT:
            if behind != position + 12:
                return None
            (length,) = unpack_from(">L", content, position + 6)
            tile_end = position + length if length else 0
        (tables if marker in _JPEG_2000_TABLES else texts).append(content[position + 4 : behind])
        position = behind
    return None


def _behind_segment(content: bytes, position: int) -> int | None:
    """Position behind a marker segment, whose length counts its own two bytes."""
    length = int.from_bytes(content[position + 2 : position + 4], "big")
    behind = position + 2 + length
    return None if length < 2 or behind > len(content) else behind


def rle_end(content: bytes, plane: int) -> int | None:
    """Where a frame in RLE ends, whose segments have `plane` bytes each; None where its header is none (PS3.5 G.5)."""
    if len(content) < _RLE_HEADER:
        return None
    count, *offsets = unpack_from("<16L", content)
    if not 1 <= count <= _RLE_SEGMENTS or offsets[0] != _RLE_HEADER or any(offsets[count:]):
        return None
    starts = offsets[:count]
    if sorted(set(starts)) != starts:
        return None
    last = content[starts[-1] :]
    if plane <= _LARGEST_DECODED_PLANE and _decodes_to(last, plane):
        return len(content)
    position, left = starts[-1], plane
    try:
        while left > 0:
            code = content[position]
            position += _RLE_BYTES[code]
            left -= _RLE_PIXELS[code]
    except IndexError:
        return None
    return position if position <= len(content) else None


def _decodes_to(segment: bytes, plane: int) -> bool:
    """Whether a segment is its plane from its first byte to its last. Behind it can then be runs that stand for
    nothing (0x80), and one byte."""
    from rle.rle import decode_segment

    if not 0 < len(segment) <= plane * 2:
        return False
    try:
        return len(decode_segment(segment)) == plane
    except ValueError:
        return False


def inflated_end(content: bytes, size: int) -> int | None:
    """Where a deflated frame of `size` bytes ends (RFC 1951); None where it does not."""
    machine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        frame = machine.decompress(content, size + 2)
    except zlib.error:
        return None
    if not machine.eof or len(frame) > size + 1:
        return None
    return len(content) - len(machine.unused_data)


def begins_frame(fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame in JPEG, JPEG-LS or JPEG 2000."""
    return fragment.startswith((_JPEG_START, _JPEG_2000_START))


def is_padding(content: bytes) -> bool:
    """Whether bytes behind a frame carry nothing: one byte, or zeros."""
    return len(content) < 2 or not content.strip(b"\0")


def identifies(value: bytes, is_identifying: Callable[[str], bool]) -> bool:
    """Whether a segment's text identifies: by a value of the originals, or by its form, whoever's it is.

    Bytes between the texts (of Exif and colour profiles) are left out.
    """
    runs = {
        run
        for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
        for run in _RUN.findall(value.decode(code, "replace"))
        if not code.startswith("utf-16") or run.isascii()
    }
    return any(
        is_identifying(run)
        or _PERSON_NAME.search(run) is not None
        or any(span.kind in _TELLING for span in identifiers_in(run))
        for run in runs
    )
