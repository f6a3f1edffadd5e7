"""What kind of series a study is made of: every image of every series is looked at, in any order.

Stage `ArrivedStudy -> ClassifiedStudy`. The rules and how they are decided: `docs/classification.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain import series_json
from fiona_dagster.domain.attribute_values import Image
from fiona_dagster.domain.reception import Peer
from fiona_dagster.domain.rules.evaluation import View, decide, image_sources, view
from fiona_dagster.domain.rules.ruleset import RuleSet


@dataclass(frozen=True)
class SeriesClassification:
    """The types of one series in the order of the rule file.

    `why` has a sentence for each type, without values of the images. `series_json` is the content of the series JSON,
    types included; it holds patient data.
    """

    types: tuple[str, ...]
    why: Mapping[str, str]
    instance_count: int
    series_json: Mapping[str, Any]


@dataclass(frozen=True)
class ClassifiedSeries:
    """One series as registration needs it; strings as in the series JSON, `''` where the images have none."""

    series_instance_uid: str
    modality: str
    types: tuple[str, ...]
    instance_count: int
    series_number: str = ""
    series_description: str = ""
    series_date: str = ""
    series_time: str = ""
    sequence_name: str = ""
    body_part: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class ClassifiedStudy:
    """A study with the types of its series, ordered by series number."""

    study_key: str
    revision: int
    series: tuple[ClassifiedSeries, ...]


def classify_series(rules: RuleSet, images: Iterable[Image], peer: Peer) -> SeriesClassification:
    """Classify one series. `images` is walked through once and not kept, so that a generator may feed it.

    Raises:
        ValueError: there is no image.
    """
    sources = image_sources(rules)
    views: Counter[View] = Counter()
    series: dict[str, Any] | None = None
    for image in images:
        fields = series_json.image_fields(image, peer)
        series = series_json.start(fields) if series is None else series_json.add(series, fields)
        views[view(image, fields, sources)] += 1
    if series is None:
        raise ValueError("a series without an image cannot be classified")
    types, why = decide(rules, views, series)
    return SeriesClassification(types, why, views.total(), series_json.with_types(series, types))


def classified_series(classification: SeriesClassification, *, size_bytes: int = 0) -> ClassifiedSeries:
    """What registration needs of a classified series; several modalities in one series are joined by `\\\\`."""
    fields = classification.series_json
    date = fields.get("SeriesDate") or fields.get("StudyDate", "")  # as FIONA's populateIncoming
    return ClassifiedSeries(
        series_instance_uid=fields.get("SeriesInstanceUID", ""),
        modality="\\".join(fields.get("Modality", [])),
        types=classification.types,
        instance_count=classification.instance_count,
        series_number=fields.get("SeriesNumber", ""),
        series_description=fields.get("SeriesDescription", ""),
        series_date=date,
        series_time=fields.get("SeriesTime", ""),
        sequence_name=fields.get("SequenceName", ""),
        body_part=fields.get("BodyPartExamined", ""),
        size_bytes=size_bytes,
    )


def classify_study(study_key: str, revision: int, series: Iterable[ClassifiedSeries]) -> ClassifiedStudy:
    """The study of these series, in the order of their numbers, then UIDs."""
    return ClassifiedStudy(study_key, revision, tuple(sorted(series, key=_rank)))


def _rank(one: ClassifiedSeries) -> tuple[int, int, str]:
    number = one.series_number
    known = number.isascii() and number.isdecimal()
    return (0, int(number), one.series_instance_uid) if known else (1, 0, one.series_instance_uid)
