"""Headers of DICOM files for classification: no pixel data, and of every image only what rules and series JSON read."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Permanent, Reject, Transient

if TYPE_CHECKING:
    from pydicom import Dataset

    from fiona_dagster.domain.attribute_values import Image
    from fiona_dagster.domain.header import Buffer, Header

_SERIES_INSTANCE_UID = 0x0020000E
_SOP_CLASS_UID = 0x00080016
_CHARACTER_SET = 0x00080005
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_TRANSFER_SYNTAX_UID = 0x00020010
_META = frozenset((_MEDIA_STORAGE_SOP_CLASS_UID, _TRANSFER_SYNTAX_UID))
_IMPLICIT_LITTLE = b"1.2.840.10008.1.2"
_FOR_PYDICOM = frozenset(
    (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205")
)
"""Big Endian, and Transfer Syntaxes whose data set is a deflate stream (PS3.5 annex A)."""
_BEGINNING = 1 << 16
"""Almost every header ends before this many bytes; reading them is three times as quick as mapping the file."""
DEFERRED_BYTES = 1 << 20
"""Values beyond this size stay in the file until somebody asks for them."""


def read_header(path: Path, tags: Collection[int]) -> Image:
    """These attributes of the first level of a DICOM file, without the rest of it.

    Files without preamble (PS3.10 section 7.1) are read as well, if they name a SOP Class.

    Raises:
        Reject: this is no DICOM file, or one that is cut off.
        Permanent: there is no such file.
        Transient: the file cannot be read now.
    """
    wanted = frozenset((_CHARACTER_SET, _SOP_CLASS_UID, *tags))
    try:
        return _scan(path, wanted) or _by_pydicom(path, wanted)
    except FileNotFoundError:
        raise Permanent("an instance's file is gone; have the source send it again") from None
    except OSError as error:
        if error.errno is None:  # pydicom's own, for a data set that breaks off
            raise Reject(Status.CANNOT_UNDERSTAND, REASONS[Status.CANNOT_UNDERSTAND]) from None
        raise Transient(f"an instance's file cannot be read ({type(error).__name__})") from None


def series_instance_uid(path: Path) -> str:
    """The Series Instance UID of a file.

    Raises:
        Reject: this is no DICOM file, or one of no series.
        Permanent, Transient: as `read_header`.
    """
    from fiona_dagster.domain.attribute_values import element_value, silent_reading, text_of

    with silent_reading():
        uid = text_of(element_value(read_header(path, (_SERIES_INSTANCE_UID,)), _SERIES_INSTANCE_UID))
    if not uid:
        raise Reject(Status.CANNOT_UNDERSTAND_NO_SERIES_UID, REASONS[Status.CANNOT_UNDERSTAND_NO_SERIES_UID])
    return uid


def read_series(paths: Iterable[Path], tags: Collection[int]) -> Iterator[Image]:
    """The headers of a series one after the other, so that thousands of images never stand in memory together.

    Raises:
        Reject, Permanent, Transient: as `read_header`.
    """
    for path in paths:
        yield read_header(path, tags)


def _scan(path: Path, tags: frozenset[int]) -> Header | None:
    """The header by our own walk; None where the file is not of the usual make, which pydicom may still read."""
    from mmap import ACCESS_READ, mmap

    descriptor = os.open(path, os.O_RDONLY)
    try:
        beginning = os.read(descriptor, _BEGINNING)
        whole = len(beginning) < _BEGINNING
        try:
            return _header(beginning, tags, whole=whole)
        except (ValueError, struct.error):
            if whole:
                return None
        try:
            with mmap(descriptor, 0, access=ACCESS_READ) as data:
                return _header(data, tags, whole=True)
        except (ValueError, struct.error):
            return None
    finally:
        os.close(descriptor)


def _header(data: Buffer, tags: frozenset[int], *, whole: bool) -> Header | None:
    from fiona_dagster.domain.header import Header, find

    if data[128:132] != b"DICM":
        return None
    meta = find(data, 132, _META, implicit=False, whole=whole)
    syntax = meta[_TRANSFER_SYNTAX_UID][1].rstrip(b"\0 ") if _TRANSFER_SYNTAX_UID in meta else b""
    if not syntax or syntax in _FOR_PYDICOM:
        return None
    implicit = syntax == _IMPLICIT_LITTLE
    found = find(data, _end_of_meta(data), tags, implicit=implicit, whole=whole)
    return (
        Header(found, implicit=implicit)
        if _SOP_CLASS_UID in found or _MEDIA_STORAGE_SOP_CLASS_UID in meta
        else None
    )


def _end_of_meta(data: Buffer) -> int:
    """Where the data set begins: behind the length that the group says itself (PS3.10 table 7.1-1)."""
    group, element, vr, width, length = struct.unpack_from("<HH2sHL", data, 132)
    if (group, element, vr, width) != (2, 0, b"UL", 4):
        raise ValueError("no length of the file meta information")
    return int(144 + length)


def _by_pydicom(path: Path, tags: frozenset[int]) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from fiona_dagster.domain.attribute_values import UNREADABLE, silent_reading

    try:
        with silent_reading():
            ds = dcmread(
                path,
                force=True,
                stop_before_pixels=True,
                defer_size=DEFERRED_BYTES,
                specific_tags=sorted(tags),  # type: ignore[arg-type]  # numbers are tags as well
            )
            if _SOP_CLASS_UID in ds or _MEDIA_STORAGE_SOP_CLASS_UID in ds.file_meta:
                return ds
    except (InvalidDicomError, EOFError, zlib.error, *UNREADABLE) as error:
        raise Reject(Status.CANNOT_UNDERSTAND_NOT_DICOM, f"no DICOM file ({type(error).__name__})") from None
    raise Reject(Status.CANNOT_UNDERSTAND_NOT_DICOM, "no DICOM file: it names no SOP Class")
