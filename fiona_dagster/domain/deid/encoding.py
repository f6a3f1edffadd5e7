"""Elements of a copy, and their bytes. Byte for byte the same for the same elements: nothing else is written.

Sequences and items have defined lengths. The value of Pixel Data may be left out, for an adapter to copy from file to
file behind the header made here.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct, pack
from typing import NamedTuple

UNDEFINED = 0xFFFFFFFF
_PIXEL_GROUP = 0x7FE0
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with a length of 32 bit in explicit encodings (PS3.5 table 7.1-1)."""
_PADDED_BY_NUL = frozenset({"UI", "OB", "UN"})
_LITTLE, _BIG = (
    tuple(Struct(order + fields).pack for fields in ("HHL", "HH2s2xL", "HH2sH")) for order in "<>"
)
"""Headers of elements: implicit, explicit with 32 bits of length, explicit with 16."""


class Element(NamedTuple):
    """One element: `value` is unpadded bytes in the copy's byte order, or the items of a sequence.

    `undefined_length` marks encapsulated Pixel Data, whose value is the fragments without the delimiter.
    """

    tag: int
    vr: str
    value: bytes | list[list[Element]]
    undefined_length: bool = False


class Syntax(NamedTuple):
    """How elements are encoded (PS3.5 chapter 7)."""

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


EXPLICIT_LITTLE = Syntax(implicit=False, little=True)


def text_element(tag: int, vr: str, text: str) -> Element:
    """An element of text in UTF-8."""
    return Element(tag, vr, text.encode("utf-8"))


def encode_elements(elements: Iterable[Element], syntax: Syntax) -> bytes:
    """The elements in ascending order of tags, as they stand in a data set."""
    return b"".join(encode_element(element, syntax) for element in sorted(elements, key=lambda e: e.tag))


def header(tag: int, vr: str, length: int, syntax: Syntax) -> bytes:
    """Tag, VR and length; `length` may be UNDEFINED."""
    implicit, long, short = _LITTLE if syntax.little else _BIG
    if syntax.implicit:
        return implicit(tag >> 16, tag & 0xFFFF, length)
    if vr in LONG_VRS:
        return long(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), length)
    if length > 0xFFFF:  # only UN can hold what outgrew its VR (PS3.5 6.2.2 note 4)
        return long(tag >> 16, tag & 0xFFFF, b"UN", length)
    return short(tag >> 16, tag & 0xFFFF, vr.encode("ascii"), length)


def encode_element(element: Element, syntax: Syntax) -> bytes:
    """One element: tag, VR, length and padded value."""
    if isinstance(element.value, list):
        value = b"".join(_item(item, syntax) for item in element.value)
        return header(element.tag, "SQ", len(value), syntax) + value
    value = element.value
    if element.undefined_length:
        delimiter = pack(syntax.order + "HHL", 0xFFFE, 0xE0DD, 0)
        return header(element.tag, element.vr, UNDEFINED, syntax) + value + delimiter
    return encode_value(element.tag, element.vr, value, syntax)


def encode_value(tag: int, vr: str, value: bytes, syntax: Syntax) -> bytes:
    """An element of unpadded bytes: tag, VR, length and padded value."""
    if len(value) % 2 and tag >> 16 != _PIXEL_GROUP:  # pixels stay as they are, even odd ones
        value += b"\0" if vr in _PADDED_BY_NUL else b" "
    return header(tag, vr, len(value), syntax) + value


def _item(elements: list[Element], syntax: Syntax) -> bytes:
    value = encode_elements(elements, syntax)
    return pack(syntax.order + "HHL", 0xFFFE, 0xE000, len(value)) + value
