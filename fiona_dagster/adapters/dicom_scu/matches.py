"""What a peer said of a study, a series or an instance that matched a query (PS3.4 section C.6.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class FoundStudy:
    """A match at STUDY level. `instances`: NumberOfStudyRelatedInstances, None where the peer gives none."""

    study_instance_uid: str = field(repr=False)
    study_date: str = field(repr=False)
    modalities: tuple[str, ...]
    instances: int | None


@dataclass(frozen=True)
class FoundSeries:
    """A match at SERIES level.

    `instances`: NumberOfSeriesRelatedInstances; `acquired`: ImagesInAcquisition, what FIONA's moveFromScanner compared.
    None where the peer does not say, or says none.
    """

    series_instance_uid: str = field(repr=False)
    modality: str
    instances: int | None
    acquired: int | None = None


@dataclass(frozen=True)
class FoundInstance:
    """A match at IMAGE level; `sop_class_uid` is empty where the peer does not say."""

    sop_instance_uid: str = field(repr=False)
    sop_class_uid: str


def number_of(match: Dataset, keyword: str) -> int | None:
    """A count, None where the peer gave none or something else."""
    try:
        return max(int(str(match.get(keyword, "") or "")), 0)
    except ValueError:
        return None


def study_of(match: Dataset) -> FoundStudy:
    """A match at STUDY level."""
    modalities = match.get("ModalitiesInStudy") or ()
    return FoundStudy(
        str(match.StudyInstanceUID),
        str(match.get("StudyDate", "") or "").replace(".", ""),
        (modalities,) if isinstance(modalities, str) else tuple(map(str, modalities)),
        number_of(match, "NumberOfStudyRelatedInstances"),
    )


def series_of(match: Dataset) -> FoundSeries:
    """A match at SERIES level."""
    return FoundSeries(
        str(match.SeriesInstanceUID),
        str(match.get("Modality", "") or ""),
        number_of(match, "NumberOfSeriesRelatedInstances") or None,
        number_of(match, "ImagesInAcquisition") or None,
    )


def instance_of(match: Dataset) -> FoundInstance:
    """A match at IMAGE level."""
    return FoundInstance(str(match.SOPInstanceUID), str(match.get("SOPClassUID", "") or ""))
