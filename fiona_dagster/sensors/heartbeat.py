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
from fiona_dagster.resources.gateway import GatewayResource

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
    from fiona_dagster.adapters.receivers import answers as ask

    answers = ask(gateway.settings, "HEARTBEAT")
    state = "".join("1" if answer == "answers" else "0" for answer in answers.values())
    before, _, at = (context.cursor or ":0").partition(":")
    if state == before and now - float(at) < EVENT_EVERY_SECONDS:
        return SkipReason("; ".join(f"{name}: {answer}" for name, answer in answers.items()))
    event = AssetMaterialization(
        SCP_HEARTBEAT.key,
        description="every receiver answers" if "0" not in state else "a receiver does not answer",
        metadata={
            "answering": state.count("1"),
            "silent": state.count("0"),
            "sites": Value.json(answers),
            **_reception(gateway, since=now - EVENT_EVERY_SECONDS),
        },
    )
    return SensorResult(asset_events=[event], cursor=f"{state}:{now:.0f}")


def _reception(gateway: GatewayResource, *, since: float) -> dict[str, Value]:
    """What was refused since then, and how the listeners fare; a ledger that does not answer costs the telling."""
    from fiona_dagster.adapters.ledger.refusals import refusals_since
    from fiona_dagster.adapters.receivers import troubles
    from fiona_dagster.domain.errors import Transient

    found = {site.name: troubles(site) for site in gateway.settings.sites}
    lines = [f"- {name}: {sentence}" for name, sentences in found.items() for sentence in sentences]
    try:
        refused = refusals_since(gateway.ledger, since)
    except Transient:
        return {"troubles": Value.md("\n".join(lines) or "none")}
    reasons = [f"- {one.times} x {one.site}: 0x{one.status:04X} {one.reason}" for one in refused]
    return {
        "refused_in_an_hour": Value.int(sum(one.times for one in refused)),
        "refused_because": Value.md("\n".join(reasons) or "nothing refused"),
        "troubles": Value.md("\n".join(lines) or "none"),
    }
