"""DICOM files byte by byte: what no library would write must be writable, too (PS3.5 section 7, PS3.10 section 7).

A writer of its own, so that a mistake in the product's encoder or in pydicom's cannot hide itself here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
UNDEFINED = 0xFFFFFFFF
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with a length of 32 bit (PS3.5 table 7.1-1)."""
NUMBERS = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q",
    "OW": "H", "OL": "L", "OF": "f", "OD": "d", "OV": "Q",
}  # fmt: skip
_SWAPPED = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8, "US": 2, "SS": 2, "UL": 4, "SL": 4}


@dataclass(frozen=True)
class Syntax:
    """How elements are written."""

    explicit: bool = True
    big: bool = False

    @property
    def order(self) -> str:
        return ">" if self.big else "<"


def syntax_of(uid: str) -> Syntax:
    """Every syntax but two is explicit and little endian (PS3.5 annex A)."""
    return Syntax(explicit=uid != IMPLICIT, big=uid == BIG)


@dataclass
class Element:
    """One element. `value` is bytes in little endian, numbers, or items; `declared` is what stands in the file as
    VR when that is not the true one; `length` lies about the length; `fragments` is encapsulated Pixel Data."""

    tag: int
    vr: str
    value: bytes | list[float] | list[Item]
    declared: str = ""
    undefined: bool = False
    length: int | None = None
    pad: bytes | None = None
    fragments: tuple[bytes, ...] | None = None


@dataclass
class Item:
    """An item of a sequence."""

    elements: list[Element] = field(default_factory=list)
    undefined: bool = False


def encode(elements: Sequence[Element], syntax: Syntax, *, ordered: bool = True) -> bytes:
    """A data set; in ascending order of tags, unless that is what is to be broken."""
    chosen = sorted(elements, key=lambda e: e.tag) if ordered else elements
    return b"".join(element_bytes(one, syntax) for one in chosen)


def element_bytes(element: Element, syntax: Syntax) -> bytes:
    """Header and value of one element."""
    if element.fragments is not None:
        return _header(element.tag, element.declared or "OB", UNDEFINED, syntax) + _fragments(element, syntax)
    value, undefined = _value(element, syntax)
    length = UNDEFINED if undefined else len(value) if element.length is None else element.length
    vr = element.declared or element.vr
    if vr not in LONG and len(value) > 0xFFFF:
        vr = "UN"
    return (
        _header(element.tag, vr, length, syntax) + value + (_delimiter(0xE0DD, syntax) if undefined else b"")
    )


def _value(element: Element, syntax: Syntax) -> tuple[bytes, bool]:
    value = element.value
    if element.vr == "SQ" and isinstance(value, list):
        inner = syntax
        if element.declared == "UN" and syntax.explicit:
            inner = Syntax(explicit=False)  # PS3.5 6.2.2: implicit VR little endian inside UN
        return b"".join(_item(item, inner) for item in value if isinstance(item, Item)), element.undefined
    if isinstance(value, list):
        numbers = [one for one in value if not isinstance(one, Item)]
        if element.vr == "AT":
            return b"".join(
                struct.pack(syntax.order + "HH", int(n) >> 16, int(n) & 0xFFFF) for n in numbers
            ), False
        kind = NUMBERS[element.vr]
        order = "<" if element.declared == "UN" and syntax.explicit else syntax.order
        cast = float if kind in "fd" else int
        return struct.pack(f"{order}{len(numbers)}{kind}", *(cast(n) for n in numbers)), False
    if syntax.big and element.declared != "UN":
        value = in_big_endian(value, element.vr)
    if len(value) % 2 and element.pad is None:
        value += b"\0" if element.vr in {"UI", "OB", "UN"} else b" "
    return value + (element.pad or b""), False


def in_big_endian(value: bytes, vr: str) -> bytes:
    """Little endian words the other way round; what is not made of whole words stays."""
    width = _SWAPPED.get(vr, 1)
    if len(value) % width:
        return value
    return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))


def _item(item: Item, syntax: Syntax) -> bytes:
    inside = encode(item.elements, syntax)
    start = struct.pack(syntax.order + "HHL", 0xFFFE, 0xE000, UNDEFINED if item.undefined else len(inside))
    return start + inside + (_delimiter(0xE00D, syntax) if item.undefined else b"")


def _delimiter(element: int, syntax: Syntax) -> bytes:
    return struct.pack(syntax.order + "HHL", 0xFFFE, element, 0)


def _header(tag: int, vr: str, length: int, syntax: Syntax) -> bytes:
    start = struct.pack(syntax.order + "HH", tag >> 16, tag & 0xFFFF)
    if not syntax.explicit:
        return start + struct.pack(syntax.order + "L", length)
    if vr in LONG:
        return start + vr.encode() + b"\0\0" + struct.pack(syntax.order + "L", length)
    return start + vr.encode() + struct.pack(syntax.order + "H", length & 0xFFFF)


def _fragments(element: Element, syntax: Syntax) -> bytes:
    pieces = []
    for fragment in element.fragments or ():
        even = fragment + b"\0" * (len(fragment) % 2)
        pieces.append(struct.pack(syntax.order + "HHL", 0xFFFE, 0xE000, len(even)) + even)
    return b"".join(pieces) + _delimiter(0xE0DD, syntax)


def part10(
    elements: Sequence[Element],
    syntax_uid: str,
    *,
    preamble: bytes = b"",
    meta: Sequence[Element] = (),
    group_length: bool = True,
    behind: bytes = b"",
) -> bytes:
    """A file of PS3.10: preamble, file meta information and data set."""
    sop = {e.tag: e.value for e in elements if e.tag in {0x00080016, 0x00080018}}
    written = [
        Element(0x00020001, "OB", b"\0\1"),
        Element(0x00020002, "UI", sop.get(0x00080016, b"")),
        Element(0x00020003, "UI", sop.get(0x00080018, b"")),
        Element(0x00020010, "UI", syntax_uid.encode()),
        *meta,
    ]
    start = encode(written, Syntax())
    length = element_bytes(Element(0x00020000, "UL", [float(len(start))]), Syntax()) if group_length else b""
    body = encode(elements, syntax_of(syntax_uid)) + behind
    if syntax_uid == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
        body += b"\0" * (len(body) % 2)
    return preamble.ljust(128, b"\0")[:128] + b"DICM" + length + start + body
