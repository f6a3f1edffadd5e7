"""Instances with planted identifiers, and the answer key: what must be gone from the copy's bytes, what must stay."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from fiona_dagster.domain.deid.engine import Deidentifier
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.project import Project

KEY = b"k" * 32
STUDY, SERIES = "1.2.826.0.1.3680043.99.1", "1.2.826.0.1.3680043.99.1.2"
PLANTED_TEXT = "Zwingenberger"
GONE = (
    "Zwingenberger", "Ottokar", "77112233", "ACC4711777", "Quellgasse", "5550199", "19610203", "20191224",
    "Dr Eisenbarth", "Eisenbarth", "Waldklinik", "SCANNER-Q9", "SERIAL-8812", "1.2.826.0.1.3680043.99",
    "Kinderwunsch", "PLANTED", "192.168.7.9", "secret@",
)  # fmt: skip
"""No copy of `ct_instance` may have one of these in its bytes, in any case of letters."""


def request(folder: Path = Path("unused"), **policy: object) -> ReleaseRequest:
    return ReleaseRequest(Project(name="STUDY_A", **policy), "P-001", "baseline", folder)  # type: ignore[arg-type]


def engine(profile: Profile | None = None, **policy: object) -> Deidentifier:
    return Deidentifier(profile or Profile(), request(Path("unused"), **policy), KEY)


def ct_instance(number: int = 1, *, study: str = STUDY) -> FileDataset:
    """A small CT image, with an identifier wherever one can stand."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"{study}.2.{number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = "SCANNER-Q9"
    meta.PrivateInformationCreatorUID = UID("1.2.826.0.1.3680043.99.77")
    meta.PrivateInformation = b"PLANTED meta"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"PLANTED preamble".ljust(128, b"\0"))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.2"
    dataset.FrameOfReferenceUID = f"{study}.9"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Model 5"
    dataset.PatientName, dataset.PatientID = "Zwingenberger^Ottokar^^Dr", "77112233"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19610203", "M", "058Y"
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = "Quellgasse 5", "0043 5550199"
    dataset.OtherPatientNames = ["Zwingenberger^Otto", "Ottokar^Z"]
    dataset.AccessionNumber, dataset.StudyID = "ACC4711777", "PLANTED1"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20191224"
    dataset.StudyTime, dataset.AcquisitionDateTime = "101112.5", "20191224101112.5+0100"
    dataset.ReferringPhysicianName, dataset.OperatorsName = "Dr Eisenbarth", "Eisenbarth^J"
    dataset.InstitutionName, dataset.InstitutionAddress = "Waldklinik", "Quellgasse 1\r\nHintertupfing"
    dataset.StationName, dataset.DeviceSerialNumber = "SCANNER-Q9", "SERIAL-8812"
    dataset.StudyDescription, dataset.ProtocolName = "CT of Zwingenberger", "Kinderwunsch"
    dataset.PatientComments, dataset.ImageComments = "Kinderwunsch", "PLANTED"
    dataset.RetrieveURL = "http://192.168.7.9/77112233"
    dataset.InstanceCreatorUID = f"{study}.55"
    dataset.KVP, dataset.SliceThickness, dataset.InstanceNumber = "120", "2.5", str(number)
    dataset.ImagePositionPatient = ["-10.5", "0", "3.25"]
    dataset.ConvolutionKernel, dataset.BodyPartExamined = "B30f", "HEAD"
    dataset.ReasonForTheRequestedProcedure = "Kinderwunsch"
    _plant_private(dataset)
    dataset.ContributingEquipmentSequence = [_nested(8, f"{study}.66")]
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, f"{study}.2.1"
    dataset.SourceImageSequence = [reference]
    dataset.add_new(0x60000010, "US", 4)  # overlay plane: rows
    dataset.add_new(0x60003000, "OW", b"PLANTED overlay!")
    dataset.add_new(0x50002500, "LO", "PLANTED curve")
    dataset.Rows = dataset.Columns = 4
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = bytes(range(32))
    dataset.add_new(0xFFFCFFFC, "OB", b"PLANTED padding!")
    return dataset


def _plant_private(dataset: Dataset) -> None:
    block = dataset.private_block(0x0009, "PLANTED CREATOR", create=True)
    block.add_new(0x01, "LO", "Zwingenberger")
    block.add_new(0x02, "PN", "Zwingenberger^Ottokar")
    item = Dataset()
    item.PatientName = "Zwingenberger^Ottokar"
    block.add_new(0x03, "SQ", [item])
    dataset.add_new(0x00111001, "LO", "PLANTED without a creator")
    plant_unknown(dataset, 0x00131010, b"Zwingenberger ")
    plant_unknown(dataset, 0x00081048, b"Dr Eisenbarth ")  # PhysiciansOfRecord
    dataset.add_new(0x0008FFFE, "LO", "PLANTED: the standard does not know this tag")


def plant_unknown(dataset: Dataset, tag: int, value: bytes) -> None:
    """An element of VR UN, as it stands in a file."""
    dataset[tag] = RawDataElement(Tag(tag), "UN", len(value), value, 0, False, True)  # noqa: FBT003


def _nested(depth: int, uid: str) -> Dataset:
    """Sequences in each other, every level with a name, an ID, a date, a UID, text and a private element."""
    item = Dataset()
    item.Manufacturer = "Maker"
    item.PatientName, item.OperatorsName, item.InstitutionName = "Zwingenberger", "Eisenbarth", "Waldklinik"
    item.PatientID, item.ContributionDateTime, item.DeviceUID = "77112233", "20191224", f"{uid}.{depth}"
    item.ContributionDescription = "PLANTED"
    item.add_new(0x00111001, "LO", "PLANTED")
    if depth > 1:
        item.PurposeOfReferenceCodeSequence = Sequence([_nested(depth - 1, uid)])
    return item


def saved(dataset: FileDataset, path: Path) -> Path:
    """Write as it is: wrong values are the point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=False)
    return path
