"""What sending needs to know of a DICOM file: its File Meta Information and where the data set begins (PS3.10 7.1)."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import SOPInstanceUID, is_safe_uid_path

_LONG = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT"})
_HEAD = 1024
"""Bytes that hold the File Meta Information of nearly all files."""
_LONGEST = 1 << 20
_ELEMENT = struct.Struct("<HH2sH")
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID = 0x0002, 0x0003, 0x0010


@dataclass(frozen=True)
class StoredInstance:
    """A SOP Instance in a file. `offset` and `length`, in bytes, bound its encoded data set."""

    path: Path = field(repr=False)
    sop_class_uid: str
    sop_instance_uid: SOPInstanceUID = field(repr=False)
    transfer_syntax_uid: str
    offset: int
    length: int


def read_stored_instance(path: Path) -> StoredInstance:
    """The File Meta Information of `path`; the data set is not read.

    Raises:
        Permanent: not a DICOM file, unreadable, or without what a C-STORE needs; the message names no path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size
            head = os.pread(descriptor, _HEAD, 0)
            while len(head) < min(size, _LONGEST) and _data_set_offset(head, {}) is None:
                head = os.pread(descriptor, 16 * len(head), 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Permanent(f"the file cannot be read ({error.strerror})") from None
    if head[128:132] != b"DICM":
        raise Permanent("not a DICOM file (no DICM prefix)")
    values: dict[int, bytes] = {}
    found = _data_set_offset(head, values)
    offset = size if found is None else found
    sop_class, sop_instance, syntax = (
        values.get(element, b"").decode("ascii", "replace").rstrip("\0 ")
        for element in (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID)
    )
    for name, uid in (
        ("MediaStorageSOPClassUID", sop_class),
        ("MediaStorageSOPInstanceUID", sop_instance),
        ("TransferSyntaxUID", syntax),
    ):
        if not is_safe_uid_path(uid):
            raise Permanent(f"its File Meta Information has no usable {name}")
    if size <= offset:
        raise Permanent("the file has no data set")
    return StoredInstance(path, sop_class, SOPInstanceUID(sop_instance), syntax, offset, size - offset)


def _data_set_offset(head: bytes, values: dict[int, bytes]) -> int | None:
    """Where group 0002 ends, and its values by element; None where it does not end in `head`."""
    if head[128:132] != b"DICM":
        return 0
    position = 132
    while position + 8 <= len(head):
        group, element, vr, length = _ELEMENT.unpack_from(head, position)
        if group != 0x0002:
            return position
        position += 8
        if vr in _LONG:
            if position + 4 > len(head):
                return None
            length = int.from_bytes(head[position : position + 4], "little")
            position += 4
        values[element] = head[position : position + length]
        position += length
    return None
