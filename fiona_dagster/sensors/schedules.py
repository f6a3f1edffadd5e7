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
    "four_accounts": "23 1-23 * * *",  # FIONA's getAllPatients2, parseAllPatients, whatIsInIDS7: hourly
    "project_records": "7-59/15 * * * *",  # FIONA's populateProjects; a delivery tells its project at once
    "tended_packages": "12-57/15 * * * *",
    "disk_cleanup": "30 * * * *",  # clearOldFiles.sh: hourly at :30
    "retired_copies": "45 * * * *",
    "retired_partitions": "2 3 * * *",  # with clearStaleLinks.sh
}
_NIGHT = {"four_accounts": "0 0 * * *"}  # whatIsNotInIDS7 --force; the archive is asked for everything
_PURPOSES = {
    "four_accounts": "Compares REDCap, ledger, releases and research PACS, and keeps WhatIsInIDS7.",
    "reconciliation": "Compares the ledger with the files on disk, and tells REDCap what it missed.",
    "project_records": "Tells the projects' own REDCap of studies that it missed, and of approvals that end.",
    "tended_packages": "Tries packages again whose password is there now; deletes what is left of cancelled ones.",
    "disk_cleanup": "Deletes confirmed studies and packages above the disk limits, stale links and leftovers.",
    "retired_copies": "Looks again for copies of withdrawn participants and wrong assignments.",
    "retired_partitions": "Takes keys of studies out of Dagster that ended or wait for a person, with their runs.",
}

JOBS = [
    define_asset_job(
        f"{name}_job",
        selection=AssetSelection.assets(name),
        executor_def=in_process_executor,
        run_tags={"fiona/phase": "housekeeping"},
        description=_PURPOSES[name],
    )
    for name in _TIMES
]

SCHEDULES = [
    *(
        ScheduleDefinition(
            name=f"{name}_schedule",
            job=job,
            cron_schedule=cron,
            default_status=DefaultScheduleStatus.RUNNING,
            description=_PURPOSES[name],
        )
        for (name, cron), job in zip(_TIMES.items(), JOBS, strict=True)
    ),
    *(
        ScheduleDefinition(
            name=f"{name}_by_night_schedule",
            job=next(job for job in JOBS if job.name == f"{name}_job"),
            cron_schedule=cron,
            default_status=DefaultScheduleStatus.RUNNING,
            description=f"{_PURPOSES[name]} Everything, not only what is recent.",
            run_config={"ops": {name: {"config": {"whole": True}}}},
        )
        for name, cron in _NIGHT.items()
    ),
]
