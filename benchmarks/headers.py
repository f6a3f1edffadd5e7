"""Headers as scanners write them: 120 to 200 elements with sequences and private blocks, different in each image.

`generate.PLANTED` says what identifies the patient in them.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from benchmarks.generate import ROOT, csa_header

_NAME, _PHYSICIAN = "Solheimsvik^Øystein^Bo", "Tverrgjerde^Anne"

_STUDY: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 100", "InstanceCreationDate": "20230314", "StudyDate": "20230314",
    "SeriesDate": "20230314", "AcquisitionDate": "20230314", "ContentDate": "20230314",
    "StudyTime": "094102.311000", "SeriesTime": "094512.119000", "AccessionNumber": "ACC7730519",
    "InstitutionName": "Fjellheim sykehus", "InstitutionAddress": "Fjellheim vei 12\r\n5000 Bergen",
    "InstitutionalDepartmentName": "Radiologi Fjellheim", "ReferringPhysicianName": _PHYSICIAN,
    "StationName": "STN0417", "StudyDescription": "Thorax, kontroll for Kvernmoen", "TimezoneOffsetFromUTC": "+0100",
    "PhysiciansOfRecord": _PHYSICIAN, "PerformingPhysicianName": _PHYSICIAN, "OperatorsName": _PHYSICIAN,
    "NameOfPhysiciansReadingStudy": _PHYSICIAN, "AdmittingDiagnosesDescription": "Kontroll, Kvernmoen",
    "PatientName": _NAME, "PatientID": "77480213", "IssuerOfPatientID": "Fjellheim",
    "PatientBirthDate": "19530817", "PatientSex": "F", "OtherPatientNames": _NAME, "PatientAge": "069Y",
    "PatientSize": "1.68", "PatientWeight": "71", "PatientAddress": "Kirkebakken 4", "EthnicGroup": "N",
    "PatientTelephoneNumbers": "+47 55 50 01 99", "Occupation": "Lærer", "SmokingStatus": "NO",
    "AdditionalPatientHistory": "Kontroll etter Kvernmoen", "PregnancyStatus": 4, "PatientComments": "Tolk",
    "BodyPartExamined": "CHEST", "DeviceSerialNumber": "SN557120QX", "SoftwareVersions": ["syngo 5.1", "VB20A"],
    "ProtocolName": "Thorax_std", "PatientPosition": "HFS", "StudyID": "77480213.1", "SeriesNumber": "4",
    "StudyInstanceUID": f"{ROOT}.1", "SeriesInstanceUID": f"{ROOT}.1.4", "FrameOfReferenceUID": f"{ROOT}.1.9",
    "PositionReferenceIndicator": "SN", "ImageComments": "Tatt av Tverrgjerde", "MedicalAlerts": "Ingen",
    "RequestingPhysician": _PHYSICIAN, "RequestingService": "Fjellheim poliklinikk", "PatientState": "rolig",
    "RequestedProcedureDescription": "CT thorax", "RequestedProcedureID": "RP7730519",
    "ScheduledStudyStartDate": "20230314", "CurrentPatientLocation": "Fjellheim post 3", "Allergies": "Ingen",
    "PerformedProcedureStepStartDate": "20230314", "PerformedProcedureStepStartTime": "094102.311000",
    "PerformedProcedureStepID": "PPS4711", "PerformedProcedureStepDescription": "Thorax", "ContrastBolusAgent": "Iom",
    "PerformedStationAETitle": "STN0417", "SynchronizationFrameOfReferenceUID": f"{ROOT}.1.10",
    "LastMenstrualDate": "20230301", "ConfidentialityConstraintOnPatientDataDescription": "Ingen",
}  # fmt: skip
_CT: dict[str, Any] = {
    "SOPClassUID": CTImageStorage, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], "Modality": "CT",
    "Manufacturer": "SIEMENS", "ManufacturerModelName": "Sensation 64", "SeriesDescription": "Thorax 1.0 B30f",
    "SliceThickness": "1", "KVP": "120", "DataCollectionDiameter": "500", "ReconstructionDiameter": "360",
    "DistanceSourceToDetector": "1040", "DistanceSourceToPatient": "570", "GantryDetectorTilt": "0",
    "RotationDirection": "CW", "ExposureTime": "500", "FilterType": "0", "GeneratorPower": "28",
    "FocalSpots": "1.2", "DateOfLastCalibration": "20230313", "TimeOfLastCalibration": "061203.000000",
    "ConvolutionKernel": "B30f", "SingleCollimationWidth": 0.6, "TotalCollimationWidth": 19.2, "TableSpeed": 46.0,
    "TableFeedPerRotation": 23.0, "SpiralPitchFactor": 1.2, "ExposureModulationType": "XYZ_EC",
    "EstimatedDoseSaving": 31.5, "CTDIvol": 6.93, "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 512, "Columns": 512,
    "PixelSpacing": ["0.703125", "0.703125"], "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
    "PixelRepresentation": 0, "SmallestImagePixelValue": 0, "BurnedInAnnotation": "NO", "RescaleType": "HU",
    "RescaleIntercept": "-1024", "RescaleSlope": "1", "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"],
}  # fmt: skip
_MR: dict[str, Any] = {
    "SOPClassUID": MRImageStorage, "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "Modality": "MR",
    "Manufacturer": "SIEMENS", "ManufacturerModelName": "Prisma", "SeriesDescription": "ep2d_bold rest",
    "ScanningSequence": "EP", "SequenceVariant": "SK", "ScanOptions": "FS", "MRAcquisitionType": "2D",
    "SequenceName": "epfid2d1_64", "AngioFlag": "N", "SliceThickness": "3", "RepetitionTime": "2000",
    "EchoTime": "30", "NumberOfAverages": "1", "ImagingFrequency": "123.255", "ImagedNucleus": "1H",
    "EchoNumbers": "1", "MagneticFieldStrength": "3", "SpacingBetweenSlices": "3.3", "EchoTrainLength": "47",
    "NumberOfPhaseEncodingSteps": "63", "PercentSampling": "100", "PercentPhaseFieldOfView": "100",
    "PixelBandwidth": "2232", "TransmitCoilName": "Body", "AcquisitionMatrix": [64, 0, 0, 64],
    "InPlanePhaseEncodingDirection": "COL", "FlipAngle": "77", "VariableFlipAngleFlag": "N",
    "ImageOrientationPatient": ["1", "0", "0", "0", "0.99", "-0.05"],
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 128, "Columns": 128,
    "PixelSpacing": ["1.8", "1.8"], "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
    "SmallestImagePixelValue": 0, "WindowCenterWidthExplanation": "Algo1", "SAR": "0.081", "dBdt": "0",
}  # fmt: skip


def ct_template() -> FileDataset:
    """What all CT images of the series share."""
    return _template(_STUDY | _CT, CTImageStorage, dose=True)


def mr_template() -> FileDataset:
    """What all MR images of the series share."""
    return _template(_STUDY | _MR, MRImageStorage, dose=False)


def ct_image(template: FileDataset, number: int, transfer_syntax: str) -> FileDataset:
    """CT image `number` of the series, without pixels."""
    image, random = _numbered(template, number, "CT", transfer_syntax)
    image.ImagePositionPatient = ["-180.0", "-172.5", f"{-350 + number * 0.7:.4f}"]
    image.SliceLocation, image.TableHeight = f"{-350 + number * 0.7:.4f}", f"{140 + random.random():.3f}"
    image.XRayTubeCurrent, image.Exposure = str(random.randrange(80, 320)), str(random.randrange(40, 160))
    image.WindowCenter = [str(random.randrange(30, 60)), "-600"]
    image.WindowWidth, image.LargestImagePixelValue = ["400", "1500"], random.randrange(2000, 4095)
    image.CTDIvol = round(random.uniform(4, 9), 6)
    block = image.private_block(0x0019, "SIEMENS CT VA0  COAD", create=True)
    block.add_new(0x10, "IS", [str(random.randrange(900)) for _ in range(2)])
    block.add_new(0x61, "DS", [f"{random.uniform(0, 9):.5f}" for _ in range(3)])
    block.add_new(0x91, "ST", f"raw {random.getrandbits(64):x}")
    block = image.private_block(0x0021, "SIEMENS MED", create=True)
    block.add_new(0x11, "DS", [f"{random.uniform(-9, 9):.4f}" for _ in range(2)])
    block.add_new(0x20, "LO", "Breidablikk^Eli")
    block.add_new(0x22, "DS", f"{random.uniform(0, 9):.4f}")
    block.add_new(0x30, "OB", random.randbytes(2048))
    return image


def mr_image(template: FileDataset, number: int) -> FileDataset:
    """MR image `number` of the series, without pixels; CSA headers of 14 kB, as Siemens' scanners write."""
    image, random = _numbered(template, number, "MR", ExplicitVRLittleEndian)
    slice_number = number % 36
    image.ImagePositionPatient = ["-115.2", f"{-110 + slice_number:.3f}", f"{-50 + slice_number * 3.3:.4f}"]
    image.SliceLocation, image.SAR = f"{-50 + slice_number * 3.3:.4f}", f"{random.uniform(0, 1):.8f}"
    image.WindowCenter, image.WindowWidth = str(random.randrange(300, 800)), str(random.randrange(700, 1800))
    image.LargestImagePixelValue, image.TemporalPositionIdentifier = (
        random.randrange(4095),
        str(number // 36 + 1),
    )
    block = image.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x0B, "DS", "36")
    block.add_new(0x29, "FD", [random.uniform(0, 2000) for _ in range(36)])
    block.add_new(0x11, "SH", f"No{random.randrange(99)}")
    block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", csa_header(random, 10240))
    block.add_new(0x18, "CS", "MR")
    block.add_new(0x19, "LO", "20230314")
    block.add_new(0x20, "OB", csa_header(random, 4096))
    block = image.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "LO", "FoV 230*230")
    block.add_new(0x0D, "SH", f"SP F{random.uniform(0, 90):.1f}")
    block.add_new(0x13, "SH", "+LPH")
    return image


