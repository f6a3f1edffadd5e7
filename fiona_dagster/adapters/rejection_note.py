"""The rejection note that asks an archive to hide instances: a Key Object Selection Document (IHE RAD TF-2 4.66)."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class RejectedInstance:
    """An instance that is to be hidden, as the archive holds it."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class NoteSubject:
    """Whose study the instances belong to, by the copy's own values."""

    study_instance_uid: str
    patient_id: str
    series_of: str
    """What makes the note's UIDs: the same retirement of the same instances has the same note."""


def rejection_note(
    subject: NoteSubject, instances: Sequence[RejectedInstance], title: tuple[str, str], *, at: float
) -> tuple[str, bytes]:
    """The note's SOP Instance UID and its file.

    Args:
        subject: the study.
        instances: at least one.
        title: code and meaning of the Document Title (PS3.16 CID 7011), scheme DCM.
        at: seconds since the epoch, for Content Date and Time.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    named = "/".join([subject.series_of, title[0], *sorted(one.sop_instance_uid for one in instances)])
    uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, named).int}"
    series = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, 'series/' + named).int}"
    note = Dataset()
    note.SOPClassUID, note.SOPInstanceUID = UID(KEY_OBJECT_SELECTION), UID(uid)
    note.PatientName = note.PatientID = subject.patient_id
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
                    "AccessionNumber", "Manufacturer"):  # fmt: skip
        setattr(note, keyword, "")
    note.SpecificCharacterSet = "ISO_IR 192"
    note.StudyInstanceUID, note.SeriesInstanceUID = subject.study_instance_uid, series
    note.Modality, note.SeriesNumber, note.InstanceNumber = "KO", 1, 1
    note.ReferencedPerformedProcedureStepSequence = []
    moment = time.gmtime(at)
    note.ContentDate, note.ContentTime = time.strftime("%Y%m%d", moment), time.strftime("%H%M%S", moment)
    note.TimezoneOffsetFromUTC = "+0000"
    note.CurrentRequestedProcedureEvidenceSequence = [_evidence(subject.study_instance_uid, instances)]
    note.ValueType, note.ContinuityOfContent = "CONTAINER", "SEPARATE"
    note.ConceptNameCodeSequence = [_code(*title)]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    note.ContentTemplateSequence = [template]
    note.ContentSequence = [_reference(one) for one in instances]
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = UID(_EXPLICIT_VR_LITTLE_ENDIAN)
    note.file_meta.MediaStorageSOPClassUID = note.SOPClassUID
    note.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    target = io.BytesIO()
    note.save_as(target, enforce_file_format=True)
    return uid, target.getvalue()


def _evidence(study_instance_uid: str, instances: Iterable[RejectedInstance]) -> Dataset:
    from pydicom.dataset import Dataset

    study = Dataset()
    by_series: dict[str, list[Dataset]] = {}
    for one in instances:
        by_series.setdefault(one.series_instance_uid, []).append(_sop(one))
    study.ReferencedSeriesSequence = []
    for uid, sops in by_series.items():
        series = Dataset()
        series.ReferencedSOPSequence, series.SeriesInstanceUID = sops, uid
        study.ReferencedSeriesSequence.append(series)
    study.StudyInstanceUID = study_instance_uid
    return study


def _reference(one: RejectedInstance) -> Dataset:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    name, item = UID(one.sop_class_uid).name, Dataset()
    kinds = [kind for kind in ("Image", "Waveform") if kind in name]
    item.RelationshipType = "CONTAINS"
    item.ValueType = kinds[0].upper() if kinds else "COMPOSITE"
    item.ReferencedSOPSequence = [_sop(one)]
    return item


def _sop(one: RejectedInstance) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
    return item


def _code(value: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
