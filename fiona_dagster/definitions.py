"""The one page where assets, checks, jobs, sensors, schedules and resources are joined."""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The code location `fiona`."""
    from fiona_dagster.assets import (
        arrival,
        classification,
        deidentification,
        delivery,
        descriptions,
        forwarding,
        housekeeping,
        notification,
        packaging,
        project_records,
        reconciliation,
        registration,
        retirement,
        retrieval,
        routing,
    )
    from fiona_dagster.domain.phases import Phase
    from fiona_dagster.resources.gateway import GatewayResource
    from fiona_dagster.sensors import arrival as arrivals
    from fiona_dagster.sensors import decisions, heartbeat, outbox, schedules
    from fiona_dagster.sensors import notification as notices
    from fiona_dagster.sensors import retrieval as retrievals

    chain = {
        Phase.INTAKE: [arrival.arrived_study, classification.classified_series, registration.incoming_record],
        Phase.TRANSFER: [
            routing.transfer_decision,
            deidentification.deidentified_copy,
            forwarding.research_pacs_copy,
        ],
        Phase.EXPORT: [packaging.outbox_package, delivery.delivered_package],
    }
    jobs = [
        dg.define_asset_job(
            phase.value,
            selection=dg.AssetSelection.assets(*assets),
            executor_def=dg.in_process_executor,  # five times cheaper than the default (dagster.md A1)
            run_tags={"fiona/phase": phase.value},
            description=f"The {phase.value} phase of one study.",
        )
        for phase, assets in chain.items()
    ]
    housekeeping_assets = [
        housekeeping.reconciliation,
        reconciliation.four_accounts,
        housekeeping.disk_cleanup,
        housekeeping.retired_partitions,
        project_records.project_records,
        retirement.retired_copies,
        notification.told_people,
    ]
    return dg.Definitions(
        assets=[
            descriptions.SCANNER,
            descriptions.COUPLING_LIST,
            housekeeping.SCP_HEARTBEAT,
            retrieval.retrieved_studies,
            *[one for assets in chain.values() for one in assets],
            *housekeeping_assets,
        ],
        asset_checks=[deidentification.verification],
        jobs=[*jobs, notices.NOTIFICATION_JOB, retrievals.RETRIEVAL_JOB, *schedules.JOBS],
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
