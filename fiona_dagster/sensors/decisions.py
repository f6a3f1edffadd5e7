"""Registered studies are routed, and requested transfers carried out: the transfer phase."""

import hashlib
from collections.abc import Sequence

from dagster import DefaultSensorStatus, SensorEvaluationContext, SensorResult, SkipReason, sensor

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.assets.registry_updates import is_unanswered
from fiona_dagster.assets.routing import coupled_on, day_of, result_decision, routable
from fiona_dagster.domain.coupling import LIFE_DAYS, CouplingEntry
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.identifiers import StudyKey
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
    description="Requests the transfer phase of studies for which REDCap has an answer now.",
)
def late_decisions(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests the transfer phase of studies for which REDCap has an answer now.

    A coupling entry, a routing rule or an assignment that was made after the study arrived counts as one made before;
    a coupling entry also after the study went elsewhere.
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
        for key, revision, generation in ledger.transfers.studies_with_work(
            TransferState.REQUESTED, now=gateway.now()
        )
        if key not in seen
    ]
    return undecided + requested


def late_decisions_due(gateway: GatewayResource) -> list[Due]:
    """Work that REDCap shows: entries for held studies, and assignments that the ledger does not know."""
    ledger, registry = gateway.ledger, gateway.registry
    if registry is None:
        return []
    due: dict[str, Due] = {}
    coupling, today = registry.coupling_entries(), day_of(gateway.now())
    held = ledger.studies.held_for_assignment()
    behind = _newly_coupled(ledger, [one for one in coupling if not one.is_expired(today)])
    if held or behind:
        rules, projects = registry.routing_rules(), gateway.projects()
        for study in held:
            result = result_decision(gateway, study, projects)
            decision = result or decide(
                routable(study, ledger),
                coupling,
                rules,
                projects,
                today=today,
                coupled_on=coupled_on(study, today),
            )
            if decision.requests or (decision.auto_id and _is_recent(study, gateway.now())):
                name = _digest(*(request.key(study.key) for request in decision.requests), *decision.auto_id)
                due[study.key] = Due(study.key, Phase.TRANSFER, f"{study.revision}.{name}")
        for key in behind - {study.key for study in held}:
            study = ledger.studies.get(key)
            if study.registered_revision < study.revision or result_decision(gateway, study, projects):
                continue
            known = {one.transfer_key for one in ledger.transfers.of_study(key)}
            decision = decide(routable(study, ledger), coupling, [], projects, today=today)
            new = [request.key(key) for request in decision.requests if request.key(key) not in known]
            if new:
                due[key] = Due(StudyKey(key), Phase.TRANSFER, f"{study.revision}.{_digest(*new)}")
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


def _newly_coupled(ledger: Ledger, coupling: Sequence[CouplingEntry]) -> set[str]:
    """Keys of studies for which there is an entry that no transfer of theirs answers; two queries, however many."""
    by_name: dict[str, list[CouplingEntry]] = {}
    for entry in coupling:
        for name in filter(None, (entry.accession_number.strip(), entry.study_instance_uid.strip())):
            by_name.setdefault(name, []).append(entry)
    if not by_name:
        return set()
    return {
        one.key
        for one in ledger.projects.couplable(by_name)
        for name in {one.accession_number.strip(), one.study_instance_uid}
        for entry in by_name.get(name, ())
        if (entry.project, entry.participant, entry.event) not in one.transfers
    }


def _is_recent(study: StudyRecord, now: float) -> bool:
    """FIONA's auto-ID names studies of the last 14 days only: one that is switched on takes no old ones."""
    return now - (study.arrived_at or 0.0) < LIFE_DAYS * 86_400


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]
