"""What keeps the house in order: heartbeat, reconciliation, cleanup, retirement of partitions and old runs."""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetSpec,
    DagsterInstance,
    DagsterRunStatus,
    MaterializeResult,
    RunsFilter,
    asset,
)
from dagster import MetadataValue as Value

from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.resources.gateway import GatewayResource

KEYS_PER_RUN = 500
NOT_FINISHED_STATUSES = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
KEEP_HOUSEKEEPING_RUNS_DAYS = 7


SCP_HEARTBEAT = AssetSpec(
    "scp_heartbeat",
    group_name=HOUSEKEEPING,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("reception"),
    description="C-ECHO to the receiver of every site, every minute, by the sensor `heartbeat`; an event is written "
    "when an answer changes and once an hour. A run a minute would cost an hour of processor time a day.",
)


@asset(group_name=HOUSEKEEPING, kinds={"sql"}, owners=[OWNER], tags=stage_tags("reconciliation"),
       check_specs=[AssetCheckSpec("conservation_law", asset="reconciliation",
                                   description="received = released + held + excluded + failed, everywhere, and "
                                   "every file is where the ledger says.")])  # fmt: skip
def reconciliation(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """The conservation law over the whole ledger, against the files on disk; and REDCap told what it missed."""
    with reporting_failures():
        from fiona_dagster.adapters.reconciliation import discrepancies

        ledger = gateway.ledger
        totals = ledger.inventory.totals()
        found = discrepancies(ledger, gateway.settings)
        told = 0
        if gateway.registry is not None:
            for key in ledger.transfers.untold():
                told += tell_registry(gateway, ledger.studies.get(key), context.log)
        lines = [f"- {one.study_key}: {one.problem}" for one in found[:200]]
        yield MaterializeResult(
            metadata={
                "studies": totals.studies,
                "received": totals.balance.received,
                "released": totals.balance.released,
                "held": totals.balance.held,
                "excluded": totals.balance.excluded,
                "failed": totals.balance.failed,
                "refused_at_the_door": totals.refused,
                "held_because": Value.md(
                    "\n".join(f"- {count} x {why}" for why, count in sorted(totals.held_reasons.items()))
                    or "nothing held"
                ),
                "redcap_rows_caught_up": told,
            }
        )
        yield AssetCheckResult(
            check_name="conservation_law",
            passed=totals.balance.holds and not found,
            metadata={"discrepancies": len(found), "places": Value.md("\n".join(lines) or "none")},
        )


@asset(group_name=HOUSEKEEPING, kinds={"file"}, owners=[OWNER], tags=stage_tags("retention"))
def disk_cleanup(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """Oldest archive folders above the disk limit, stale links, leftovers of exports.

    Nothing unconfirmed is ever deleted: a study goes only when every instance of its newest revision is confirmed
    where it should be.
    """
    with reporting_failures():
        from fiona_dagster.adapters.housekeeping import clean_disk

        report = clean_disk(gateway.ledger, gateway.settings, now=gateway.now())
        return MaterializeResult(
            metadata={**report.counts, "kept_because": Value.md(report.kept_text or "nothing had to be kept")}
        )


@asset(group_name=HOUSEKEEPING, kinds={"dagster"}, owners=[OWNER], tags=stage_tags("retention"))
def retired_partitions(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """Keys of studies that reached their end, or waited long for a person, leave Dagster with their runs and events.

    So its pages stay quick. The ledger keeps the truth; an image, an assignment, a resend or a late entry in REDCap
    brings a key back.
    """
    with reporting_failures():
        from fiona_dagster.domain.retention import PartitionStanding, partitions_to_retire

        settings, ledger, now = gateway.settings, gateway.ledger, gateway.now()
        keys = context.instance.get_dynamic_partitions(str(STUDIES.name))
        resting = {one.study_key: one for one in ledger.inventory.at_rest()}
        standings = [resting.get(key) or PartitionStanding(key, None) for key in keys]
        decided = partitions_to_retire(
            standings, now=now, keep_days=settings.keep_partitions_days, cap=settings.max_partitions
        )
        runs = retired = 0
        for key in [one.name for one in decided][:KEYS_PER_RUN]:
            if _is_worked_on(context.instance, key):
                continue
            runs += _forget(context.instance, key)
            ledger.studies.mark(key, retired_at=now)
            retired += 1
        runs += _forget_old_housekeeping(context.instance, before=now - KEEP_HOUSEKEEPING_RUNS_DAYS * 86_400)
        return MaterializeResult(
            metadata={"keys_before": len(keys), "keys_retired": retired, "runs_deleted": runs}
        )


def _is_worked_on(instance: DagsterInstance, key: str) -> bool:
    """Whether a run of the key is not finished, started by a sensor or by hand."""
    unfinished = RunsFilter(tags={"dagster/partition": key}, statuses=NOT_FINISHED_STATUSES)
    return instance.get_runs_count(unfinished) > 0


def _forget(instance: DagsterInstance, key: str) -> int:
    """Delete a key with its runs and their events; deleting the key alone would gain nothing (dagster.md A3)."""
    records = instance.get_run_records(RunsFilter(tags={"dagster/partition": key}))
    finished = [record.dagster_run for record in records if record.dagster_run.is_finished]
    for run in finished:
        instance.delete_run(run.run_id)
    instance.delete_dynamic_partition(str(STUDIES.name), key)
    return len(finished)


def _forget_old_housekeeping(instance: DagsterInstance, *, before: float) -> int:
    filters = RunsFilter(
        tags={"fiona/phase": "housekeeping"}, created_before=datetime.fromtimestamp(before, tz=UTC)
    )
    finished = [
        r.dagster_run
        for r in instance.get_run_records(filters, limit=KEYS_PER_RUN)
        if r.dagster_run.is_finished
    ]
    for run in finished:
        instance.delete_run(run.run_id)
    return len(finished)
