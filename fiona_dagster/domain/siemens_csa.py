"""Siemens CSA headers (private attributes 0029,xx10 image and 0029,xx20 series) as name -> values.

Layout as described by the NiBabel project: optional magic `SV10`, a count of elements, then for each element a
name of 64 bytes, VM, VR, a count of items and the items, each with four 32-bit words before it and padded to
four bytes. Little endian, whatever the machine. A header that does not fit this layout yields nothing.
"""

from __future__ import annotations

import struct

from fiona_dagster.domain.attribute_values import Image, element_value

CREATOR = "SIEMENS CSA HEADER"
SLOTS = (0x10, 0x11, 0x12)
"""Where the block is looked for; other blocks of Siemens in group 0029 are at most two."""
TAGS = frozenset(0x00290000 | tag for slot in SLOTS for tag in (slot, slot << 8 | 0x10, slot << 8 | 0x20))
"""The attributes that hold the headers, and their private creators."""
_MOST_ELEMENTS = 1000
_ELEMENT = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")


def image_header(image: Image) -> dict[str, list[str]]:
    """Names and values of the CSA image header (0029,xx10), empty where there is none."""
    return parse(_block_value(image, 0x10))


def series_header(image: Image) -> dict[str, list[str]]:
    """Names and values of the CSA series header (0029,xx20), empty where there is none."""
    return parse(_block_value(image, 0x20))


def protocol_value(protocol: str, name: str) -> str:
    """Value of `name = value` in the text of a MrPhoenixProtocol, without quotes; '' where it is not set."""
    begin = protocol.find(
        f"\n{name}"
    )  # not a regular expression: the text has 100,000 characters, an image each
    if begin < 0:
        return ""
    end = protocol.find("\n", begin + 1)
    line = protocol[begin + 1 : end if end >= 0 else None]
    left, sign, right = line.partition("=")
    return right.strip().strip('"') if sign and left.strip() == name else ""


def parse(header: bytes) -> dict[str, list[str]]:
    """Names and non-empty values of one CSA header (CSA1 or CSA2)."""
    second = header[:4] == b"SV10"
    position = 8 if second else 0
    found: dict[str, list[str]] = {}
    try:
        (count,) = struct.unpack_from("<I", header, position)
        if not 0 < count <= _MOST_ELEMENTS:
            return {}
        position += 8
        first_items: int | None = None
        for _ in range(count):
            name, _vm, _vr, _syngo, items, _end = _ELEMENT.unpack_from(header, position)
            position += _ELEMENT.size
            first_items = items if first_items is None else first_items
            values: list[str] = []
            for _ in range(items):
                words = _ITEM.unpack_from(header, position)
                position += _ITEM.size
                length = words[1] if second else words[0] - first_items
                if length < 0 or position + length > len(header):
                    return {}
                text = header[position : position + length].split(b"\0", 1)[0].decode("latin-1").strip()
                position += (length + 3) // 4 * 4
                if text:
                    values.append(text)
            found[name.split(b"\0", 1)[0].decode("latin-1")] = values
    except struct.error:
        return {}
    return found


def _block_value(image: Image, offset: int) -> bytes:
    for slot in SLOTS:
        if element_value(image, 0x00290000 | slot) == CREATOR:
            value = element_value(image, 0x00290000 | slot << 8 | offset)
            return value if isinstance(value, bytes) else b""
    return b""
