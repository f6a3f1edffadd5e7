"""From work that the ledger shows to run requests: the part that the three sensors share."""

from __future__ import annotations

from collections.abc import Iterable

from dagster import (
    AddDynamicPartitionsRequest,
    DagsterInstance,
    RunRequest,
    RunsFilter,
    SensorResult,
    SkipReason,
)

from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.phases import Due, EarlierRun, attempt_due, run_key

RUNS_PER_TICK = 50
"""The daemon creates runs one by one, 0.2 s each: fifty keep a tick near ten seconds (dagster.md A2)."""

NEWEST_RUNS = 20
"""As many say how long to wait: the back-off is at its longest after five."""


def requests_for(work: Iterable[Due], instance: DagsterInstance, *, now: float) -> SensorResult | SkipReason:
    """Run requests for the work that is due now, oldest first."""
    requests: list[RunRequest] = []
    waiting = 0
    for due in work:
        if attempt_due(_earlier_runs(instance, due), now=now) is None:
            waiting += 1
            continue
        # counted, not taken from the newest ones: a run key that was used before would launch nothing, for ever
        attempt = instance.get_runs_count(RunsFilter(tags=due.tags))
        requests.append(RunRequest(run_key=run_key(due, attempt), partition_key=due.key, tags=due.tags))
        if len(requests) >= RUNS_PER_TICK:
            break
    if not requests:
        return SkipReason(
            f"{waiting} in progress or waiting for their next attempt" if waiting else "nothing to do"
        )
    known = set(instance.get_dynamic_partitions(str(STUDIES.name)))
    new = list(
        dict.fromkeys(r.partition_key for r in requests if r.partition_key and r.partition_key not in known)
    )
    return SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[AddDynamicPartitionsRequest(str(STUDIES.name), new)] if new else [],
    )


def _earlier_runs(instance: DagsterInstance, due: Due) -> list[EarlierRun]:
    """The runs for the same work, and any run of the study's phase that goes on: two would tread on each other."""
    tags = {name: value for name, value in due.tags.items() if name != "fiona/work"}
    earlier = []
    for record in instance.get_run_records(RunsFilter(tags=tags), limit=NEWEST_RUNS):
        run = record.dagster_run
        if not run.is_finished:
            earlier.append(EarlierRun(None))
        elif run.tags.get("fiona/work") == due.work and run.parent_run_id is None:
            # Dagster repeats a lost run by itself, at once: counted, one bad minute would use up the back-off
            earlier.append(EarlierRun(record.end_time or record.update_timestamp.timestamp()))
    return earlier