def enhanced_ct(frames: int) -> FileDataset:
    """An enhanced CT of 512 x 512 with its functional groups, without pixels."""
    image, random = _numbered(ct_template(), 1, "EnhancedCT", ExplicitVRLittleEndian)
    for keyword in ("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleIntercept"):
        delattr(image, keyword)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    image.ImageType, image.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], str(frames)
    image.PixelPresentation, image.VolumetricProperties = "MONOCHROME", "VOLUME"
    image.AcquisitionDateTime, image.PresentationLUTShape = "20230314094512.119", "IDENTITY"
    image.private_block(0x0021, "SIEMENS MED", create=True).add_new(0x20, "LO", "Breidablikk^Eli")
    organisation = _item(DimensionOrganizationUID=f"{ROOT}.1.11")
    image.DimensionOrganizationSequence = [organisation]
    image.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=f"{ROOT}.1.11",
            DimensionIndexPointer=tag,
            FunctionalGroupPointer=0x00209111,
        )
        for tag in (0x00209056, 0x00209057)
    ]
    image.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[_item(SliceThickness="1", PixelSpacing=["0.703125", "0.703125"])],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
            PixelValueTransformationSequence=[
                _item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")
            ],
        )
    ]
    image.PerFrameFunctionalGroupsSequence = [_frame(number, random) for number in range(1, frames + 1)]
    return image


