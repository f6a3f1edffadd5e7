"""Families with pixels: single images, enhanced multi-frame, maps, segmentations, slides, images of radiotherapy."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset, FileDataset

from tests.domain.deid.objects import (
    MOMENT,
    NAME,
    TEXT,
    Build,
    code,
    item,
    reference,
    referenced_series,
    uid,
)

GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
PIXELS = ("PixelData", "Rows", "Columns", "BitsStored", "PhotometricInterpretation")
ICC = b"\0\0\0\x80acsp" + bytes(120)


def pixels(made: FileDataset, *, bits: int = 16, frames: int = 0, colour: bool = False) -> tuple[str, ...]:
    made.SamplesPerPixel, made.Rows, made.Columns = 3 if colour else 1, 4, 4
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, 0
    if colour:
        made.PlanarConfiguration = 0
    if frames:
        made.NumberOfFrames = frames
    size = 16 * made.SamplesPerPixel * max(bits // 8, 1) * max(frames, 1) if bits > 1 else 2 * max(frames, 1)
    made.PixelData = bytes(number % 251 for number in range(size))
    made["PixelData"].VR = "OB" if bits <= 8 else "OW"
    made.BurnedInAnnotation = "NO"
    return (*PIXELS, "NumberOfFrames") if frames else PIXELS


def image(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made)
    made.ImageType, made.KVP, made.SliceThickness = ["ORIGINAL", "PRIMARY", "AXIAL"], "120", "2.5"
    made.ImagePositionPatient, made.ImageOrientationPatient = (
        ["-10.5", "0", "3.25"],
        ["1", "0", "0", "0", "1", "0"],
    )
    made.PixelSpacing, made.RescaleIntercept, made.RescaleSlope = ["0.5", "0.5"], "-1024", "1"
    made.EchoTime, made.RepetitionTime, made.ScanningSequence, made.SequenceVariant = (
        "4.5",
        "500",
        "SE",
        "NONE",
    )
    made.ConvolutionKernel, made.Units, made.ReconstructionMethod = "B30f", "BQML", "OSEM"
    made.DerivationDescription, made.AcquisitionDeviceProcessingDescription = TEXT, TEXT
    made.SourceImageSequence = [reference()]
    made.AnatomicRegionSequence = [code()]
    made.RadiopharmaceuticalInformationSequence = [
        item(
            Radiopharmaceutical="FDG", RadionuclideTotalDose="300000", RadiopharmaceuticalStartDateTime=MOMENT
        )
    ]
    made.SequenceOfUltrasoundRegions = [item(PhysicalDeltaX=0.02, RegionDataType=1)]
    made.IconImageSequence = [icon()]
    return (
        *kept, *GEOMETRY, "ImageType", "KVP", "RescaleIntercept", "RescaleSlope", "EchoTime", "RepetitionTime",
        "ScanningSequence", "ConvolutionKernel", "Units", "ReconstructionMethod", "CodeValue", "CodeMeaning",
        "Radiopharmaceutical", "RadionuclideTotalDose", "PhysicalDeltaX",
    )  # fmt: skip


def icon() -> Dataset:
    made = item(
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=1, Columns=8, BitsAllocated=8
    )
    made.BitsStored, made.HighBit, made.PixelRepresentation, made.PixelData = 8, 7, 0, b"PLANTED!"
    made["PixelData"].VR = "OB"
    return made


def photograph(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made, bits=8, colour=True)
    made.ImageType, made.LossyImageCompression = ["ORIGINAL", "PRIMARY"], "00"
    made.AcquisitionContextSequence = []
    made.ImageLaterality, made.PixelSpacing = "L", ["0.5", "0.5"]
    made.AnatomicRegionSequence, made.ICCProfile = [code()], ICC
    made.SpecimenDescriptionSequence = [specimen()]
    made.ContainerIdentifier, made.CameraOwnerName = "PLANTED-C", NAME
    return (*kept, "ImageLaterality", "PixelSpacing", "ICCProfile", "CodeValue", "CodeMeaning")


def specimen() -> Dataset:
    step = item(
        SpecimenPreparationStepContentItemSequence=[
            item(
                ValueType="TEXT",
                ConceptNameCodeSequence=[code("PLANTED", "Zwingenberger")],
                TextValue=TEXT,
            )
        ]
    )
    return item(
        SpecimenIdentifier="PLANTED-S",
        SpecimenUID=uid("44"),
        IssuerOfTheSpecimenIdentifierSequence=[],
        SpecimenShortDescription=TEXT,
        SpecimenDetailedDescription=TEXT,
        SpecimenPreparationSequence=[step],
    )


def functional_groups(made: FileDataset, frames: int) -> tuple[str, ...]:
    made.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=["0.5", "0.5"], SliceThickness="2.5")],
            PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
            FrameAnatomySequence=[item(FrameLaterality="U", AnatomicRegionSequence=[code()])],
            PixelValueTransformationSequence=[item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")],
            MRTimingAndRelatedParametersSequence=[item(RepetitionTime="500", FlipAngle="90")],
            RadiopharmaceuticalUsageSequence=[item(RadiopharmaceuticalAgentNumber=1)],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(
                    FrameAcquisitionDateTime=MOMENT,
                    FrameReferenceDateTime=MOMENT,
                    FrameAcquisitionNumber=number,
                    DimensionIndexValues=[1, number],
                    StackID="1",
                    InStackPositionNumber=number,
                    FrameComments=TEXT,
                )
            ],
            PlanePositionSequence=[item(ImagePositionPatient=["0", "0", str(number)])],
            MRDiffusionSequence=[
                item(
                    DiffusionBValue=1000.0,
                    DiffusionDirectionality="DIRECTIONAL",
                    DiffusionGradientDirectionSequence=[item(DiffusionGradientOrientation=[0.0, 0.6, 0.8])],
                )
            ],
            DerivationImageSequence=[
                item(
                    DerivationDescription=TEXT,
                    DerivationCodeSequence=[code("113076", "Segmentation", "DCM")],
                    SourceImageSequence=[
                        item(
                            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                            ReferencedSOPInstanceUID=uid("2.1"),
                            PurposeOfReferenceCodeSequence=[code("121322", "Source image", "DCM")],
                        )
                    ],
                )
            ],
            RealWorldValueMappingSequence=[real_world_mapping()],
        )
        for number in range(1, frames + 1)
    ]
    organization = uid("71")
    made.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    made.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=0x00209056,
            FunctionalGroupPointer=0x00209111,
            DimensionDescriptionLabel="Stack",
        )
    ]
    return (
        *GEOMETRY, "DimensionIndexValues", "StackID", "InStackPositionNumber", "DiffusionBValue",
        "DiffusionGradientOrientation", "RepetitionTime", "FlipAngle", "RescaleSlope", "RealWorldValueSlope",
        "RealWorldValueLUTData", "LUTLabel", "LUTExplanation", "CodeValue", "CodeMeaning", "DimensionIndexPointer",
        "DimensionDescriptionLabel",
    )  # fmt: skip


def real_world_mapping() -> Dataset:
    return item(
        LUTExplanation="Standardized uptake",
        LUTLabel="SUV",
        RealWorldValueFirstValueMapped=0,
        RealWorldValueLastValueMapped=1,
        RealWorldValueSlope=0.5,
        RealWorldValueIntercept=0.0,
        RealWorldValueLUTData=[0.25, 0.5],
        MeasurementUnitsCodeSequence=[code("{SUVbw}g/ml", "SUVbw", "UCUM")],
    )


def enhanced(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made, frames=2)
    made.ImageType, made.VolumetricProperties = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "VOLUME"
    made.ReferencedInstanceSequence, made.AcquisitionProtocolDescription = [reference()], TEXT
    made.PulseSequenceName, made.AcquisitionContextSequence = "se", []
    return (*kept, *functional_groups(made, 2), "ImageType", "PulseSequenceName")


def parametric_map(made: FileDataset) -> tuple[str, ...]:
    pixels(made, bits=32, frames=2)
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation, made.BurnedInAnnotation
    made.FloatPixelData = struct.pack("<32f", *range(32))
    content_identification(made)
    made.ReferencedSeriesSequence = referenced_series()
    return (*functional_groups(made, 2), "FloatPixelData", "Rows", "ContentLabel")


def content_identification(made: FileDataset) -> None:
    made.ContentLabel, made.ContentDescription, made.ContentCreatorName = "MAP", TEXT, NAME
    made.ContentCreatorIdentificationCodeSequence = [
        item(
            PersonIdentificationCodeSequence=[code("PLANTED", "Zwingenberger")], InstitutionName="Waldklinik"
        )
    ]
    made.AlternateContentDescriptionSequence = [item(ContentDescription=TEXT)]


def segmentation(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made, bits=8, frames=2)
    made.ImageType, made.SegmentationType = ["DERIVED", "PRIMARY"], "FRACTIONAL"
    made.SegmentationFractionalType, made.MaximumFractionalValue = "OCCUPANCY", 255
    content_identification(made)
    made.SegmentSequence = [segment()]
    made.ReferencedSeriesSequence = referenced_series()
    return (*kept, *functional_groups(made, 2), *SEGMENTS)


SEGMENTS = ("SegmentNumber", "SegmentLabel", "SegmentAlgorithmType", "SegmentAlgorithmName", "TrackingID",
            "RecommendedDisplayCIELabValue", "AlgorithmName", "AlgorithmVersion")  # fmt: skip


def segment() -> Dataset:
    return item(
        SegmentNumber=1,
        SegmentLabel="Liver",
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="net",
        SegmentedPropertyCategoryCodeSequence=[code("T-D0050", "Tissue")],
        SegmentedPropertyTypeCodeSequence=[code("T-62000", "Liver")],
        TrackingID="lesion 1",
        TrackingUID=uid("45"),
        RecommendedDisplayCIELabValue=[1, 2, 3],
        SegmentationAlgorithmIdentificationSequence=[algorithm()],
    )


def algorithm() -> Dataset:
    return item(
        AlgorithmFamilyCodeSequence=[code("123109", "Artificial Intelligence", "DCM")],
        AlgorithmName="net",
        AlgorithmVersion="2.1",
    )


def slide(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made, bits=8, frames=2, colour=True)
    made.ImageType, made.SpecimenLabelInImage = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "NO"
    made.ContainerIdentifier, made.SpecimenDescriptionSequence = "PLANTED-C", [specimen()]
    made.IssuerOfTheContainerIdentifierSequence = [item(LocalNamespaceEntityID="PLANTED")]
    made.ContainerTypeCodeSequence, made.LabelText, made.BarcodeValue = [code()], TEXT, "PLANTED-B"
    made.TotalPixelMatrixColumns = made.TotalPixelMatrixRows = 4
    made.ImagedVolumeWidth, made.FocusMethod, made.ExtendedDepthOfField = 2.0, "AUTO", "NO"
    made.OpticalPathSequence = [
        item(
            OpticalPathIdentifier="1",
            IlluminationColorCodeSequence=[code("R-102C0", "Full Spectrum")],
            IlluminationTypeCodeSequence=[code("111744", "Brightfield illumination", "DCM")],
            ICCProfile=ICC,
            ObjectiveLensPower="20",
        )
    ]
    made.TotalPixelMatrixOriginSequence = [
        item(XOffsetInSlideCoordinateSystem="1", YOffsetInSlideCoordinateSystem="2")
    ]
    made.PyramidUID, made.PyramidLabel = uid("46"), TEXT
    return (
        *kept, *functional_groups(made, 2), "TotalPixelMatrixColumns", "ImagedVolumeWidth", "OpticalPathIdentifier",
        "ICCProfile", "ObjectiveLensPower", "XOffsetInSlideCoordinateSystem",
    )  # fmt: skip


def ophthalmic_map(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made)
    made.ImageType, made.ImageLaterality = ["DERIVED", "PRIMARY"], "R"
    made.OphthalmicThicknessMapTypeCodeSequence = [code("111800", "thickness", "DCM")]
    made.RealWorldValueMappingSequence, made.ReferencedInstanceSequence = (
        [real_world_mapping()],
        [reference()],
    )
    made.PupilDilated, made.MydriaticAgentSequence = "NO", []
    made.VertexDistance = 12.0
    return (*kept, "ImageLaterality", "RealWorldValueSlope", "CodeValue", "VertexDistance")


def rt_image(made: FileDataset) -> tuple[str, ...]:
    kept = pixels(made)
    made.ImageType, made.RTImageLabel, made.RTImageName = ["DERIVED", "SECONDARY", "DRR"], "DRR", "AP"
    made.RTImageDescription, made.ConversionType, made.ReportedValuesOrigin = TEXT, "WSD", "OPERATOR"
    made.RTImagePlane, made.ImagePlanePixelSpacing, made.RTImagePosition = "NORMAL", ["1", "1"], ["0", "0"]
    made.RadiationMachineName, made.RadiationMachineSAD, made.RTImageSID = "PLANTED-LINAC", "1000", "1500"
    made.ReferencedRTPlanSequence = [reference(sop_class="1.2.840.10008.5.1.4.1.1.481.5")]
    made.ExposureSequence = [item(KVP="120", ExposureTime="100", DiaphragmPosition=["0", "0", "1", "1"])]
    return (*kept, "RTImageLabel", "ImagePlanePixelSpacing", "RadiationMachineSAD", "RTImageSID", "KVP")


ENHANCED = (
    "2.1", "2.2", "4.1", "4.3", "4.4", "6.2", "6.3", "12.1.1", "12.2.1", "13.1.1", "13.1.2", "13.1.3", "13.1.4",
    "13.1.5", "14.1", "14.2", "77.1.5.4", "77.1.5.7", "77.1.5.8", "77.1.8", "77.1.9", "128.1", "130",
)  # fmt: skip
"""Ends of SOP Class UIDs whose frames have functional groups."""
_MODALITIES = {"2": "CT", "4": "MR", "6": "US", "1": "XA", "7": "OPT"}
FAMILIES: dict[str, tuple[str, Build]] = {
    **{end: (_MODALITIES[end[0]], enhanced) for end in ENHANCED},
    "30": ("OT", parametric_map),
    "66.4": ("SEG", segmentation),
    "66.7": ("SEG", segmentation),
    "481.1": ("RTIMAGE", rt_image),
    "81.1": ("OPM", ophthalmic_map),
    "82.1": ("OPM", ophthalmic_map),
}
KINDS: dict[str, tuple[str, Build]] = {
    "image": ("CT", image),
    "secondary_capture": ("OT", image),
    "photograph": ("XC", photograph),
    "slide": ("SM", slide),
}
