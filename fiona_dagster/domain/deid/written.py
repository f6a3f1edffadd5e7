"""Attributes that the gateway writes itself, whatever a profile says."""

from __future__ import annotations

from fiona_dagster.domain.deid.dictionary import tag_of

ALWAYS_WRITTEN = frozenset(
    {
        "AccessionNumber",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "LongitudinalTemporalInformationModified",
        "InstitutionName",
        "PatientID",
        "PatientIdentityRemoved",
        "PatientName",
        "ReferringPhysicianName",
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "SpecificCharacterSet",
        "StudyID",
        "StudyInstanceUID",
    }
)
"""Attributes that the gateway sets itself; no profile may override them."""


def is_written_by_us(keyword: str) -> bool:
    """Whether the gateway sets the attribute itself."""
    tag = tag_of(keyword)
    return keyword in ALWAYS_WRITTEN or (tag is not None and tag >> 16 in {0x0002, 0x0012})
