"""A data set is walked once from its first element to its last: what reception needs, and that it is complete.

Values are read only of the attributes in `InstanceHeader`; everything else is stepped over, so that an object of
any size costs neither memory nor time. A data set that ends before one of its elements does is broken.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from fiona_dagster.domain.data_set_sources import LONG_VRS, UNDEFINED, Inflated, Read, Source, Window, broken
from fiona_dagster.domain.data_set_values import LONGEST_VALUE, WANTED, instance_header
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.familiar_elements import Familiar
from fiona_dagster.domain.reception import InstanceHeader

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
"""Transfer Syntaxes whose whole data set is a deflate stream (PS3.5 annex A.5)."""


_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 64


def scan(stream: BinaryIO, size: int, transfer_syntax_uid: str) -> InstanceHeader:
    """Walk the data set of `size` bytes at the position of `stream`.

    Raises:
        Reject: CANNOT_UNDERSTAND, the data set ends within an element or is no sequence of elements;
            CANNOT_UNDERSTAND_NOT_DICOM where not even its beginning is one.
    """
    begin = stream.tell()

    def read(at: int, count: int) -> bytes:
        stream.seek(begin + at)
        return stream.read(count)

    return scan_by(read, size, transfer_syntax_uid)


def scan_by(
    read: Read, size: int, transfer_syntax_uid: str, head: bytes = b"", familiar: Familiar | None = None
) -> InstanceHeader:
    """`scan` of a data set that `read` gives; `head`, its beginning, is not read again.

    `familiar` remembers what data sets have in common, and makes the next one quicker.

    Raises:
        Reject: as `scan`.
    """
    explicit = transfer_syntax_uid != IMPLICIT_LITTLE
    values: dict[int, bytes] = {}
    try:
        if transfer_syntax_uid in DEFLATED:
            _Walk(Inflated(read), "<").top_level(explicit, values)
        elif transfer_syntax_uid == EXPLICIT_BIG:
            _Walk(Window(read, size, head), ">").top_level(explicit, values)
        else:
            window = Window(read, size, head, familiar if explicit else None)
            _Walk(window, "<").top_level(explicit, values, window if explicit else None)
            window.close()
    except Reject:
        if values:
            raise
        status = Status.CANNOT_UNDERSTAND_NOT_DICOM
        raise Reject(status, REASONS[status]) from None
    return instance_header(values)


class _Walk:
    """Steps from element to element in one byte order."""

    def __init__(self, source: Source, order: str) -> None:
        self._source = source
        self._tag = struct.Struct(order + "HH")
        self._short = struct.Struct(order + "H")
        self._long = struct.Struct(order + "L")

    def top_level(self, explicit: bool, values: dict[int, bytes], quick: Window | None = None) -> None:
        """Fill `values` with those of the wanted attributes; `quick`: the source, where it can `step` by itself."""
        while True:
            if quick is not None:
                quick.step(values)
                begin = quick.position
            head = self._source.some(8)
            if not head:
                break
            if not any(head):
                break  # some writers pad the file with zeros
            if len(head) < 8:
                raise broken()
            tag, vr, length = self._element(head, explicit)
            if tag in WANTED and length <= LONGEST_VALUE:
                values[tag] = self._exactly(length)
            else:
                self._value(tag, vr, length, explicit, depth=0)
                if quick is not None:
                    quick.walked(begin)

    def _exactly(self, count: int) -> bytes:
        data = self._source.some(count)
        if len(data) < count:
            raise broken()
        return data

    def _element(self, head: bytes, explicit: bool) -> tuple[int, bytes, int]:
        """Tag, VR (empty: not told) and length of the value."""
        group, element = self._tag.unpack_from(head)
        tag = group << 16 | element
        vr = head[4:6]
        if not explicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return (
                tag,
                b"",
                self._long.unpack_from(head, 4)[0],
            )  # also where a writer fell back to Implicit VR
        if vr in LONG_VRS:
            return tag, vr, self._long.unpack(self._exactly(4))[0]
        return tag, vr, self._short.unpack_from(head, 6)[0]

    def _value(self, tag: int, vr: bytes, length: int, explicit: bool, depth: int) -> None:
        if group_is_delimiter(tag):
            raise broken()
        if length != UNDEFINED:
            self._source.skip(length)
        elif vr == b"UN":  # PS3.5 section 6.2.2 note 2: such a value is Implicit VR Little Endian
            _Walk(self._source, "<").items(explicit=False, depth=depth + 1)
        else:
            self.items(explicit=explicit, depth=depth + 1)

    def items(self, *, explicit: bool, depth: int) -> None:
        """Step over the Items or fragments of a value of undefined length, with its delimiter."""
        if depth > _DEEPEST:
            raise broken()
        while True:
            tag, _, length = self._element(self._exactly(8), explicit=False)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise broken()
            if length != UNDEFINED:
                self._source.skip(length)
                continue
            while True:
                tag, vr, length = self._element(self._exactly(8), explicit)
                if tag == _ITEM_END:
                    break
                self._value(tag, vr, length, explicit, depth)


def group_is_delimiter(tag: int) -> bool:
    """Whether `tag` belongs to the Items and delimiters, which are no elements of a data set."""
    return tag >> 16 == 0xFFFE
