"""Quiet studies enter the chain: the intake phase, and in the same run whatever follows of itself."""

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from fiona_dagster.assets.arrival import arrival_at, arriving, work_of
from fiona_dagster.domain.arrival import Completes
from fiona_dagster.domain.phases import PASSAGE, Due, Phase
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.requests import requests_for
from fiona_dagster.sensors.study_jobs import STUDY_JOBS


@sensor(
    jobs=[STUDY_JOBS[PASSAGE], STUDY_JOBS[Phase.INTAKE]],
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests a run for studies that fell quiet, and for arrived ones that are not registered yet.",
)
def arrivals(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests a run for studies that fell quiet, and for arrived ones that are not registered yet."""
    return requests_for(intake_due(gateway), context.instance, now=gateway.now())


def intake_due(gateway: GatewayResource) -> list[Due]:
    """The intake work that the ledger shows."""
    studies, now = gateway.ledger.studies, gateway.moment()
    sites = {site.name: site for site in gateway.settings.sites}
    arrived = [
        Due(one.key, Phase.INTAKE, work_of(one), is_first=one.revision == 0)
        for one in arriving(gateway)
        if one.site in sites and isinstance(arrival_at(sites[one.site], one, now), Completes)
    ]
    return arrived + [
        Due(key, Phase.INTAKE, f"{revision}", is_first=revision == 1)
        for key, revision in studies.unregistered()
    ]
