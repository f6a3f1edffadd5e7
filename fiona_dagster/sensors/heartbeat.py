"""Do the receivers answer? (FIONA's heartbeat.sh, every minute.) Restarting them is the supervisor's work."""

from dagster import (
    AssetMaterialization,
    DefaultSensorStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster import MetadataValue as Value

from fiona_dagster.assets.housekeeping import SCP_HEARTBEAT
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.settings import Settings

EVENT_EVERY_SECONDS = 3600.0


@sensor(
    minimum_interval_seconds=60,
    default_status=DefaultSensorStatus.RUNNING,
    asset_selection=[SCP_HEARTBEAT.key],
    description="Asks every receiver by C-ECHO; an event when an answer changes, and once an hour.",
)
def heartbeat(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """C-ECHO to every site's receiver; an event when an answer changes, and once an hour."""
    now = gateway.now()
    answers = _answers(gateway.settings)
    state = "".join("1" if answer == "answers" else "0" for answer in answers.values())
    before, _, at = (context.cursor or ":0").partition(":")
    if state == before and now - float(at) < EVENT_EVERY_SECONDS:
        return SkipReason("; ".join(f"{name}: {answer}" for name, answer in answers.items()))
    event = AssetMaterialization(
        SCP_HEARTBEAT.key,
        description="every receiver answers" if "0" not in state else "a receiver does not answer",
        metadata={"answering": state.count("1"), "silent": state.count("0"), "sites": Value.json(answers)},
    )
    return SensorResult(asset_events=[event], cursor=f"{state}:{now:.0f}")


def _answers(settings: Settings) -> dict[str, str]:
    from fiona_dagster.adapters.dicom_scu import echo

    answers: dict[str, str] = {}
    for site in settings.sites:
        try:
            echo(site.peer, "HEARTBEAT")
            answers[site.name] = "answers"
        except FionaError as error:
            answers[site.name] = str(error)
    return answers
