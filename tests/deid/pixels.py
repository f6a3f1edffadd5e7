"""Pixel data in every form: native and encapsulated, with and without what the standard asks for."""

from __future__ import annotations

import struct

from tests.deid.answer_key import Action, Level
from tests.deid.raw import Element, in_big_endian

_SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
_TILE = b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\xff\x93"


def jpeg(data: bytes, *segments: tuple[int, bytes], behind: bytes = b"") -> bytes:
    """The form of a JPEG or JPEG-LS image (T.81 annex B), with segments of one's own before its scan."""
    return b"\xff\xd8" + _segments(segments) + _SCAN + data + b"\xff\xd9" + behind


def jpeg_2000(data: bytes, *segments: tuple[int, bytes], behind: bytes = b"") -> bytes:
    """The form of a JPEG 2000 codestream (T.800 annex A), with segments of one's own in its main header."""
    size = (0x51, bytes(38))
    return b"\xff\x4f" + _segments((size, *segments)) + _TILE + data + b"\xff\xd9" + behind


def _segments(segments: tuple[tuple[int, bytes], ...]) -> bytes:
    return b"".join(struct.pack(">BBH", 0xFF, marker, len(value) + 2) + value for marker, value in segments)


_QUANTIZATION = (0xDB, bytes(65))
_JPEG_IN_TWO = jpeg(b"\x11" * 40 + b"\x12" * 31, _QUANTIZATION)
_JPEG_2000_IN_TWO = jpeg_2000(b"\x15" * 20 + b"\x16" * 7)
_FRAGMENTS = {
    "1.2.840.10008.1.2.4.50": (jpeg(b"\x10" * 40, _QUANTIZATION),),
    "1.2.840.10008.1.2.4.57": (_JPEG_IN_TWO[:110], _JPEG_IN_TWO[110:]),
    "1.2.840.10008.1.2.4.70": (jpeg(b"\x13" * 5),),
    "1.2.840.10008.1.2.4.80": (jpeg(b"\x14" * 33, (0xF7, bytes(9))),),
    "1.2.840.10008.1.2.4.90": (_JPEG_2000_IN_TWO[:80], b"", _JPEG_2000_IN_TWO[80:]),
    "1.2.840.10008.1.2.4.201": (jpeg_2000(b"\x17" * 64, (0x50, bytes(6))),),
    "1.2.840.10008.1.2.4.100": (b"\0\0\1\xb3" + b"\x18" * 90,),
    "1.2.840.10008.1.2.4.110": (b"\xff\x0a" + b"\x19" * 21,),
}
"""Fragments whose segments can be followed, and that no decoder would take: pixels are never decoded."""
RLE = "1.2.840.10008.1.2.5"
VIDEO_OR_NEW = frozenset({"1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.110"})
"""Video may be held, and JPEG XL."""
ENCAPSULATED = (*_FRAGMENTS, RLE)


def describe(level: Level, *, samples: int = 1, photometric: str = "MONOCHROME2", bits: int = 16) -> None:
    """The Image Pixel module (PS3.3 C.7.6.3) of 4 by 4 pixels."""
    level.keep(0x00280002, "US", [samples])
    level.keep(0x00280004, "CS", photometric)
    for tag, value in (
        (0x00280010, 4),
        (0x00280011, 4),
        (0x00280100, bits),
        (0x00280101, bits),
        (0x00280102, bits - 1),
    ):
        if not any(e.tag == tag for e in level.elements):
            level.keep(tag, "US", [value])
    level.keep(0x00280103, "US", [0])
    level.keep(0x00281050, "DS", "40")
    level.keep(0x00281051, "DS", "400.5")


def native(level: Level, size: int = 32, vr: str = "OW") -> None:
    """Pixels without compression."""
    value = bytes((7 * n + 3) % 251 for n in range(size))
    level.put(0x7FE00010, vr, value)
    level.row(Action.PIXELS_RETAINED, 0x7FE00010, raw=(value, in_big_endian(value, vr)))


def floating(level: Level, *, double: bool = False) -> None:
    """Float and Double Float Pixel Data of parametric maps."""
    tag, vr = (0x7FE00009, "OD") if double else (0x7FE00008, "OF")
    level.put(tag, vr, [n / 3 for n in range(16)])
    level.row(
        Action.PIXELS_RETAINED,
        tag,
        raw=(struct.pack("<16d" if double else "<16f", *(n / 3 for n in range(16))),),
    )


def encapsulated(level: Level, syntax_uid: str, *, offsets: bool = False) -> None:
    """Pixels in fragments, with an empty or a filled Basic Offset Table (PS3.5 A.4)."""
    fragments = (rle_frame(bytes(range(32))),) if syntax_uid == RLE else _FRAGMENTS[syntax_uid]
    table = struct.pack("<L", 0) if offsets else b""
    element = Element(0x7FE00010, "OB", b"", fragments=(table, *fragments))
    level.elements.append(element)
    level.row(Action.PIXELS_RETAINED, 0x7FE00010, raw=(items_of(element.fragments or ()),))


def items_of(fragments: tuple[bytes, ...]) -> bytes:
    """Fragments as the items that they are in the file, without the delimiter behind them."""
    padded = [one + b"\0" * (len(one) % 2) for one in fragments]
    return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(one)) + one for one in padded)


def rle_frame(pixels: bytes) -> bytes:
    """A frame of 16 bit in RLE (PS3.5 annex G): two segments of literal runs."""
    segments = []
    for plane in (pixels[1::2], pixels[0::2]):
        packed = bytes([len(plane) - 1]) + plane
        segments.append(packed + b"\0" * (len(packed) % 2))
    header = struct.pack("<16L", 2, 64, 64 + len(segments[0]), *([0] * 13))
    return header + b"".join(segments)
