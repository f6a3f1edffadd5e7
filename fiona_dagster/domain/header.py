"""The wanted attributes of one instance, found in its bytes and decoded when they are asked for.

Classification reads some sixty attributes of every image of a study; pydicom takes a millisecond for that, most of it
for attributes and value types that nobody wants. Here elements are stepped over, and plain values are decoded
directly. Whatever is not plain (other character sets, sequences, unknown VRs) is handed to pydicom, so that both ways
give the same values; the tests compare them over every file of the corpus.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from mmap import mmap
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

Buffer = bytes | mmap
Raw = tuple[str, bytes]
"""VR ('' where the data set does not tell) and value."""

_HEAD = struct.Struct("<HH2sH")
_LONG = struct.Struct("<L")
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs with a length of 32 bits (PS3.5 section 7.1.2)."""
_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 64
_CHARACTER_SET = 0x00080005

_TEXTS = frozenset(("AE", "CS", "DA", "DT", "LO", "SH", "TM", "UI"))
_NUMERALS = frozenset(("DS", "IS"))
_BINARY = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}


class Numeral(str):
    """A number as the device wrote it; in a list it is printed without quotes, as pydicom prints DS and IS."""

    __slots__ = ()
    __repr__ = str.__str__


class Header:
    """Some attributes of one instance; an attribute that was not wanted is not there."""

    __slots__ = ("_dataset", "_implicit", "_known", "_raw")

    def __init__(self, raw: dict[int, Raw], *, implicit: bool) -> None:
        self._raw, self._implicit = raw, implicit
        self._dataset: Dataset | None = None
        self._known: dict[int, Any] = {}

    def __contains__(self, tag: int) -> bool:
        return tag in self._raw

    def value(self, tag: int) -> Any | None:
        """The value as pydicom gives it (DS and IS as text); None where it is absent.

        Raises:
            whatever pydicom raises on a value that does not fit its VR.
        """
        if tag not in self._raw:
            return None
        if tag not in self._known:
            vr, data = self._raw[tag]
            plain = _plain(vr or _known_vr(tag), data)
            self._known[tag] = self.dataset[BaseTag(tag)].value if plain is None else plain
        return self._known[tag]

    @property
    def dataset(self) -> Dataset:
        """The same attributes as pydicom sees them."""
        if self._dataset is None:
            little = True
            elements: dict[BaseTag, DataElement | RawDataElement] = {
                BaseTag(tag): RawDataElement(
                    BaseTag(tag), vr or None, len(data), data, 0, self._implicit, little
                )
                for tag, (vr, data) in self._raw.items()
            }
            names = self._raw.get(_CHARACTER_SET, ("CS", b""))[1].decode("ascii", "replace").rstrip("\0 ")
            self._dataset = Dataset(elements)
            self._dataset.set_original_encoding(self._implicit, little, convert_encodings(names.split("\\")))
        return self._dataset


def with_creators(tags: Collection[int]) -> frozenset[int]:
    """`tags` with the private creators of those that are private: without them a VR may stay unknown."""
    creators = {tag & 0xFFFF0000 | (tag >> 8 & 0xFF) for tag in tags if tag >> 16 & 1 and tag & 0xFFFF > 0xFF}
    return frozenset((*tags, *creators))


def find(
    data: Buffer, position: int, tags: frozenset[int], *, implicit: bool, whole: bool = True
) -> dict[int, Raw]:
    """The wanted attributes of the data set (Little Endian) that begins at `position`.

    The walk ends behind the last group with a wanted tag.

    Args:
        whole: False where `data` may break off in the middle of the data set.

    Raises:
        ValueError, struct.error: this is no data set, or it breaks off before that.
    """
    found: dict[int, Raw] = {}
    size, last = len(data), max(tags) >> 16
    unpack, short_vrs = _HEAD.unpack_from, frozenset() if implicit else _SHORT_VRS
    while position < size:
        group, element, vr, length = unpack(data, position)
        if group > last:
            return found
        if vr in short_vrs:  # nine of ten elements: not a call each
            begin = position + 8
            end = position = begin + length
        else:
            _, vr, begin, length = _element(data, position, implicit)
            if length == _UNDEFINED:
                end, position = _end_of_items(data, begin, implicit=implicit or vr == b"UN", depth=0)
            else:
                end = position = begin + length
        tag = group << 16 | element
        if tag in tags:
            if end > size:
                raise ValueError("an element is longer than the data set")
            found[tag] = (vr.decode("ascii"), data[begin:end])
    if position > size or not whole:
        raise ValueError("the data set breaks off")
    return found


def _element(data: Buffer, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR (empty: not told), begin and length of the value of the element at `position`."""
    group, element, vr, length = _HEAD.unpack_from(data, position)
    tag = group << 16 | element
    if vr in _SHORT_VRS and not implicit:
        return tag, vr, position + 8, length
    if implicit or group == 0xFFFE:
        return tag, b"", position + 8, _LONG.unpack_from(data, position + 4)[0]
    if vr not in _LONG_VRS:
        raise ValueError("no VR")
    return tag, vr, position + 12, _LONG.unpack_from(data, position + 8)[0]


def _end_of_items(data: Buffer, position: int, *, implicit: bool, depth: int) -> tuple[int, int]:
    """Where the Items of a value of undefined length end, and where the next element begins."""
    if depth > _DEEPEST:
        raise ValueError("sequences are nested too deeply")
    while True:
        tag, _, begin, length = _element(data, position, implicit)
        if tag == _SEQUENCE_END:
            return position, begin
        if tag != _ITEM:
            raise ValueError("no Item")
        position = begin + length if length != _UNDEFINED else _end_of_item(data, begin, implicit, depth)


def _end_of_item(data: Buffer, position: int, implicit: bool, depth: int) -> int:
    while True:
        tag, vr, begin, length = _element(data, position, implicit)
        if tag == _ITEM_END:
            return begin
        if length == _UNDEFINED:
            _, position = _end_of_items(data, begin, implicit=implicit or vr == b"UN", depth=depth + 1)
        else:
            position = begin + length


def _known_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _plain(vr: str, data: bytes) -> Any | None:
    """A value that needs neither a character set nor pydicom; None for all others."""
    if vr in _BINARY:
        width = struct.calcsize("<" + _BINARY[vr])
        if not data or len(data) % width:
            return None
        numbers = struct.unpack(f"<{len(data) // width}{_BINARY[vr]}", data)
        return numbers[0] if len(numbers) == 1 else list(numbers)
    if vr not in _TEXTS and vr not in _NUMERALS:
        return None
    if not data.isascii() or b"\x1b" in data:
        return None
    parts = data.decode("ascii").rstrip("\0 ").split("\\")
    values = [Numeral(part.strip()) for part in parts] if vr in _NUMERALS else parts
    return values[0] if len(values) == 1 else values
