"""The jobs on the chain of a study: one for each phase, and the passage through all of them."""

from dagster import AssetsDefinition, AssetSelection, define_asset_job, in_process_executor

from fiona_dagster.assets import (
    arrival,
    classification,
    deidentification,
    delivery,
    forwarding,
    packaging,
    registration,
    routing,
)
from fiona_dagster.domain.phases import PASSAGE, Phase

PHASES: dict[Phase, list[AssetsDefinition]] = {
    Phase.INTAKE: [arrival.arrived_study, classification.classified_series, registration.incoming_record],
    Phase.TRANSFER: [
        routing.transfer_decision,
        deidentification.deidentified_copy,
        forwarding.research_pacs_copy,
    ],
    Phase.EXPORT: [packaging.outbox_package, delivery.delivered_package],
}
CHAIN = [one for assets in PHASES.values() for one in assets]


_JOBS = [
    (PASSAGE, Phase.INTAKE, CHAIN, "A new study, from its arrival as far as it goes by itself."),
    *((phase.value, phase, assets, f"The {phase} phase of one study.") for phase, assets in PHASES.items()),
]

STUDY_JOBS = {
    name: define_asset_job(
        name,
        selection=AssetSelection.assets(*assets),
        executor_def=in_process_executor,  # five times cheaper than the default (docs/adr/0003)
        run_tags={"fiona/phase": phase.value},
        description=description,
    )
    for name, phase, assets, description in _JOBS
}
