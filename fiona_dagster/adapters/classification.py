"""A received study classified from its files; the types are written into the series JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fiona_dagster.adapters.dicom_headers import read_series
from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.adapters.ledger.studies import InstanceRecord, StudyRecord
from fiona_dagster.domain.classification import (
    ClassifiedSeries,
    classified_series,
    classify_series,
    classify_study,
)
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer
from fiona_dagster.domain.rules.ruleset import RuleSet


def classify_received(
    rules: RuleSet, study: StudyRecord, instances: Sequence[InstanceRecord], layout: Layout
) -> tuple[ClassifiedSeries, ...]:
    """Classify every series of a study and write its series JSON.

    Instances that were kept aside (other content under a known UID) do not count.

    Raises:
        Permanent: a file is gone.
        Transient: a file cannot be read now.
    """
    peer = Peer(study.calling_ae, study.called_ae, study.address)
    by_series: dict[str, list[InstanceRecord]] = {}
    for one in instances:
        if not one.aside:
            by_series.setdefault(one.series_instance_uid, []).append(one)
    found = []
    for uid, members in by_series.items():
        paths = [_path(layout, one) for one in members]
        result = classify_series(rules, read_series(paths, rules.tags), peer)
        target = layout.series_json(study.study_instance_uid, uid)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json_durably(target, result.series_json)
        found.append(classified_series(result, size_bytes=sum(one.size_bytes for one in members)))
    return classify_study(study.key, study.revision, found).series


def _path(layout: Layout, one: InstanceRecord) -> Path:
    return layout.datadir / one.path
