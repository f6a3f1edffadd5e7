"""The series JSON `raw/<StudyInstanceUID>/<SeriesInstanceUID>.json`, which FIONA's scripts and sites read.

Field names and the form of values are FIONA's (fiona-behaviour 2.3): strings mostly, a multi-value in its printed
form (`[0, 256, 256, 0]`), an attribute that an image lacks is no key. Other than in FIONA
- descriptive values belong to the image with the smallest (InstanceNumber, SOPInstanceUID) instead of the first to
  arrive, so that the same images give the same JSON in any order;
- `Modality` and `SoftwareVersion`, which FIONA left empty through a defect, are filled;
- `SOPInstanceUID`, `SeriesDate` and `BodyPartExamined` are there as well.
The JSON holds patient data; it never leaves `raw/`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword

from fiona_dagster.domain import siemens_csa
from fiona_dagster.domain.attribute_values import Image, element_value, members, silent_reading, text_of
from fiona_dagster.domain.header import with_creators
from fiona_dagster.domain.reception import Peer

ATTRIBUTES: dict[str, str | int] = {
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturerModelName",
    "SoftwareVersion": "SoftwareVersions",
    "OSLevel": "SoftwareVersions",
    "AcquisitionMatrix": "AcquisitionMatrix",
    "AcquisitionLength": 0x0051100A,
    "StudyInstanceUID": "StudyInstanceUID",
    "SeriesInstanceUID": "SeriesInstanceUID",
    "SOPInstanceUID": "SOPInstanceUID",
    "SOPClassUID": "SOPClassUID",
    "PatientID": "PatientID",
    "PatientName": "PatientName",
    "PatientSex": "PatientSex",
    "InstitutionName": "InstitutionName",
    "OperatorsName": "OperatorsName",
    "AccessionNumber": "AccessionNumber",
    "StationName": "StationName",
    "BodyPartExamined": "BodyPartExamined",
    "StudyID": "StudyID",
    "StudyDate": "StudyDate",
    "StudyTime": "StudyTime",
    "StudyDescription": "StudyDescription",
    "SeriesDate": "SeriesDate",
    "SeriesTime": "SeriesTime",
    "SeriesDescription": "SeriesDescription",
    "SeriesNumber": "SeriesNumber",
    "InstanceNumber": "InstanceNumber",
    "SequenceName": "SequenceName",
    "EchoTime": "EchoTime",
    "RepetitionTime": "RepetitionTime",
    "SliceThickness": "SliceThickness",
    "SliceSpacing": "SpacingBetweenSlices",
    "SliceLocation": "SliceLocation",
    "Slices": 0x0021104F,
    "ImageType": "ImageType",
    "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant",
    "SequenceType": 0x20011020,
    "PulseSequenceName": 0x0019109C,
    "ActiveCoils": 0x0051100F,
    "Private0019_105a": 0x0019105A,
    "Private0019_10BB": 0x001910BB,
    "Private0043_1039": 0x00431039,
    "ImagesInAcquisition": "ImagesInAcquisition",
    "NumberOfTemporalPositions": "NumberOfTemporalPositions",
}
"""Field of the series JSON -> keyword, or tag of a private attribute as FIONA addresses it."""

FIELD_TAGS: dict[str, int] = {
    name: source if isinstance(source, int) else (tag_for_keyword(source) or 0)
    for name, source in ATTRIBUTES.items()
}
"""Field of the series JSON -> the attribute that it comes from."""
TAGS: frozenset[int] = with_creators((*FIELD_TAGS.values(), 0x00080060, *siemens_csa.TAGS))
"""Every attribute that `image_fields` reads."""

MISSING_STUDY_DESCRIPTION = "missing"
"""FIONA's word where an image has no StudyDescription."""

_DIFFUSION = "siemensDiffusionInformation"
NAMES = frozenset(
    {
        *ATTRIBUTES, "IncomingConnection", "Modality", "NumFiles", "ClassifyType", "NumSlices", "siemensUUID", "MeasID",
        "PhaseEncodingDirectionPositive", _DIFFUSION,
    }
)  # fmt: skip
"""Every field that a series JSON can have."""

OF_THE_SERIES = frozenset({"NumFiles", "ClassifyType", "SliceLocation", "Modality", _DIFFUSION})
"""Fields that several images make together; all others belong to one image."""


def image_fields(image: Image, peer: Peer) -> dict[str, Any]:
    """The series-JSON fields of one image."""
    with silent_reading():
        return _image_fields(image, peer)


