"""DICOM files on disk, read without loading pixel data.

pydicom's warnings print values, so they are silenced while it reads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fiona_dagster.domain.deid.elements import EMPTY, DataSet, Place, Short, Unit, find_elements
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE as EXPLICIT
from fiona_dagster.domain.deid.encoding import Syntax
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.errors import Permanent

MOST_INFLATED = 256 << 20
"""Bytes of a deflated data set that are taken into memory."""
FIRST_BYTES = 1 << 16
"""Headers are rarely longer; a longer one costs a second read."""
IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
EXPLICIT_LITTLE_UID = "1.2.840.10008.1.2.1"
_UNDEFINED = 0xFFFFFFFF
_NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE_UID, EXPLICIT_BIG})
_STRAY_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_BLANK_PREAMBLE = b"\0" * 128 + b"DICM"
_META_HEADER = struct.Struct("<HH2sH").unpack_from
_LONG_META_VRS = frozenset({b"OB", b"UN", b"UT", b"OW"})
_PATIENT_ID, _SOP_CLASS_UID = 0x00100020, 0x00080016
_MEDIA_STORAGE_SOP_CLASS_UID, _TRANSFER_SYNTAX_UID = 0x00020002, 0x00020010


class PixelSpan(NamedTuple):
    """Where the value of Pixel Data lies in a file: bytes `start` to `end`, fragments and delimiter included."""

    tag: int
    vr: str
    start: int
    end: int
    undefined_length: bool


class InstanceFile(NamedTuple):
    """A file whose elements were found.

    `dataset` is its first level up to the pixels, `behind` what stands behind them, `meta` the file meta information.
    `pixels` is None where there are none, or where `dataset` holds them.
    """

    path: Path
    size: int
    meta: DataSet
    dataset: DataSet
    behind: DataSet
    transfer_syntax_uid: str
    pixels: PixelSpan | None
    has_blank_preamble: bool


@contextmanager
def quiet_pydicom() -> Iterator[list[warnings.WarningMessage]]:
    """Keep pydicom's warnings and log lines from everybody: they print the values that they complain of.

    Yields the warnings as they come, for code that must know of one.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield heard
    finally:
        logger.setLevel(level)


