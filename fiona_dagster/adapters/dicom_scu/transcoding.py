"""An instance in another Transfer Syntax, for a peer that refuses its own; nothing else about it changes.

Only the uncompressed little-endian syntaxes are made: every DICOM application entity must take Implicit VR Little
Endian (PS3.5 10.1). The SOP Instance UID stays: only lossy compression asks for a new one (PS3.3
C.7.6.1.1.5).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance, read_stored_instance
from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from pydicom import Dataset

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
UNCOMPRESSED = (EXPLICIT, IMPLICIT)
_BIG_ENDIAN = "1.2.840.10008.1.2.2"


def transcoded(instance: StoredInstance, transfer_syntax_uid: str, path: Path) -> StoredInstance:
    """Write `instance` in one of `UNCOMPRESSED` to `path`, and read it again.

    Raises:
        Permanent: it cannot be decoded, or what was written is not what was read; no message holds a value.
    """
    from pydicom import dcmread

    if instance.transfer_syntax_uid == _BIG_ENDIAN:
        raise Permanent("big-endian instances are not transcoded")
    try:
        original = dcmread(instance.path)
        if original.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in original:
            original.decompress(generate_instance_uid=False)
        _write(original, transfer_syntax_uid, path)
        written = dcmread(path)
        same = written.SOPInstanceUID == instance.sop_instance_uid and _same(original, written)
    except Exception as error:  # noqa: BLE001 — the reason is beside it
        # whatever pydicom or a decoder raises on an odd object, this instance stays behind and the others go on
        raise Permanent(f"it cannot be transcoded ({type(error).__name__})") from None
    copy = read_stored_instance(path)
    if not same or (copy.sop_class_uid, copy.sop_instance_uid) != (
        instance.sop_class_uid,
        instance.sop_instance_uid,
    ):
        raise Permanent("it cannot be transcoded: what was written is not what was read")
    return copy


def _write(data_set: Dataset, transfer_syntax_uid: str, path: Path) -> None:
    from pydicom.uid import UID

    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    data_set.save_as(
        path, implicit_vr=transfer_syntax_uid == IMPLICIT, little_endian=True, enforce_file_format=True
    )


def _same(original: Dataset, written: Dataset) -> bool:
    """Whether every element is there again with the same value; Implicit VR forgets the VR of private elements."""
    if original.keys() != written.keys():
        return False
    if bytes(original.get("PixelData", b"")) != bytes(written.get("PixelData", b"")):
        return False
    if written.file_meta.TransferSyntaxUID == IMPLICIT:
        return all(original.get(one) == written.get(one) for one in ("SOPInstanceUID", "StudyInstanceUID"))
    return bool(original == written)
