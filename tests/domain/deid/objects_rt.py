"""The radiotherapy family: structures, plans, doses and records of treatment."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset, FileDataset

from tests.domain.deid.objects import DAY, NAME, TEXT, Build, code, item, reference, uid
from tests.domain.deid.planted import STUDY

PLAN, STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.481.3"


def structure_set(made: FileDataset) -> tuple[str, ...]:
    made.StructureSetLabel, made.StructureSetName, made.StructureSetDescription = "PLANTED", TEXT, TEXT
    made.StructureSetDate, made.StructureSetTime = DAY, "101112"
    series = item(SeriesInstanceUID=uid("2"), ContourImageSequence=[reference()])
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=STUDY,
        RTReferencedSeriesSequence=[series],
    )
    made.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID=uid("9"), RTReferencedStudySequence=[study])
    ]
    made.StructureSetROISequence = [
        item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=uid("9"),
            ROIName="Zwingenberger",
            ROIDescription=TEXT,
            ROIVolume="12.5",
            ROIGenerationAlgorithm="MANUAL",
            ROIGenerationDescription=TEXT,
        )
    ]
    made.ROIContourSequence = [
        item(
            ROIDisplayColor=["255", "0", "0"],
            ReferencedROINumber=1,
            ContourSequence=[
                item(
                    ContourImageSequence=[reference()],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=3,
                    ContourData=["1.5", "2", "3", "4.25", "5", "3", "6", "7.125", "3"],
                )
            ],
        )
    ]
    made.RTROIObservationsSequence = [
        item(
            ObservationNumber=1,
            ReferencedROINumber=1,
            ROIObservationLabel=TEXT,
            ROIObservationDescription=TEXT,
            RTROIInterpretedType="GTV",
            ROIInterpreter=NAME,
            ROIPhysicalPropertiesSequence=[
                item(ROIPhysicalProperty="REL_ELEC_DENSITY", ROIPhysicalPropertyValue="1.0")
            ],
            MaterialID="PLASTIC",
            RTROIIdentificationCodeSequence=[code("T-62000", "Liver")],
        )
    ]
    made.ApprovalStatus, made.ReviewerName, made.ReviewDate, made.ReviewTime = "APPROVED", NAME, DAY, "101112"
    return ("ContourData", "ContourGeometricType", "ROINumber", "ReferencedROINumber", "ROIDisplayColor", "ROIVolume",
            "RTROIInterpretedType", "ROIGenerationAlgorithm", "ROIPhysicalPropertyValue", "CodeMeaning",
            "NumberOfContourPoints", "ApprovalStatus")  # fmt: skip


def plan(made: FileDataset) -> tuple[str, ...]:
    made.RTPlanLabel, made.RTPlanName, made.RTPlanDescription = "PLANTED", TEXT, TEXT
    made.RTPlanDate, made.RTPlanTime, made.RTPlanGeometry = DAY, "101112", "PATIENT"
    made.TreatmentProtocols, made.PlanIntent, made.TreatmentSites = "CONFORMAL", "CURATIVE", TEXT
    made.PrescriptionDescription = TEXT
    made.DoseReferenceSequence = [
        item(
            DoseReferenceNumber=1,
            DoseReferenceUID=uid("52"),
            DoseReferenceStructureType="SITE",
            DoseReferenceDescription=TEXT,
            DoseReferenceType="TARGET",
            TargetPrescriptionDose="60",
        )
    ]
    made.FractionGroupSequence = [
        item(
            FractionGroupNumber=1,
            FractionGroupDescription=TEXT,
            NumberOfFractionsPlanned=30,
            NumberOfBeams=1,
            NumberOfBrachyApplicationSetups=0,
            ReferencedBeamSequence=[item(ReferencedBeamNumber=1, BeamMeterset="100", BeamDose="2")],
        )
    ]
    made.PatientSetupSequence = [
        item(PatientSetupNumber=1, PatientPosition="HFS", SetupTechniqueDescription=TEXT)
    ]
    made.BeamSequence = [beam()]
    made.IonBeamSequence = [beam()]
    made.ReferencedStructureSetSequence = [reference("2.5", STRUCTURES)]
    made.ApprovalStatus, made.ReviewerName, made.ReviewDate, made.ReviewTime = "APPROVED", NAME, DAY, "101112"
    return ("TargetPrescriptionDose", "NumberOfFractionsPlanned", "BeamMeterset", "BeamDose", "BeamName", "BeamNumber",
            "GantryAngle", "NominalBeamEnergy", "LeafJawPositions", "CumulativeMetersetWeight", "IsocenterPosition",
            "RadiationType", "PlanIntent", "DoseReferenceType")  # fmt: skip


def beam() -> Dataset:
    return item(
        BeamNumber=1,
        BeamName="1 AP",
        BeamDescription=TEXT,
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentMachineName="PLANTED-LINAC",
        InstitutionName="Waldklinik",
        InstitutionAddress="Quellgasse 1",
        DeviceSerialNumber="SERIAL-8812",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        NumberOfControlPoints=1,
        FinalCumulativeMetersetWeight="1",
        ControlPointSequence=[
            item(
                ControlPointIndex=0,
                NominalBeamEnergy="6",
                GantryAngle="90",
                IsocenterPosition=["0", "0", "0"],
                CumulativeMetersetWeight="0",
                BeamLimitingDevicePositionSequence=[
                    item(RTBeamLimitingDeviceType="ASYMX", LeafJawPositions=["-50", "50"])
                ],
            )
        ],
    )


def dose(made: FileDataset) -> tuple[str, ...]:
    made.SamplesPerPixel, made.PhotometricInterpretation, made.NumberOfFrames = 1, "MONOCHROME2", 2
    made.Rows = made.Columns = 2
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.FrameIncrementPointer = 15, 0, 0x3004000C
    made.PixelData = struct.pack("<8H", *range(8))
    made["PixelData"].VR = "OW"
    made.ImagePositionPatient, made.ImageOrientationPatient = ["0", "0", "0"], ["1", "0", "0", "0", "1", "0"]
    made.PixelSpacing, made.SliceThickness = ["2.5", "2.5"], "2.5"
    made.DoseUnits, made.DoseType, made.DoseSummationType, made.DoseComment = "GY", "PHYSICAL", "PLAN", TEXT
    made.GridFrameOffsetVector, made.DoseGridScaling = ["0", "2.5"], "0.001"
    made.TissueHeterogeneityCorrection = "IMAGE"
    made.ReferencedRTPlanSequence = [reference("2.6", PLAN)]
    made.ReferencedStructureSetSequence = [reference("2.5", STRUCTURES)]
    made.DVHSequence = [
        item(
            DVHReferencedROISequence=[item(DVHROIContributionType="INCLUDED", ReferencedROINumber=1)],
            DVHType="CUMULATIVE",
            DoseUnits="GY",
            DoseType="PHYSICAL",
            DVHDoseScaling="1",
            DVHVolumeUnits="CM3",
            DVHNumberOfBins=2,
            DVHData=["0.5", "10", "0.5", "5"],
        )
    ]
    return ("PixelData", "DoseGridScaling", "GridFrameOffsetVector", "DVHData", "DoseUnits", "DoseType",
            "DoseSummationType", "DVHNumberOfBins", "PixelSpacing", "ImagePositionPatient")  # fmt: skip


def treatment_record(made: FileDataset) -> tuple[str, ...]:
    made.TreatmentDate, made.TreatmentTime = DAY, "101112"
    made.FirstTreatmentDate = made.MostRecentTreatmentDate = DAY
    made.CurrentTreatmentStatus, made.TreatmentStatusComment = "ON_TREATMENT", TEXT
    made.ReferencedRTPlanSequence = [reference("2.6", PLAN)]
    made.TreatmentMachineSequence = [
        item(
            TreatmentMachineName="PLANTED-LINAC",
            Manufacturer="Maker",
            InstitutionName="Waldklinik",
            ManufacturerModelName="Model 5",
            DeviceSerialNumber="SERIAL-8812",
        )
    ]
    record = item(
        CurrentFractionNumber=3,
        TreatmentDeliveryType="TREATMENT",
        TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="VERIFIED",
        DeliveredPrimaryMeterset="100",
        SpecifiedPrimaryMeterset="100",
        ReferencedBeamNumber=1,
        BeamName="1 AP",
        BeamDescription=TEXT,
        OperatorsName=NAME,
        ControlPointDeliverySequence=[
            item(
                TreatmentControlPointDate=DAY,
                TreatmentControlPointTime="101112",
                SpecifiedMeterset="100",
                DeliveredMeterset="100",
                GantryAngle="90",
                OverrideSequence=[item(OperatorsName=NAME, OverrideReason=TEXT)],
            )
        ],
        MeasuredDoseReferenceSequence=[item(MeasuredDoseDescription=TEXT, MeasuredDoseValue="2")],
    )
    made.TreatmentSessionBeamSequence = made.TreatmentSessionIonBeamSequence = [record]
    made.TreatmentSessionApplicationSetupSequence = [
        item(
            ApplicationSetupType="VAGINAL", SafePositionExitDate=DAY, ReferencedBrachyApplicationSetupNumber=1
        )
    ]
    made.RecordedSourceSequence = [
        item(
            SourceNumber=1,
            SourceSerialNumber="SERIAL-8812",
            SourceIsotopeName="Ir-192",
            SourceManufacturer="PLANTED",
            ReferenceAirKermaRate="40000",
            SourceStrengthReferenceDate=DAY,
            SourceStrengthReferenceTime="101112",
        )
    ]
    made.FractionGroupSummarySequence = [
        item(
            FractionGroupType="EXTERNAL_BEAM",
            NumberOfFractionsDelivered=3,
            FractionStatusSummarySequence=[
                item(
                    TreatmentDate=DAY,
                    TreatmentTime="101112",
                    ReferencedFractionNumber=1,
                    TreatmentTerminationStatus="NORMAL",
                )
            ],
        )
    ]
    return ("CurrentFractionNumber", "DeliveredPrimaryMeterset", "GantryAngle", "DeliveredMeterset", "BeamName",
            "MeasuredDoseValue", "NumberOfFractionsDelivered", "SourceIsotopeName", "ReferenceAirKermaRate",
            "CurrentTreatmentStatus", "TreatmentTerminationStatus")  # fmt: skip


FAMILIES: dict[str, tuple[str, Build]] = {
    "481.2": ("RTDOSE", dose),
    "481.3": ("RTSTRUCT", structure_set),
    "481.5": ("RTPLAN", plan),
    "481.8": ("RTPLAN", plan),
}
