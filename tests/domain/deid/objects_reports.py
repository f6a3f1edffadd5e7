"""Structured reports and key objects, with text, names, dates and UIDs at every depth."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileDataset

from tests.domain.deid.objects import DAY, MOMENT, NAME, TEXT, code, evidence, item, reference, uid
from tests.domain.deid.planted import STUDY


def content(kind: str, relation: str = "CONTAINS", **values: object) -> Dataset:
    return item(RelationshipType=relation, ValueType=kind, ConceptNameCodeSequence=[code()], **values)


def report(made: FileDataset) -> tuple[str, ...]:
    made.CompletionFlag, made.VerificationFlag, made.PreliminaryFlag = "COMPLETE", "VERIFIED", "FINAL"
    made.CompletionFlagDescription = "all"
    made.VerifyingObserverSequence = [
        item(
            VerifyingOrganization="Waldklinik",
            VerificationDateTime=MOMENT,
            VerifyingObserverName=NAME,
            VerifyingObserverIdentificationCodeSequence=[code("PLANTED", "Zwingenberger")],
        )
    ]
    made.AuthorObserverSequence = [item(ObserverType="PSN", PersonName=NAME, InstitutionName="Waldklinik")]
    made.ReferencedRequestSequence = [
        item(
            StudyInstanceUID=STUDY,
            AccessionNumber="ACC4711777",
            PlacerOrderNumberImagingServiceRequest="PLANTED-O",
            FillerOrderNumberImagingServiceRequest="PLANTED-F",
            RequestedProcedureDescription=TEXT,
            ReasonForTheRequestedProcedure=TEXT,
        )
    ]
    made.PerformedProcedureCodeSequence = [code()]
    made.CurrentRequestedProcedureEvidenceSequence = evidence()
    made.ReferencedPerformedProcedureStepSequence = []
    made.ValueType, made.ContinuityOfContent, made.ConceptNameCodeSequence = "CONTAINER", "SEPARATE", [code()]
    made.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier="2000")]
    made.ContentSequence = [
        content("TEXT", TextValue=TEXT),
        content("PNAME", "HAS OBS CONTEXT", PersonName=NAME),
        content("DATE", Date=DAY),
        content("TIME", Time="101112"),
        content("DATETIME", DateTime=MOMENT),
        content("UIDREF", "HAS OBS CONTEXT", UID=uid("47")),
        content("CODE", ConceptCodeSequence=[code("R-42037", "Mild")], ObservationDateTime=MOMENT),
        content("NUM", MeasuredValueSequence=[measured("12.5")], ContentSequence=[space()]),
        content("IMAGE", ReferencedSOPSequence=[reference()]),
        content("CONTAINER", ContinuityOfContent="SEPARATE", ContentSequence=[nested(6)]),
    ]
    return ("NumericValue", "FloatingPointValue", "ValueType", "RelationshipType", "GraphicData", "GraphicType",
            "CodeValue", "CodeMeaning", "TemplateIdentifier", "CompletionFlag", "ReferencedFrameNumber")  # fmt: skip


def measured(value: str) -> Dataset:
    return item(
        NumericValue=value,
        FloatingPointValue=float(value),
        MeasurementUnitsCodeSequence=[code("mm", "millimeter", "UCUM")],
    )


def space() -> Dataset:
    found = content("SCOORD", "INFERRED FROM", GraphicData=[1.0, 2.0, 3.0, 4.0], GraphicType="POLYLINE")
    image = reference()
    image.ReferencedFrameNumber = "1"
    found.ContentSequence = [content("IMAGE", "SELECTED FROM", ReferencedSOPSequence=[image])]
    return found


def nested(depth: int) -> Dataset:
    """Text in text in text."""
    found = content("TEXT", TextValue=f"{TEXT} on 24.12.2019")
    if depth:
        found.ContentSequence = [nested(depth - 1), content("PNAME", "HAS PROPERTIES", PersonName=NAME)]
    return found


def key_objects(made: FileDataset) -> tuple[str, ...]:
    made.CurrentRequestedProcedureEvidenceSequence = evidence()
    made.ReferencedPerformedProcedureStepSequence = []
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [code("113000", "Of Interest", "DCM")]
    made.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier="2010")]
    made.ContentSequence = [
        content("PNAME", "HAS OBS CONTEXT", PersonName=NAME),
        item(
            RelationshipType="CONTAINS",
            ValueType="TEXT",
            TextValue=TEXT,
            ConceptNameCodeSequence=[code("113012", "Key Object Description", "DCM")],
        ),
        item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=[reference()]),
    ]
    return ("ValueType", "RelationshipType", "CodeValue", "CodeMeaning", "TemplateIdentifier")
