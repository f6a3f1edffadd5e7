"""Confirmed copies are packed and delivered: the export phase."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from fiona_dagster.domain.phases import Due, Phase
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.requests import requests_for


@sensor(
    job_name="export",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests the export of what the research PACS confirmed.",
)
def outbox(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests the export of what the research PACS confirmed."""
    return requests_for(exports_due(gateway), context.instance, now=gateway.now())


def exports_due(gateway: GatewayResource) -> list[Due]:
    """The export work that the ledger shows."""
    return [
        Due(key, Phase.EXPORT, f"{revision}.{generation}")
        for key, revision, generation in gateway.ledger.transfers.studies_with_work(TransferState.FORWARDED)
    ]
