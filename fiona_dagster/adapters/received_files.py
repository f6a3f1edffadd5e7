"""The files that we write of what we receive: File Meta Information, data set, its hash (PS3.10 section 7.1)."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from fiona_dagster.domain.data_set import scan
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    InstanceHeader,
)

FILE_MODE = 0o640

_PREAMBLE = b"\x00" * 128 + b"DICM"
_GROUP_LENGTH = struct.Struct("<HH2sHL")
_LONGEST_VALUE = 64


@dataclass(frozen=True)
class Part10File:
    """What the File Meta Information says, and where the data set begins (bytes from the start)."""

    offset: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    source_ae: str
    receiving_ae: str


def file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    source_ae: str,
    receiving_ae: str = "",
) -> bytes:
    """Preamble, prefix and File Meta Information of a file that we write (PS3.10 section 7.1).

    `receiving_ae`, the called AE title, carries routing intent: it must outlive a crash before the record.
    """
    before, behind = _around_instance(sop_class_uid, transfer_syntax_uid, source_ae, receiving_ae)
    elements = before + _meta_text(0x0003, b"UI", sop_instance_uid) + behind
    return _PREAMBLE + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(elements)) + elements


@lru_cache(maxsize=64)
def _around_instance(
    sop_class_uid: str, transfer_syntax_uid: str, source_ae: str, receiving_ae: str
) -> tuple[bytes, bytes]:
    """What stands before and behind the SOP Instance UID: the same for every image of an Association."""
    before = _meta_element(0x0001, b"OB", b"\x00\x01") + _meta_text(0x0002, b"UI", sop_class_uid)
    behind = b"".join(
        _meta_text(element, vr, value)
        for element, vr, value in (
            (0x0010, b"UI", transfer_syntax_uid),
            (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            (0x0016, b"AE", source_ae),
            (0x0018, b"AE", receiving_ae),
        )
        if value or element != 0x0018
    )
    return before, behind


def read_file_meta(stream: BinaryIO) -> Part10File:
    """Read the File Meta Information from the start of `stream`, which then stands at the data set.

    Raises:
        Reject: CANNOT_UNDERSTAND_NOT_DICOM, it is no DICOM file.
    """
    head = stream.read(len(_PREAMBLE) + _GROUP_LENGTH.size)
    if len(head) != len(_PREAMBLE) + _GROUP_LENGTH.size or head[128:132] != b"DICM":
        raise _not_dicom()
    group, element, vr, _, length = _GROUP_LENGTH.unpack_from(head, len(_PREAMBLE))
    meta = stream.read(min(length, 65_536))
    if (group, element, vr) != (2, 0, b"UL") or len(meta) != length:
        raise _not_dicom()
    values: dict[int, str] = {}
    at = 0
    while at + 8 <= length:
        group, element, vr, size = struct.unpack_from("<HH2sH", meta, at)
        at += 8
        if vr in (b"OB", b"UN"):
            size = int.from_bytes(meta[at : at + 4], "little")
            at += 4
        values[element] = meta[at : at + size].decode("ascii", "replace").strip("\0 ")
        at += size
    return Part10File(
        len(head) + length,
        *(values.get(element, "") for element in (0x0010, 0x0002, 0x0003, 0x0016, 0x0018)),
    )


def read_instance(path: Path) -> tuple[Part10File, InstanceHeader]:
    """What reception needs of a DICOM file; its data set is walked to the end (see `domain.data_set`).

    Raises:
        Reject: it is no DICOM file, or broken.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        found = read_file_meta(stream)
        size = os.fstat(stream.fileno()).st_size - found.offset
        return found, scan(stream, size, found.transfer_syntax_uid)


def sha256_of_data_set(path: Path) -> str:
    """Hash of a DICOM file's data set, without preamble and File Meta Information, in hexadecimal digits.

    Raises:
        Reject: it is no DICOM file.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        read_file_meta(stream)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _meta_text(element: int, vr: bytes, value: str) -> bytes:
    return _meta_element(element, vr, value.encode("ascii", "replace")[:_LONGEST_VALUE])


def _meta_element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return struct.pack("<HH2sHL", 2, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _not_dicom() -> Reject:
    status = Status.CANNOT_UNDERSTAND_NOT_DICOM
    return Reject(status, REASONS[status])
