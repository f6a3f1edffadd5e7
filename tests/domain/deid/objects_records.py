"""Families without pixels: reports, presentation states, waveforms, spectra, registrations, surfaces, measurements."""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset, FileDataset

from tests.domain.deid import objects_rt
from tests.domain.deid.objects import (
    DAY,
    MOMENT,
    TEXT,
    Build,
    code,
    evidence,
    item,
    reference,
    referenced_series,
    uid,
)
from tests.domain.deid.objects_images import (
    SEGMENTS,
    algorithm,
    content_identification,
    functional_groups,
    real_world_mapping,
    segment,
    specimen,
)
from tests.domain.deid.objects_reports import content, key_objects, report
from tests.domain.deid.planted import STUDY


def presentation_state(made: FileDataset) -> tuple[str, ...]:
    content_identification(made)
    made.PresentationCreationDate, made.PresentationCreationTime = DAY, "101112"
    made.ReferencedSeriesSequence = [item(SeriesInstanceUID=uid("2"), ReferencedImageSequence=[reference()])]
    made.GraphicLayerSequence = [
        item(GraphicLayer="LAYER1", GraphicLayerOrder="1", GraphicLayerRecommendedDisplayGrayscaleValue=65535)
    ]
    made.GraphicAnnotationSequence = [
        item(
            ReferencedImageSequence=[reference()],
            GraphicLayer="LAYER1",
            TextObjectSequence=[
                item(
                    UnformattedTextValue=TEXT,
                    AnchorPointAnnotationUnits="PIXEL",
                    AnchorPoint=[1.0, 2.0],
                    AnchorPointVisibility="N",
                )
            ],
            GraphicObjectSequence=[
                item(
                    GraphicAnnotationUnits="PIXEL",
                    GraphicDimensions=2,
                    NumberOfGraphicPoints=2,
                    GraphicData=[1.0, 2.0, 3.0, 4.0],
                    GraphicType="POLYLINE",
                    GraphicFilled="N",
                )
            ],
        )
    ]
    made.DisplayedAreaSelectionSequence = [
        item(
            DisplayedAreaTopLeftHandCorner=[1, 1],
            DisplayedAreaBottomRightHandCorner=[4, 4],
            PresentationSizeMode="SCALE TO FIT",
            PresentationPixelSpacing=["0.5", "0.5"],
        )
    ]
    made.SoftcopyVOILUTSequence = [
        item(WindowCenter="40", WindowWidth="400", WindowCenterWidthExplanation="SOFT")
    ]
    made.BlendingSequence = [item(BlendingPosition="SUPERIMPOSED", StudyInstanceUID=STUDY)]
    made.RedPaletteColorLookupTableData, made.ICCProfile = bytes(range(8)), bytes(128)
    made.PresentationLUTShape = "IDENTITY"
    return ("GraphicData", "GraphicType", "WindowCenter", "WindowWidth", "PresentationPixelSpacing", "AnchorPoint",
            "DisplayedAreaBottomRightHandCorner", "PresentationLUTShape", "RedPaletteColorLookupTableData",
            "GraphicLayer", "BlendingPosition", "ICCProfile")  # fmt: skip