def read_instance(path: Path, familiar: Familiar | None = None) -> InstanceFile:
    """Find the elements of a DICOM file; Pixel Data stays in the file, where `pixels` says.

    A missing preamble is forgiven, a missing SOP Class UID is not. Deflated files are read whole.

    Args:
        path: the file.
        familiar: what is known of files like it, to find their elements sooner; learns of this one.

    Raises:
        Permanent: it is no DICOM instance, cannot be read, or ends too early. Never names a value.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _Reader(path, descriptor, familiar or Familiar()).read()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Permanent(f"the file cannot be read ({error.strerror})") from None


class _Reader:
    """Reads the beginning of a file, and more of it when an element asks for more."""

    def __init__(self, path: Path, descriptor: int, familiar: Familiar) -> None:
        self._path, self._descriptor, self._familiar = path, descriptor, familiar
        self._size = os.fstat(descriptor).st_size
        self._content = os.pread(descriptor, FIRST_BYTES, 0)

    def read(self) -> InstanceFile:
        try:
            return self._file()
        except Permanent:
            if self._content[128:132] == b"DICM" or self._content[:2] in {b"\x02\0", b"\x08\0"}:
                raise
            raise Permanent(
                "not a DICOM instance"
            ) from None  # why it cannot be read as one tells nobody anything

    def _file(self) -> InstanceFile:
        meta, start = self._meta()
        syntax_uid = meta.value(_TRANSFER_SYNTAX_UID).rstrip(b" \0").decode("latin-1")
        if not syntax_uid:
            syntax_uid = _guessed_syntax(self._content[start : start + 6])
        syntax = syntax_of(syntax_uid)
        if syntax_uid == DEFLATED:
            content = _inflated(self._content[start:] + self._from(len(self._content), self._size))
            places, _ = self._elements(content, 0, len(content), syntax)
            dataset, pixels, behind = DataSet(content, places, syntax), None, EMPTY
        else:
            dataset, stop = self._grow(start, syntax)
            pixels, behind = self._pixels(stop, syntax)
            if pixels is not None and pixels.undefined_length and syntax_uid in _NATIVE:
                raise Permanent(
                    "the pixel data is encapsulated, which the transfer syntax excludes: ask for it again"
                )
        if _SOP_CLASS_UID not in dataset and _MEDIA_STORAGE_SOP_CLASS_UID not in meta:
            raise Permanent("not a DICOM instance")
        blank = self._content.startswith(_BLANK_PREAMBLE)
        return InstanceFile(self._path, self._size, meta, dataset, behind, syntax_uid, pixels, blank)

    def _meta(self) -> tuple[DataSet, int]:
        """File meta information (PS3.10 7.1) and where the data set begins."""
        content = self._content
        start = 132 if content[128:132] == b"DICM" else 0
        places: dict[int, Place] = {}
        position = start
        while content[position : position + 2] == b"\x02\x00":
            if position + 8 > len(content):
                raise _ends_early()
            _, element, vr, length = _META_HEADER(content, position)
            value = position + 8
            if vr in _LONG_META_VRS:
                value += 4
                if value > len(content):
                    raise _ends_early()
                length = int.from_bytes(content[value - 4 : value], "little")
            behind = value + length
            if behind > len(content):
                raise _ends_early()
            places[0x00020000 | element] = (position, value, behind, vr.decode("latin-1"))
            position = behind
        return DataSet(content, places, EXPLICIT), position

    def _grow(self, start: int, syntax: Syntax) -> tuple[DataSet, int]:
        """The first level before the pixels; reads on while the file has more."""
        places: dict[int, Place] = {}
        units: list[Unit] = []
        position = start
        while True:
            try:
                stop = self._familiar.find(self._content, position, syntax, places, units)
                break
            except Short as short:
                position = short.position
            if len(self._content) == self._size:
                raise _ends_early()
            self._content += self._from(len(self._content), 4 * len(self._content))
        self._familiar.learn(self._content, places, units)
        return DataSet(self._content, places, syntax, tuple(units)), stop

    def _elements(
        self, content: bytes, start: int, stop: int, syntax: Syntax
    ) -> tuple[dict[int, Place], int]:
        try:
            return find_elements(content, start, stop, syntax)
        except Short:
            raise _ends_early() from None

    def _pixels(self, position: int, syntax: Syntax) -> tuple[PixelSpan | None, DataSet]:
        """The element at `position`, which is Pixel Data of some kind or the end of the file, and what follows."""
        if position >= self._size:
            return None, EMPTY
        order = "<" if syntax.little else ">"
        head = self._at(position, 12)
        if len(head) < 8:
            raise _ends_early()
        group, element, length = struct.unpack(order + "HHL", head[:8])
        vr, begin = head[4:6].decode("latin-1"), position + 12
        if vr in {"OB", "OW", "OF", "OD", "UN"}:  # no even 32-bit length begins with these letters
            length = int.from_bytes(head[8:12], "little" if syntax.little else "big")
        else:
            vr, begin = "OW", position + 8
        undefined = length == _UNDEFINED
        end = self._end_of_fragments(begin, order) if undefined else begin + length
        if end > self._size:
            raise Permanent("the file ends inside its pixel data: ask the sender for it again")
        return PixelSpan(group << 16 | element, vr, begin, end, undefined), self._behind(end, syntax)

    def _behind(self, position: int, syntax: Syntax) -> DataSet:
        """Elements behind Pixel Data (padding, signatures): treated like all others."""
        if position == self._size:
            return EMPTY
        content = self._from(position, self._size)
        if not content.strip(b"\0") or content == _STRAY_DELIMITER:
            return EMPTY  # an archive's padding, a delimiter of no sequence
        return DataSet(content, self._elements(content, 0, len(content), syntax)[0], syntax)

    def _end_of_fragments(self, position: int, order: str) -> int:
        """Position behind the sequence delimiter of encapsulated Pixel Data (PS3.5 A.4)."""
        while True:
            item = self._at(position, 8)
            if len(item) < 8:
                raise Permanent("the file ends inside its pixel data: ask the sender for it again")
            group, element, length = struct.unpack(order + "HHL", item)
            position += 8
            if (group, element) == (0xFFFE, 0xE0DD):
                return position
            if (group, element) != (0xFFFE, 0xE000) or length == _UNDEFINED:
                raise Permanent("the fragments of the pixel data are damaged")
            position += length

    def _at(self, position: int, count: int) -> bytes:
        if position + count <= len(self._content):
            return self._content[position : position + count]
        return os.pread(self._descriptor, count, position)

    def _from(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop:
            piece = os.pread(self._descriptor, min(stop - start, 64 << 20), start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)


def _ends_early() -> Permanent:
    return Permanent("the file ends inside an element: ask the sender for it again")


def _guessed_syntax(beginning: bytes) -> str:
    if not (beginning[4:6].isalpha() and beginning[4:6].isupper()):
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE_UID if beginning[1:2] == b"\0" else EXPLICIT_BIG


def _inflated(content: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        whole = machine.decompress(content, MOST_INFLATED)
    except zlib.error:
        raise Permanent("the file is damaged: what is deflated cannot be inflated") from None
    if machine.unconsumed_tail:
        raise Permanent(
            f"the file inflates to more than {MOST_INFLATED >> 20} MB: ask for it in another encoding"
        )
    if not machine.eof:
        raise _ends_early()
    return whole


def patient_of(file: InstanceFile) -> tuple[str, str]:
    """Study Instance UID and PatientID as they stand in a file, stripped."""
    from fiona_dagster.domain.deid.admission import STUDY_INSTANCE_UID
    from fiona_dagster.domain.deid.character_sets import DEFAULT_ENCODING
    from fiona_dagster.domain.deid.text import decode, encodings_of, first_text

    value = file.dataset.value(_PATIENT_ID)
    text = decode(value, "LO", encodings_of(file.dataset, (DEFAULT_ENCODING,)))
    patient = value.decode("latin-1") if text is None else text
    return first_text(file.dataset, STUDY_INSTANCE_UID), patient.strip(" \0")


@cache
def syntax_of(transfer_syntax_uid: str) -> Syntax:
    """How the elements of a data set in this transfer syntax are encoded."""
    return Syntax(implicit=transfer_syntax_uid == IMPLICIT_LITTLE, little=transfer_syntax_uid != EXPLICIT_BIG)


def file_digest(path: Path) -> str:
    """SHA-256 of a whole file in hexadecimal digits."""
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
