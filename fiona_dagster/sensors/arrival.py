"""Quiet studies enter the chain: the intake phase."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from fiona_dagster.assets.arrival import arrival_at, arriving, work_of
from fiona_dagster.domain.arrival import Completes
from fiona_dagster.domain.phases import Due, Phase
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.requests import requests_for


@sensor(
    job_name="intake",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests the intake of studies that fell quiet, and of arrived ones not registered yet.",
)
def arrivals(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests the intake of studies that fell quiet, and of arrived ones that are not registered yet."""
    return requests_for(intake_due(gateway), context.instance, now=gateway.now())


def intake_due(gateway: GatewayResource) -> list[Due]:
    """The intake work that the ledger shows."""
    studies, now = gateway.ledger.studies, gateway.moment()
    sites = {site.name: site for site in gateway.settings.sites}
    arrived = [
        Due(one.key, Phase.INTAKE, work_of(one))
        for one in arriving(gateway)
        if one.site in sites and isinstance(arrival_at(sites[one.site], one, now), Completes)
    ]
    return arrived + [Due(key, Phase.INTAKE, f"{revision}") for key, revision in studies.unregistered()]