def waveform(made: FileDataset) -> tuple[str, ...]:
    made.WaveformSequence = [
        item(
            MultiplexGroupTimeOffset="0",
            MultiplexGroupLabel=TEXT,
            MultiplexGroupUID=uid("48"),
            WaveformOriginality="ORIGINAL",
            NumberOfWaveformChannels=2,
            NumberOfWaveformSamples=4,
            SamplingFrequency="500",
            ChannelDefinitionSequence=[channel("2:1", "Lead I"), channel("2:2", "Lead II")],
            WaveformBitsAllocated=16,
            WaveformSampleInterpretation="SS",
            WaveformPaddingValue=b"\x00\x80",
            WaveformData=struct.pack("<8h", 1, -2, 3, -4, 5, -6, 7, -8),
        )
    ]
    made.WaveformSequence[0]["WaveformData"].VR = made.WaveformSequence[0]["WaveformPaddingValue"].VR = "OW"
    made.WaveformAnnotationSequence = [
        item(UnformattedTextValue=TEXT, AnnotationGroupNumber=1, ReferencedWaveformChannels=[1, 0]),
        item(
            ConceptNameCodeSequence=[code("2:15872", "Heart Rate", "MDC")],
            NumericValue="72",
            MeasurementUnitsCodeSequence=[code("{H.B.}/min", "per minute", "UCUM")],
            ReferencedWaveformChannels=[1, 0],
            TemporalRangeType="POINT",
            ReferencedDateTime=MOMENT,
            AnnotationGroupNumber=2,
        ),
    ]
    made.AcquisitionContextSequence = [content("TEXT", TextValue=TEXT)]
    del made.AcquisitionContextSequence[0].RelationshipType
    made.ReferencedInstanceSequence = [reference()]
    return ("WaveformData", "WaveformPaddingValue", "SamplingFrequency", "ChannelSensitivity", "ChannelMinimumValue",
            "NumberOfWaveformSamples", "WaveformSampleInterpretation", "FilterLowFrequency")  # fmt: skip


def channel(lead: str, meaning: str) -> Dataset:
    made = item(
        ChannelLabel=TEXT,
        ChannelSourceSequence=[code(lead, meaning, "MDC")],
        ChannelSensitivity="5",
        ChannelSensitivityUnitsSequence=[code("uV", "microvolt", "UCUM")],
        ChannelSensitivityCorrectionFactor="1",
        ChannelBaseline="0",
        ChannelSampleSkew="0",
        WaveformBitsStored=16,
        FilterLowFrequency="0.05",
        ChannelMinimumValue=b"\x00\x80",
        ChannelDerivationDescription=TEXT,
    )
    made["ChannelMinimumValue"].VR = "OW"
    return made


def spectroscopy(made: FileDataset) -> tuple[str, ...]:
    made.ImageType, made.NumberOfFrames, made.Rows, made.Columns = (
        ["ORIGINAL", "PRIMARY", "SPECTROSCOPY", "NONE"],
        2,
        1,
        1,
    )
    made.DataPointRows, made.DataPointColumns, made.DataRepresentation = 1, 4, "COMPLEX"
    made.SignalDomainColumns, made.ResonantNucleus, made.SpectralWidth = "TIME", "1H", 2000.0
    made.TransmitterFrequency, made.ChemicalShiftReference = 63.8, 4.7
    made.VolumeLocalizationSequence = [
        item(SlabThickness=20.0, SlabOrientation=[0.0, 0.0, 1.0], MidSlabPosition=[0.0, 0.0, 0.0])
    ]
    made.MetaboliteMapDescription = "NAA"
    made.SpectroscopyData = struct.pack("<16f", *range(16))
    made.SpectroscopyAcquisitionDataColumns = 4
    return (*functional_groups(made, 2), "SpectroscopyData", "SpectralWidth", "TransmitterFrequency", "SlabThickness",
            "SlabOrientation", "DataPointColumns", "ResonantNucleus", "ChemicalShiftReference")  # fmt: skip


