"""Housekeeping by the clock (FIONA's crontab: fiona-behaviour 1.4)."""

from __future__ import annotations

from dagster import (
    AssetSelection,
    DefaultScheduleStatus,
    ScheduleDefinition,
    define_asset_job,
    in_process_executor,
)

_TIMES = {
    "reconciliation": "*/15 * * * *",
    "disk_cleanup": "30 * * * *",  # clearOldFiles.sh: hourly at :30
    "retired_partitions": "2 3 * * *",  # with clearStaleLinks.sh
}

JOBS = [
    define_asset_job(
        f"{name}_job",
        selection=AssetSelection.assets(name),
        executor_def=in_process_executor,
        run_tags={"fiona/phase": "housekeeping"},
    )
    for name in _TIMES
]

SCHEDULES = [
    ScheduleDefinition(
        name=f"{name}_schedule", job=job, cron_schedule=cron, default_status=DefaultScheduleStatus.RUNNING
    )
    for (name, cron), job in zip(_TIMES.items(), JOBS, strict=True)
]
