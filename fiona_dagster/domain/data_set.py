"""A data set is walked once from its first element to its last: what reception needs, and that it is complete.

Values are read only of the attributes in `InstanceHeader`; everything else is stepped over, so that an object of
any size costs neither memory nor time. A data set that ends before one of its elements does is broken.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import BinaryIO, Protocol

from pydicom.charset import convert_encodings, decode_bytes

from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.reception import InstanceHeader

_UIDS_AND_CODES = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x00080020: "study_date",
    0x00080030: "study_time",
    0x00080060: "modality",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_TEXTS = {
    0x00080050: "accession_number",
    0x00080070: "manufacturer",
    0x00080080: "institution_name",
    0x00081030: "study_description",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
}
_SPECIFIC_CHARACTER_SET = 0x00080005
_WANTED = frozenset({*_UIDS_AND_CODES, *_TEXTS, _SPECIFIC_CHARACTER_SET})
_LONGEST_VALUE = 65_536
_LONGEST_CHARACTER_SET = 256

_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs with a length of 32 bits (PS3.5 section 7.1.2)."""

_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
     b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 64
_EXPLICIT_LITTLE_HEAD = struct.Struct("<HH2sH")
_LITTLE_LENGTH = struct.Struct("<L")

Read = Callable[[int, int], bytes]
"""At most so many bytes from a place of the data set, counted from its beginning; fewer only at its end."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
"""Transfer Syntaxes whose whole data set is a deflate stream (PS3.5 annex A.5)."""


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


def scan_by(read: Read, size: int, transfer_syntax_uid: str, head: bytes = b"") -> InstanceHeader:
    """`scan` of a data set that `read` gives; `head`, its beginning, is not read again.

    Raises:
        Reject: as `scan`.
    """
    explicit = transfer_syntax_uid != IMPLICIT_LITTLE
    values: dict[int, bytes] = {}
    try:
        if transfer_syntax_uid in DEFLATED:
            _Walk(_Inflated(read), "<").top_level(explicit, values)
        elif transfer_syntax_uid == EXPLICIT_BIG:
            _Walk(_Window(read, size, head), ">").top_level(explicit, values)
        else:
            window = _Window(read, size, head)
            _Walk(window, "<").top_level(explicit, values, window if explicit else None)
    except Reject:
        if values:
            raise
        status = Status.CANNOT_UNDERSTAND_NOT_DICOM
        raise Reject(status, REASONS[status]) from None
    return _header(values)


class _Source(Protocol):
    def some(self, count: int) -> bytes:
        """At most `count` bytes, fewer only at the end."""

    def skip(self, count: int) -> None:
        """Step over `count` bytes, which must be there."""


class _Window:
    """A piece of the data set in memory, read anew where the walk leaves it."""

    _PIECE = 16_384

    def __init__(self, read: Read, size: int, head: bytes) -> None:
        self._read, self._size = read, size
        self._piece, self._base, self._at = head, 0, 0

    def some(self, count: int) -> bytes:
        count = min(count, self._size - self._at)
        begin = self._at - self._base
        if begin + count > len(self._piece):
            self._piece, self._base = self._read(self._at, max(count, self._PIECE)), self._at
            begin = 0
        data = self._piece[begin : begin + count]
        self._at += len(data)
        return data

    def skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise _broken()
        self._at += count

    def step(self, values: dict[int, bytes]) -> None:
        """Go over elements in Explicit VR Little Endian as far as they are plain and begin in the piece."""
        piece, base, end = self._piece, self._base, self._size - self._base
        at, last = self._at - base, len(self._piece) - 12
        while at <= last:
            group, element, vr, length = _EXPLICIT_LITTLE_HEAD.unpack_from(piece, at)
            begin = at + 8
            if vr in _LONG_VRS:
                (length,) = _LITTLE_LENGTH.unpack_from(piece, begin)
                begin += 4
            elif vr not in _SHORT_VRS:
                break
            after = begin + length
            if after > end or length == _UNDEFINED or group == 0xFFFE:
                break
            tag = group << 16 | element
            if tag in _WANTED and length <= _LONGEST_VALUE:
                if after > len(piece):
                    break
                values[tag] = piece[begin:after]
            at = after
        self._at = base + at


class _Inflated:
    """The inflated stream, never more than a piece of it in memory."""

    _PIECE = 65_536

    def __init__(self, read: Read) -> None:
        self._read, self._packed = read, 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._piece = b""
        self._at = 0

    def some(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count and self._more():
            taken = self._piece[self._at : self._at + count - len(parts)]
            self._at += len(taken)
            parts += taken
        return bytes(parts)

    def skip(self, count: int) -> None:
        while count:
            if not self._more():
                raise _broken()
            step = min(count, len(self._piece) - self._at)
            self._at += step
            count -= step

    def _more(self) -> bool:
        while self._at == len(self._piece):
            if self._inflate.eof:
                return False
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._read(self._packed, self._PIECE)
                self._packed += len(packed)
            if not packed:
                raise _broken()  # the deflate stream has no end: it was cut
            try:
                self._piece, self._at = self._inflate.decompress(packed, self._PIECE), 0
            except zlib.error as error:
                raise _broken() from error
        return True


class _Walk:
    """Steps from element to element in one byte order."""

    def __init__(self, source: _Source, order: str) -> None:
        self._source = source
        self._tag = struct.Struct(order + "HH")
        self._short = struct.Struct(order + "H")
        self._long = struct.Struct(order + "L")

    def top_level(self, explicit: bool, values: dict[int, bytes], quick: _Window | None = None) -> None:
        """Fill `values` with those of the wanted attributes; `quick`: the source, where it can `step` by itself."""
        while True:
            if quick is not None:
                quick.step(values)
            head = self._source.some(8)
            if not head:
                break
            if not any(head):
                break  # some writers pad the file with zeros
            if len(head) < 8:
                raise _broken()
            tag, vr, length = self._element(head, explicit)
            if tag in _WANTED and length <= _LONGEST_VALUE:
                values[tag] = self._exactly(length)
            else:
                self._value(tag, vr, length, explicit, depth=0)

    def _exactly(self, count: int) -> bytes:
        data = self._source.some(count)
        if len(data) < count:
            raise _broken()
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
        if vr in _LONG_VRS:
            return tag, vr, self._long.unpack(self._exactly(4))[0]
        return tag, vr, self._short.unpack_from(head, 6)[0]

    def _value(self, tag: int, vr: bytes, length: int, explicit: bool, depth: int) -> None:
        if group_is_delimiter(tag):
            raise _broken()
        if length != _UNDEFINED:
            self._source.skip(length)
        elif vr == b"UN":  # PS3.5 section 6.2.2 note 2: such a value is Implicit VR Little Endian
            _Walk(self._source, "<").items(explicit=False, depth=depth + 1)
        else:
            self.items(explicit=explicit, depth=depth + 1)

    def items(self, *, explicit: bool, depth: int) -> None:
        """Step over the Items or fragments of a value of undefined length, with its delimiter."""
        if depth > _DEEPEST:
            raise _broken()
        while True:
            tag, _, length = self._element(self._exactly(8), explicit=False)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise _broken()
            if length != _UNDEFINED:
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


def _header(values: dict[int, bytes]) -> InstanceHeader:
    found = {name: _uid_or_code(name, values[tag]) for tag, name in _UIDS_AND_CODES.items() if tag in values}
    encodings = list(_encodings(values.get(_SPECIFIC_CHARACTER_SET, b"")[:_LONGEST_CHARACTER_SET]))
    for tag, name in _TEXTS.items():
        if tag in values:
            found[name] = _printable(_text(values[tag], encodings))
    return InstanceHeader(**found)


def _uid_or_code(name: str, value: bytes) -> str:
    """A UID keeps what does not belong in it, so that nothing is filed under another one than it has."""
    text = value.decode("ascii", "replace")
    return text.strip("\0 ") if name.endswith("_uid") else _printable(text)


@lru_cache(maxsize=64)
def _encodings(value: bytes) -> tuple[str, ...]:
    names = [_printable(name) for name in value.decode("ascii", "replace").split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they print the value
        try:
            return tuple(convert_encodings(names))
        except (LookupError, ValueError):
            return ("latin_1",)


def _text(value: bytes, encodings: list[str]) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(value, encodings, {ord("^"), ord("="), ord("\\")})
        except (LookupError, ValueError):
            return value.decode("latin_1")


def _printable(text: str) -> str:
    """Without padding and control characters, which some databases refuse."""
    text = text.strip("\0 ")
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isprintable())
    return text.strip()


def _broken() -> Reject:
    return Reject(Status.CANNOT_UNDERSTAND, REASONS[Status.CANNOT_UNDERSTAND])