def registration(made: FileDataset) -> tuple[str, ...]:
    content_identification(made)
    matrix = item(
        FrameOfReferenceTransformationMatrix=[
            "1",
            "0",
            "0",
            "5",
            "0",
            "1",
            "0",
            "6",
            "0",
            "0",
            "1",
            "7",
            "0",
            "0",
            "0",
            "1",
        ],
        FrameOfReferenceTransformationMatrixType="RIGID",
    )
    made.RegistrationSequence = [
        item(
            FrameOfReferenceUID=uid("9"),
            ReferencedImageSequence=[reference()],
            MatrixRegistrationSequence=[
                item(
                    FrameOfReferenceTransformationComment=TEXT,
                    MatrixSequence=[matrix],
                    RegistrationTypeCodeSequence=[],
                )
            ],
        )
    ]
    made.DeformableRegistrationSequence = [
        item(
            SourceFrameOfReferenceUID=uid("9"),
            DeformableRegistrationGridSequence=[
                item(
                    ImagePositionPatient=["0", "0", "0"],
                    GridDimensions=[1, 1, 2],
                    GridResolution=[1.0, 1.0, 1.0],
                    VectorGridData=struct.pack("<6f", *range(6)),
                )
            ],
        )
    ]
    made.FiducialSetSequence = [
        item(
            ReferencedImageSequence=[reference()],
            FiducialSequence=[
                item(
                    FiducialIdentifier="F1",
                    FiducialUID=uid("49"),
                    FiducialDescription="carina",
                    ShapeType="POINT",
                    ContourData=["1.5", "2.5", "3.5"],
                )
            ],
        )
    ]
    made.ReferencedImageRealWorldValueMappingSequence = [
        item(ReferencedImageSequence=[reference()], RealWorldValueMappingSequence=[real_world_mapping()])
    ]
    made.StereoPairsSequence = [
        item(StereoBaselineAngle=5.0, LeftImageSequence=[reference()], RightImageSequence=[reference()])
    ]
    made.ReferencedSeriesSequence = referenced_series()
    return ("FrameOfReferenceTransformationMatrix", "FrameOfReferenceTransformationMatrixType", "VectorGridData",
            "GridDimensions", "GridResolution", "FiducialIdentifier", "ContourData", "RealWorldValueSlope",
            "StereoBaselineAngle", "ContentLabel")  # fmt: skip


def surface(made: FileDataset) -> tuple[str, ...]:
    content_identification(made)
    made.SegmentSequence, made.ReferencedSeriesSequence = [segment()], referenced_series()
    made.NumberOfSurfaces = made.NumberOfSurfacePoints = 1
    made.SurfaceSequence = [
        item(
            SurfaceNumber=1,
            SurfaceComments=TEXT,
            SurfaceProcessing="NO",
            RecommendedDisplayGrayscaleValue=1,
            RecommendedPresentationOpacity=1.0,
            FiniteVolume="YES",
            Manifold="YES",
            SurfacePointsSequence=[points()],
            SurfacePointsNormalsSequence=[
                item(NumberOfVectors=3, VectorDimensionality=3, VectorCoordinateData=bytes(36))
            ],
            SurfaceMeshPrimitivesSequence=[item(LongTrianglePointIndexList=struct.pack("<3I", 1, 2, 3))],
        )
    ]
    made.SurfacePointsSequence = [points()]
    made.ReferencedSurfaceDataSequence = [reference()]
    made.TrackSetSequence = [
        item(
            TrackSetNumber=1,
            TrackSetLabel="left arcuate",
            TrackSetDescription="fibres",
            TrackSetAnatomicalTypeCodeSequence=[code()],
            TrackSequence=[
                item(
                    PointCoordinatesData=struct.pack("<6f", *range(6)),
                    RecommendedDisplayCIELabValueList=struct.pack("<6H", *range(6)),
                )
            ],
            MeasurementsSequence=[
                item(
                    ConceptNameCodeSequence=[code("110808", "Fractional Anisotropy", "DCM")],
                    MeasurementValuesSequence=[item(FloatingPointValues=struct.pack("<2f", 0.5, 0.25))],
                )
            ],
            TrackingAlgorithmIdentificationSequence=[algorithm()],
        )
    ]
    return (*SEGMENTS, "PointCoordinatesData", "VectorCoordinateData", "LongTrianglePointIndexList", "NumberOfSurfaces",
            "TrackSetLabel", "RecommendedDisplayCIELabValueList", "FloatingPointValues", "CodeValue")  # fmt: skip


def points() -> Dataset:
    return item(
        NumberOfSurfacePoints=3,
        PointCoordinatesData=struct.pack("<9f", *range(9)),
        PointPositionAccuracy=[0.1, 0.1, 0.1],
    )


