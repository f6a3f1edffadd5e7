"""A received study classified from its files; the types are written into the series JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.dicom_headers import read_header
from fiona_dagster.adapters.fiona_layout import change_series_json
from fiona_dagster.adapters.ledger.studies import InstanceRecord, StudyRecord
from fiona_dagster.domain.attribute_values import Image
from fiona_dagster.domain.classification import (
    ClassifiedSeries,
    classified_series,
    classify_series,
    classify_study,
)
from fiona_dagster.domain.errors import Permanent, Reject
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer
from fiona_dagster.domain.rules.ruleset import RuleSet


def classify_received(
    rules: RuleSet, study: StudyRecord, instances: Sequence[InstanceRecord], layout: Layout
) -> tuple[ClassifiedSeries, ...]:
    """Classify every series of a study and write its series JSON.

    Instances that were kept aside (other content under a known UID) do not count.

    Raises:
        Transient: a file cannot be read now.
    """
    peer = Peer(study.calling_ae, study.called_ae, study.address)
    by_series: dict[str, list[InstanceRecord]] = {}
    for one in instances:
        if not one.aside:
            by_series.setdefault(one.series_instance_uid, []).append(one)
    found = []
    for uid, members in by_series.items():
        try:
            result = classify_series(rules, readable([_path(layout, one) for one in members], rules), peer)
        except ValueError:
            continue  # nothing of the series can be read: de-identification fails its instances one by one
        content = dict(result.series_json)
        change_series_json(layout, study.study_instance_uid, uid, partial(_replaced, content))
        found.append(classified_series(result, size_bytes=sum(one.size_bytes for one in members)))
    return classify_study(study.key, study.revision, found).series


def readable(paths: Sequence[Path], rules: RuleSet) -> Iterator[Image]:
    """The images that can be read: one that is broken, or was cleaned up before late images came, costs no other.

    De-identification stops at what is gone, and reconciliation finds it.
    """
    for path in paths:
        with suppress(Reject, Permanent):
            yield read_header(path, rules.tags)


def _replaced(content: dict[str, Any], _found: dict[str, Any] | None) -> dict[str, Any]:
    """The whole series was read again: what reception gathered image by image is replaced."""
    return content


def _path(layout: Layout, one: InstanceRecord) -> Path:
    return layout.datadir / one.path
