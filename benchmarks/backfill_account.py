"""After a backfill: is everything where it should be, once, and what does Dagster's own record say each stage took."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.backfill_hospital import Backfilled
from benchmarks.backfill_studies import Study
from fiona_dagster.domain.transfer import Balance, TransferState

STAGES = {
    "arrived_study": "arrival", "classified_series": "classification", "incoming_record": "registration",
    "transfer_decision": "routing", "deidentified_copy": "de-identification", "verification": "verification",
    "research_pacs_copy": "forwarding", "outbox_package": "packaging", "delivered_package": "delivery",
}  # fmt: skip
VERIFICATION = "verification"


@dataclass(frozen=True)
class StageCost:
    """What the materialisations of one stage took: how many, medians and sums in seconds."""

    times: int
    seconds: float
    cpu_seconds: float
    all_cpu_seconds: float


@dataclass(frozen=True)
class Runs:
    """Dagster's runs: how many, how many failed, medians in seconds."""

    count: int
    failed: int
    waited: float
    lasted: float


def delivered(there: Backfilled) -> int:
    """Studies that are delivered and confirmed."""
    return there.ledger.inventory.totals().transfers.get(TransferState.DELIVERED, 0)


def problems(there: Backfilled, studies: Sequence[Study]) -> list[str]:
    """What is not as it should be: each study delivered once, each instance released, archived and recorded once."""
    found = []
    images = sum(len(one.files) for one in studies)
    totals, transfers = there.ledger.inventory.totals(), there.ledger.transfers.all()
    if totals.balance != Balance(images, released=images):
        found.append(f"{images} instances were sent: {totals.balance}; {totals.held_reasons}")
    wanted = {one.study_instance_uid for one in studies}
    received = {one.study_instance_uid: one.key for one in there.ledger.studies.all()}
    if set(received) != wanted:
        found.append(f"{len(wanted)} studies were sent, {len(received)} are known")
    keys = [one.study_key for one in transfers if one.state is TransferState.DELIVERED]
    if sorted(keys) != sorted(received.values()):
        found.append(
            f"{len(set(keys))} of {len(received)} studies are delivered, by {len(transfers)} transfers"
        )
    for transfer in transfers:
        records = there.ledger.deliveries.of_transfer(transfer.id)
        kinds = sorted(one.kind for one in records if one.state == "confirmed")
        if kinds != ["package", "pacs"]:
            found.append(f"{transfer.study_key}: confirmed deliveries {kinds}")
    packages = [one for one in there.packages.iterdir() if one.suffix == ".zip"]
    if len(packages) != len(studies):
        found.append(f"{len(packages)} packages for {len(studies)} studies")
    archived = sum(1 for one in there.archive.rglob("*.dcm") if one.is_file())
    if archived != images:
        found.append(f"the archive has {archived} of {images} instances")
    return found


def packages_as_they_are(there: Backfilled) -> dict[str, tuple[int, int]]:
    """Name, inode and time (ns) of all that was delivered: a second delivery would change them."""
    return {one.name: (one.stat().st_ino, one.stat().st_mtime_ns) for one in there.packages.iterdir()}


def stage_costs(home: Path, since: float) -> dict[str, StageCost]:
    """Per stage what its asset's metadata say, of materialisations after `since` (seconds since the epoch)."""
    from dagster import AssetCheckKey, AssetKey, AssetRecordsFilter, DagsterInstance

    from fiona_dagster.domain.verification import CHECKS

    costs = {}
    with DagsterInstance.from_config(str(home)) as instance:
        for asset, stage in STAGES.items():
            found: list[dict[str, float]] = []
            if asset == VERIFICATION:
                key = AssetCheckKey(AssetKey("deidentified_copy"), next(iter(CHECKS)))
                for check in instance.event_log_storage.get_asset_check_execution_history(key, limit=10_000):
                    event = check.event
                    evaluation = (
                        event.dagster_event.asset_check_evaluation_data
                        if event and event.dagster_event
                        else None
                    )
                    if event is not None and evaluation is not None and event.timestamp >= since:
                        found.append(_numbers(evaluation.metadata))
            else:
                cursor: str | None = None
                more = True
                while more:
                    page = instance.fetch_materializations(
                        AssetRecordsFilter(AssetKey(asset), after_timestamp=since), limit=1000, cursor=cursor
                    )
                    cursor, more = page.cursor, page.has_more
                    found += [
                        _numbers(one.asset_materialization.metadata)
                        for one in page.records
                        if one.asset_materialization is not None
                    ]
            if found:
                costs[stage] = StageCost(
                    len(found),
                    statistics.median(one["seconds"] for one in found),
                    statistics.median(one["cpu_seconds"] for one in found),
                    sum(one["cpu_seconds"] for one in found),
                )
    return costs


def runs(home: Path, since: float) -> dict[str, Runs]:
    """By job, the runs made after `since`."""
    import datetime

    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    after = datetime.datetime.fromtimestamp(since, tz=datetime.UTC)
    by_job: dict[str, list[tuple[bool, float, float]]] = {}
    with DagsterInstance.from_config(str(home)) as instance:
        for one in instance.get_run_records(RunsFilter(created_after=after)):
            if one.start_time is None or one.end_time is None:
                continue
            failed = one.dagster_run.status is not DagsterRunStatus.SUCCESS
            waited = one.start_time - one.create_timestamp.timestamp()
            by_job.setdefault(one.dagster_run.job_name, []).append(
                (failed, waited, one.end_time - one.start_time)
            )
    return {
        job: Runs(
            len(found),
            sum(failed for failed, _, _ in found),
            statistics.median(waited for _, waited, _ in found),
            statistics.median(lasted for _, _, lasted in found),
        )
        for job, found in by_job.items()
    }


def _numbers(metadata: Mapping[str, object]) -> dict[str, float]:
    """`seconds` and `cpu_seconds` of an event's metadata; 0 where a stage had nothing to do."""
    values = metadata if isinstance(metadata, dict) else {}
    return {
        name: float(getattr(values.get(name), "value", 0.0) or 0.0) for name in ("seconds", "cpu_seconds")
    }
