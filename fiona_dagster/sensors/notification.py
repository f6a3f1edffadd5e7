"""Something is to be said to people: a transfer stopped, or the day's digest is due."""

from dagster import (
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SkipReason,
    define_asset_job,
    in_process_executor,
    sensor,
)

from fiona_dagster.resources.gateway import GatewayResource

AGAIN_SECONDS = 300.0
"""How often a channel is tried that did not answer."""

NOTIFICATION_JOB = define_asset_job(
    "told_people_job",
    selection=AssetSelection.assets("told_people"),
    executor_def=in_process_executor,
    run_tags={"fiona/phase": "housekeeping"},
    description="Tells people by mail and webhook.",
)


@sensor(
    job_name="told_people_job",
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests a run when something is to be said; nothing where no channel is configured.",
)
def notices(context: SensorEvaluationContext, gateway: GatewayResource) -> RunRequest | SkipReason:
    """Requests a run when something is to be said."""
    from fiona_dagster.adapters.notices import is_anything_due

    now = gateway.now()
    due = is_anything_due(gateway.ledger, gateway.settings, now=now)
    if not due:
        return SkipReason("nothing is to be said")
    return RunRequest(run_key=f"{due}:{int(now // AGAIN_SECONDS)}")