def start(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The series JSON of a series of one image."""
    return {**fields, "NumFiles": "1", "ClassifyType": []}


def add(series: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The series JSON with one more image; neither argument is changed.

    `NumFiles` counts calls, as FIONA's counts received files.
    """
    described = {name: value for name, value in series.items() if name not in OF_THE_SERIES}
    image = {name: value for name, value in fields.items() if name not in OF_THE_SERIES}
    made = described if _comes_first(described, image) else image
    made["NumFiles"] = str(int(series["NumFiles"]) + 1)
    made["ClassifyType"] = list(series.get("ClassifyType", []))
    made["Modality"] = sorted({*series.get("Modality", []), *fields.get("Modality", [])})
    made[_DIFFUSION] = _diffusion([*series.get(_DIFFUSION, []), *fields.get(_DIFFUSION, [])])
    locations = [one["SliceLocation"] for one in (series, fields) if "SliceLocation" in one]
    if locations:
        made["SliceLocation"] = min(locations, key=lambda text: (_number(text), text))
    return made


def with_types(series: Mapping[str, Any], types: Iterable[str]) -> dict[str, Any]:
    """The series JSON with its classification."""
    return {**series, "ClassifyType": list(types)}


def _image_fields(image: Image, peer: Peer) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "IncomingConnection": {
            "AETitleCaller": peer.calling_ae,
            "AETitleCalled": peer.called_ae,
            "CallerIP": peer.address or "0.0.0.0",  # noqa: S104  FIONA's word for an unknown address
        },
        "Modality": [str(one) for one in members(element_value(image, 0x00080060))],
        _DIFFUSION: [],
    }
    for name, tag in FIELD_TAGS.items():
        value = element_value(image, tag)
        if value is not None:
            fields[name] = text_of(value)
    fields.setdefault("StudyDescription", MISSING_STUDY_DESCRIPTION)
    fields.update(_siemens_fields(image, fields))
    return fields


def _comes_first(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `one` stands before `other` in the series; the content is compared only where all else is equal."""
    left, right = _place(one), _place(other)
    return left < right if left != right else _rank(one) <= _rank(other)


def _place(fields: Mapping[str, Any]) -> tuple[float, str]:
    return _number(fields.get("InstanceNumber", "")), str(fields.get("SOPInstanceUID", ""))


def _rank(fields: Mapping[str, Any]) -> tuple[float, str, str]:
    """Order of images within a series; images without a number stand last, equal ones by content."""
    return *_place(fields), json.dumps(fields, sort_keys=True)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.inf
    return number if math.isfinite(number) else math.inf


def _diffusion(entries: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """One entry an image, in the order of the images."""
    unique = {json.dumps(entry, sort_keys=True): entry for entry in entries}
    return sorted(unique.values(), key=_rank)


def _siemens_fields(image: Image, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What only the CSA headers tell: slices of a mosaic, phase encoding direction, reference UID, diffusion."""
    own = siemens_csa.image_header(image)
    series = siemens_csa.series_header(image)
    if not own and not series:
        return {}
    protocol = "\n".join((series.get("MrPhoenixProtocol") or series.get("MrProtocol") or [])[:1])
    found: dict[str, Any] = {
        "NumSlices": siemens_csa.protocol_value(protocol, "sSliceArray.lSize")
        or _first(own, "NumberOfImagesInMosaic"),
        "siemensUUID": siemens_csa.protocol_value(protocol, "tReferenceImage0"),
        "MeasID": _first(own, "MeasID") or siemens_csa.protocol_value(protocol, "MeasID"),
        "PhaseEncodingDirectionPositive": _first(own, "PhaseEncodingDirectionPositive"),
    }
    found = {name: value for name, value in found.items() if value}
    b_value = _first(own, "B_value")
    if b_value:
        found[_DIFFUSION] = [
            {
                "B_value": b_value,
                "SOPInstanceUID": fields.get("SOPInstanceUID", ""),
                "InstanceNumber": fields.get("InstanceNumber", ""),
                "DiffusionDirectionality": _first(own, "DiffusionDirectionality"),
                "DiffusionGradientDirection": ", ".join(own.get("DiffusionGradientDirection", [])),
            }
        ]
    return found


def _first(header: Mapping[str, list[str]], name: str) -> str:
    values = header.get(name, [])
    return values[0] if values else ""
