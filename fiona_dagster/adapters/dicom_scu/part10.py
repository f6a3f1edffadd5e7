"""What sending needs to know of a DICOM file: its File Meta Information and where the data set begins (PS3.10 7.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import SOPInstanceUID, is_safe_uid_path

_LONG = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT"})
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
    values: dict[int, bytes] = {}
    try:
        with path.open("rb") as stream:
            if stream.read(132)[128:] != b"DICM":
                raise Permanent("not a DICOM file (no DICM prefix)")
            while True:
                offset = stream.tell()
                head = stream.read(8)
                if len(head) < 8:
                    break
                group, element, vr, length = _ELEMENT.unpack(head)
                if group != 0x0002:
                    break
                if vr in _LONG:
                    length = int.from_bytes(stream.read(4), "little")
                values[element] = stream.read(length)
            size = stream.seek(0, 2)
    except OSError as error:
        raise Permanent(f"the file cannot be read ({error.strerror})") from None
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
