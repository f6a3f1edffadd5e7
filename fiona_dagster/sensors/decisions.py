"""Registered studies are routed, and requested transfers carried out: the transfer phase."""

import hashlib

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from fiona_dagster.assets.registry_updates import is_unanswered
from fiona_dagster.assets.routing import routable
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.phases import Due, Phase
from fiona_dagster.domain.routing import decide
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.requests import requests_for


@sensor(
    job_name="transfer",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests the transfer phase of new revisions, requested transfers and resends.",
)
def decisions(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests the transfer phase of new revisions, of requested transfers and of resends."""
    return requests_for(transfers_due(gateway), context.instance, now=gateway.now())


@sensor(
    job_name="transfer",
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests the transfer phase of held studies for which REDCap has an answer now.",
)
def late_decisions(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests the transfer phase of held studies for which REDCap has an answer now.

    A coupling entry, a routing rule or an assignment that was made after the study arrived counts as one made before.
    """
    try:
        return requests_for(late_decisions_due(gateway), context.instance, now=gateway.now())
    except FionaError as error:
        return SkipReason(f"REDCap could not be asked: {error}")


def transfers_due(gateway: GatewayResource) -> list[Due]:
    """The transfer work that the ledger shows."""
    ledger = gateway.ledger
    undecided = [Due(key, Phase.TRANSFER, f"{revision}") for key, revision in ledger.studies.unrouted()]
    seen = {one.key for one in undecided}
    requested = [
        Due(key, Phase.TRANSFER, f"{revision}.{generation}")
        for key, revision, generation in ledger.transfers.studies_with_work(TransferState.REQUESTED)
        if key not in seen
    ]
    return undecided + requested


def late_decisions_due(gateway: GatewayResource) -> list[Due]:
    """Work that REDCap shows: entries for held studies, and assignments that the ledger does not know."""
    ledger, registry = gateway.ledger, gateway.registry
    if registry is None:
        return []
    due: dict[str, Due] = {}
    held = ledger.studies.held_for_assignment()
    if held:
        coupling, rules, projects = registry.coupling_entries(), registry.routing_rules(), gateway.projects()
        for study in held:
            decision = decide(routable(study), coupling, rules, projects)
            if decision.requests:
                name = _digest(*(request.key(study.key) for request in decision.requests))
                due[study.key] = Due(study.key, Phase.TRANSFER, f"{study.revision}.{name}")
    asked = registry.pending_transfers()
    by_uid = ledger.studies.by_uid({one.study_instance_uid for one in asked})
    for pending in asked:
        named = by_uid.get(pending.study_instance_uid)
        if named is None or named.registered_revision < named.revision:
            continue
        if is_unanswered(pending, ledger.transfers.of_study(named.key)):
            name = _digest(pending.project, pending.participant, pending.event, pending.requested_date)
            due[named.key] = Due(named.key, Phase.TRANSFER, f"{named.revision}.{name}")
    return list(due.values())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]
