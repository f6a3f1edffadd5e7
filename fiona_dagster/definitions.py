"""The one page where assets, checks, jobs, sensors, schedules and resources are joined."""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The code location `fiona`."""
    from fiona_dagster.assets import (
        deidentification,
        descriptions,
        housekeeping,
        notification,
        project_records,
        reconciliation,
        retirement,
        retrieval,
        tending,
    )
    from fiona_dagster.resources.gateway import GatewayResource
    from fiona_dagster.sensors import arrival as arrivals
    from fiona_dagster.sensors import decisions, heartbeat, outbox, schedules
    from fiona_dagster.sensors import notification as notices
    from fiona_dagster.sensors import retrieval as retrievals
    from fiona_dagster.sensors.study_jobs import CHAIN, STUDY_JOBS

    housekeeping_assets = [
        housekeeping.reconciliation,
        reconciliation.four_accounts,
        housekeeping.disk_cleanup,
        housekeeping.retired_partitions,
        project_records.project_records,
        retirement.retired_copies,
        tending.tended_packages,
        notification.told_people,
    ]
    return dg.Definitions(
        assets=[
            descriptions.SCANNER,
            descriptions.COUPLING_LIST,
            housekeeping.SCP_HEARTBEAT,
            retrieval.retrieved_studies,
            *CHAIN,
            *housekeeping_assets,
        ],
        asset_checks=[deidentification.verification],
        jobs=[*STUDY_JOBS.values(), notices.NOTIFICATION_JOB, retrievals.RETRIEVAL_JOB, *schedules.JOBS],
        sensors=[
            arrivals.arrivals,
            decisions.decisions,
            decisions.late_decisions,
            outbox.outbox,
            notices.notices,
            heartbeat.heartbeat,
            retrievals.retrievals,
        ],
        schedules=schedules.SCHEDULES,
        resources={"gateway": GatewayResource()},
        executor=dg.in_process_executor,
    )