def measurements(made: FileDataset) -> tuple[str, ...]:
    made.MeasurementLaterality, made.TextComments = "R", TEXT
    eye = item(SphericalLensPower=-1.25, CylinderSequence=[item(CylinderLensPower=0.5, CylinderAxis=90.0)])
    made.RightLensSequence = made.AutorefractionRightEyeSequence = [eye]
    made.KeratometryRightEyeSequence = [
        item(SteepKeratometricAxisSequence=[item(RadiusOfCurvature=7.8, KeratometricPower=43.0)])
    ]
    made.VisualAcuityRightEyeSequence = [item(DecimalVisualAcuity=0.8, ViewingDistance=6.0)]
    made.OphthalmicAxialMeasurementsRightEyeSequence = [
        item(OphthalmicAxialLengthMeasurementsSequence=[item(OphthalmicAxialLength=23.5)])
    ]
    made.IntraocularLensCalculationsRightEyeSequence = [item(TargetRefraction=-0.5, IOLManufacturer="Maker")]
    made.VisualFieldTestPointSequence = [item(VisualFieldTestPointXCoordinate=3.0, SensitivityValue=30.0)]
    made.VisualFieldTestDuration, made.CommentsOnPatientPerformanceOfVisualField = 300.0, TEXT
    made.ReferencedRefractiveMeasurementsSequence = [reference()]
    return ("SphericalLensPower", "CylinderLensPower", "CylinderAxis", "RadiusOfCurvature", "KeratometricPower",
            "DecimalVisualAcuity", "OphthalmicAxialLength", "TargetRefraction", "VisualFieldTestPointXCoordinate",
            "SensitivityValue", "VisualFieldTestDuration", "MeasurementLaterality")  # fmt: skip


def annotations(made: FileDataset) -> tuple[str, ...]:
    content_identification(made)
    made.ReferencedImageSequence, made.ReferencedSeriesSequence = [reference()], referenced_series()
    made.SpecimenDescriptionSequence, made.AnnotationCoordinateType = [specimen()], "2D"
    made.AnnotationGroupSequence = [
        item(
            AnnotationGroupNumber=1,
            AnnotationGroupUID=uid("50"),
            AnnotationGroupLabel=TEXT,
            AnnotationGroupDescription=TEXT,
            AnnotationGroupGenerationType="AUTOMATIC",
            AnnotationPropertyTypeCodeSequence=[code()],
            NumberOfAnnotations=2,
            GraphicType="POINT",
            PointCoordinatesData=struct.pack("<4f", *range(4)),
            MeasurementsSequence=[
                item(
                    ConceptNameCodeSequence=[code("G-D7FE", "Length")],
                    MeasurementValuesSequence=[item(FloatingPointValues=struct.pack("<2f", 1.5, 2.5))],
                )
            ],
        )
    ]
    return ("PointCoordinatesData", "FloatingPointValues", "NumberOfAnnotations", "GraphicType", "CodeValue",
            "AnnotationCoordinateType")  # fmt: skip


def raw_data(made: FileDataset) -> tuple[str, ...]:
    made.CreatorVersionUID = uid("51")
    made.ReferencedRawDataSequence = evidence()
    made.AcquisitionContextSequence, made.ContentLabel = [], "RAW"
    return ("ContentLabel",)


FAMILIES: dict[str, tuple[str, Build]] = {
    "4.2": ("MR", spectroscopy),
    "88.59": ("KO", key_objects),
    "91.1": ("ANN", annotations),
    **objects_rt.FAMILIES,
}
KINDS: dict[str, tuple[str, Build]] = {
    "structured_report": ("SR", report),
    "presentation_state": ("PR", presentation_state),
    "waveform": ("ECG", waveform),
    "derived": ("REG", registration),
    "surface": ("M3D", surface),
    "measurement": ("OAM", measurements),
    "raw_data": ("MR", raw_data),
    "radiotherapy": ("RTRECORD", objects_rt.treatment_record),
}
