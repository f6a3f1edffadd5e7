"""From work that the ledger shows to run requests: the part that the three sensors share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagster import (
    AddDynamicPartitionsRequest,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorResult,
    SkipReason,
)

from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.phases import PASSAGE, Due, EarlierRun, attempt_due, job_of, run_key

RUNS_PER_TICK = 50
"""The daemon creates runs one by one, 0.2 s each: fifty keep a tick near ten seconds (dagster.md A2)."""

NEWEST_RUNS = 20
"""As many say how long to wait: the back-off is at its longest after five."""

_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_AT_WORK = [one for one in DagsterRunStatus if one not in _ENDED]


def requests_for(work: Iterable[Due], instance: DagsterInstance, *, now: float) -> SensorResult | SkipReason:
    """Run requests for the work that is due now, oldest first; no more than keeps `RUNS_PER_TICK` runs in the queue, so
    that a tick costs the same however much is waiting.
    """
    asked = list(work)
    at_work = _at_work(instance, asked)
    room = RUNS_PER_TICK - sum(map(len, at_work.values()))
    requests: list[RunRequest] = []
    waiting = 0
    for due in asked:
        if len(requests) >= room:
            waiting += 1
            continue
        if any(_would_meet(run, due) for run in at_work.get(due.key, ())):
            waiting += 1
            continue
        records = instance.get_run_records(RunsFilter(tags={"fiona/study": due.key}), limit=NEWEST_RUNS)
        if attempt_due(_attempts(records, due), now=now) is None:
            waiting += 1
            continue
        # counted, not taken from the newest ones: a run key that was used before would launch nothing, for ever
        attempt = instance.get_runs_count(RunsFilter(tags=due.tags)) if records else 0
        requests.append(
            RunRequest(
                run_key=run_key(due, attempt), partition_key=due.key, tags=due.tags, job_name=job_of(due)
            )
        )
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


def _at_work(instance: DagsterInstance, asked: Sequence[Due]) -> dict[str, list[DagsterRun]]:
    """The runs of these studies that are queued or go on, by study."""
    found: dict[str, list[DagsterRun]] = {}
    if asked:
        keys = list(dict.fromkeys(one.key for one in asked))
        for run in instance.get_runs(RunsFilter(tags={"fiona/study": keys}, statuses=_AT_WORK)):
            found.setdefault(run.tags["fiona/study"], []).append(run)
    return found


def _would_meet(run: DagsterRun, due: Due) -> bool:
    """Whether a run for `due` beside this one would tread on it: a passage does everything, and so meets any other."""
    return PASSAGE in (run.job_name, job_of(due)) or run.tags.get("fiona/phase") == due.phase


def _attempts(records: Iterable[RunRecord], due: Due) -> list[EarlierRun]:
    """The runs for the same work that ended; the study's newest passage counts for every phase, since Dagster may be
    about to repeat it.
    """
    earlier: list[EarlierRun] = []
    passages = 0
    for record in records:
        run, ended = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
        if run.tags.get("fiona/phase") == due.phase:
            # Dagster repeats a lost run by itself, at once: counted, one bad minute would use up the back-off
            if run.tags.get("fiona/work") == due.work and run.parent_run_id is None:
                earlier.append(EarlierRun(ended))
        elif run.job_name == PASSAGE and not passages:
            passages += 1
            earlier.append(EarlierRun(ended))
    return earlier
