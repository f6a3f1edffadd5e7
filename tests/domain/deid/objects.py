"""One instance of every family of object types, with identifiers planted wherever that family has room for them.

`planted(sop_class_uid)` gives the instance and the answer key: keywords whose values research needs and must still be
the same, wherever they stand. What must be gone are the words of `GONE`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from fiona_dagster.domain.deid.table import sop_classes
from tests.domain.deid.planted import GONE, STUDY

__all__ = ["GONE", "Planted", "code", "family", "item", "planted", "reference", "start"]
NAME, TEXT, DAY, MOMENT = (
    "Zwingenberger^Ottokar",
    "by Zwingenberger",
    "20191224",
    "20191224101112.5+0100",
)
CT = "1.2.840.10008.5.1.4.1.1.2"
SOP = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True)
class Planted:
    """An instance and the keywords whose values must be the same in its copy."""

    dataset: FileDataset
    research: tuple[str, ...]


Build = Callable[[FileDataset], tuple[str, ...]]
"""Adds what a family has to a new instance; returns the keywords that must stay."""


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def code(value: str = "T-D3000", meaning: str = "Chest", scheme: str = "SRT") -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def uid(end: str) -> str:
    return f"{STUDY}.{end}"


def reference(end: str = "2.1", sop_class: str = CT) -> Dataset:
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid(end))


def evidence() -> list[Dataset]:
    series = item(SeriesInstanceUID=uid("2"), ReferencedSOPSequence=[reference()])
    return [item(StudyInstanceUID=STUDY, ReferencedSeriesSequence=[series])]


def referenced_series() -> list[Dataset]:
    return [item(SeriesInstanceUID=uid("2"), ReferencedInstanceSequence=[reference()])]


def start(sop_class: str, modality: str) -> FileDataset:
    """Patient, study, series and equipment, full of identifiers."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid("3.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, uid("3.1")
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = STUDY, uid("3"), uid("9")
    made.Modality, made.Manufacturer, made.ManufacturerModelName = modality, "Maker", "Model 5"
    made.SoftwareVersions, made.DeviceSerialNumber, made.StationName = "5.1", "SERIAL-8812", "SCANNER-Q9"
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = (
        NAME,
        "77112233",
        "19610203",
        "M",
    )
    made.PatientAddress, made.OtherPatientNames = "Quellgasse 5", NAME
    made.StudyDate = made.SeriesDate = made.ContentDate = made.AcquisitionDate = DAY
    made.StudyTime = made.SeriesTime = made.ContentTime = made.AcquisitionTime = "101112"
    made.AcquisitionDateTime = MOMENT
    made.StudyID, made.SeriesNumber, made.InstanceNumber, made.AccessionNumber = (
        "PLANTED1",
        1,
        1,
        "ACC4711777",
    )
    made.ReferringPhysicianName, made.OperatorsName = "Eisenbarth^J", "Eisenbarth^J"
    made.InstitutionName, made.InstitutionAddress = "Waldklinik", "Quellgasse 1"
    made.StudyDescription, made.SeriesDescription, made.ProtocolName = TEXT, TEXT, "Kinderwunsch"
    made.PositionReferenceIndicator, made.BodyPartExamined, made.PatientPosition = "", "CHEST", "HFS"
    made.PatientComments, made.ImageComments = TEXT, TEXT
    made.RequestAttributesSequence = [
        item(
            RequestedProcedureID="PLANTED7",
            ScheduledProcedureStepID="PLANTED8",
            RequestedProcedureDescription=TEXT,
        )
    ]
    made.ContributingEquipmentSequence = [
        item(
            Manufacturer="Maker",
            OperatorsName=NAME,
            ContributionDateTime=MOMENT,
            PurposeOfReferenceCodeSequence=[code()],
        )
    ]
    block = made.private_block(0x0029, "PLANTED CREATOR", create=True)
    block.add_new(0x01, "LO", NAME)
    block.add_new(0x02, "OB", b"PLANTED in bytes")
    return made


def planted(sop_class: str) -> Planted:
    """The instance of a SOP Class, with its answer key."""
    modality, build = family(sop_class)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a keyword that is none is no attribute
        made = start(sop_class, modality)
        return Planted(made, ("SOPClassUID", "Modality", "Manufacturer", *build(made)))


def family(sop_class: str) -> tuple[str, Build]:
    """Modality and builder of an object type."""
    from tests.domain.deid import objects_documents, objects_images, objects_records

    for families in (objects_documents.FAMILIES, objects_records.FAMILIES, objects_images.FAMILIES):
        if sop_class.removeprefix(SOP) in families:
            return families[sop_class.removeprefix(SOP)]
    return {**objects_images.KINDS, **objects_records.KINDS}[sop_classes()[sop_class].kind]