def _frame(number: int, random: Random) -> Dataset:
    seconds = f"20230314094512.{number % 1000:03d}"
    content = _item(
        FrameAcquisitionNumber=number, FrameReferenceDateTime=seconds, FrameAcquisitionDateTime=seconds,
        FrameAcquisitionDuration=500.0, StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number],
    )  # fmt: skip
    derived = _item(
        ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=f"{ROOT}.1.4.{number}",
        PurposeOfReferenceCodeSequence=[_code("121322", "DCM", "Source image for image processing operation")],
    )  # fmt: skip
    return _item(
        FrameContentSequence=[content],
        PlanePositionSequence=[_item(ImagePositionPatient=["-180", "-172.5", f"{-350 + number * 0.7:.4f}"])],
        CTExposureSequence=[
            _item(XRayTubeCurrentInmA=random.uniform(80, 320), ExposureInmAs=random.uniform(40, 160))
        ],
        FrameVOILUTSequence=[_item(WindowCenter=str(random.randrange(30, 60)), WindowWidth="400")],
        DerivationImageSequence=[
            _item(
                SourceImageSequence=[derived],
                DerivationCodeSequence=[_code("113040", "DCM", "Lossy Compression")],
            )
        ],
    )


def _template(values: dict[str, Any], sop_class: str, *, dose: bool) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.SourceApplicationEntityTitle = "STN0417"
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in values.items():
        if value is not None:
            setattr(image, keyword, value)
    image.ReferencedStudySequence = [_reference("1.2.840.10008.3.1.2.3.1", f"{ROOT}.1")]
    image.ReferencedPerformedProcedureStepSequence = [_reference("1.2.840.10008.3.1.2.3.3", f"{ROOT}.1.5")]
    image.ReferencedImageSequence = [_reference(sop_class, f"{ROOT}.1.3.{number}") for number in range(1, 4)]
    image.SourceImageSequence = [_reference(sop_class, f"{ROOT}.1.2.{number}") for number in range(1, 3)]
    image.ProcedureCodeSequence = [_code("CT009", "99LOCAL", "Thorax")]
    image.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    person = _item(
        PersonIdentificationCodeSequence=[_code("H1180", "99HPR", "Haugstulen")], PersonTelephoneNumbers="55500177",
        InstitutionName="Fjellheim sykehus", PersonAddress="Kirkebakken 9",
    )  # fmt: skip
    image.ReferringPhysicianIdentificationSequence = [person]
    image.OtherPatientIDsSequence = [
        _item(PatientID="77480213", IssuerOfPatientID="Fjellheim", TypeOfPatientID="TEXT")
    ]
    image.RequestAttributesSequence = [
        _item(
            RequestedProcedureID="RP7730519", ScheduledProcedureStepID="SPS1", AccessionNumber="ACC7730519",
            RequestedProcedureDescription="Kontroll for Kvernmoen", ScheduledProcedureStepDescription="Thorax",
            RequestedProcedureCodeSequence=[_code("CT009", "99LOCAL", "Thorax")],
            ScheduledProtocolCodeSequence=[_code("P17", "99LOCAL", "Thorax_std")],
        )
    ]  # fmt: skip
    image.ContributingEquipmentSequence = [
        _item(
            PurposeOfReferenceCodeSequence=[_code("109101", "DCM", "Acquisition Equipment")], Manufacturer="SIEMENS",
            InstitutionName="Fjellheim sykehus", StationName="STN0417", DeviceSerialNumber="SN557120QX",
            OperatorsName="Haugstulen^Kari", ContributionDateTime="20230314094102",
        )
    ]  # fmt: skip
    if dose:
        image.CTDIPhantomTypeCodeSequence = [_code("113691", "DCM", "IEC Body Dosimetry Phantom")]
    return image


def _numbered(
    template: FileDataset, number: int, kind: str, transfer_syntax: str
) -> tuple[FileDataset, Random]:
    random = Random(f"{kind}-{number}")
    image = copy.copy(template)
    image.file_meta = copy.copy(template.file_meta)
    uid = f"{ROOT}.1.4.{number}.{random.randrange(10**8)}"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    image.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    moment = f"{9 + number // 3600 % 10:02d}{number // 60 % 60:02d}{number % 60:02d}"
    image.InstanceNumber, image.AcquisitionNumber = str(number), str(number // 64 + 1)
    image.AcquisitionTime = f"{moment}.{random.randrange(10**6):06d}"
    image.ContentTime = image.InstanceCreationTime = f"{moment}.{random.randrange(10**6):06d}"
    image.IrradiationEventUID = f"{ROOT}.1.8.{number // 64}"
    return image, random


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _reference(sop_class: str, uid: str) -> Dataset:
    return _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
