"""Which projects get the study: the coupling list, routing rules, or a person."""

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.assets.descriptions import COUPLING_LIST, OWNER, TRANSFER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import is_unanswered, tell_registry
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.routing import (
    RoutableStudy,
    RoutingDecision,
    TransferRequest,
    decide,
    request_problem,
)
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.resources.gateway import GatewayResource

_STAY = (TransferState.REQUESTED, TransferState.RETIRED)
"""What a newer revision of the study changes nothing about."""


@asset(
    partitions_def=STUDIES,
    deps=["incoming_record", COUPLING_LIST],
    group_name=TRANSFER,
    kinds={"redcap"},
    owners=[OWNER],
    tags=stage_tags("routing"),
    retry_policy=NETWORK_RETRIES,
)
def transfer_decision(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """Where the study goes: matching coupling entries (newest first), else routing rules, else held for a person.

    Every decision is a transfer: one study into one project under one participant and event, a row of `transfers`
    in REDCap's Incoming. A study that nothing claims is held for assignment (`fiona assign`), which is a decision
    too, and no failure. A newer revision of the study renews its transfers, so that late images follow the others.
    """
    with reporting_failures():
        ledger, now = gateway.ledger, gateway.now()
        study = ledger.studies.get(context.partition_key)
        projects = gateway.projects()
        existing = ledger.transfers.of_study(study.key)
        decision, note = _decide(gateway, study, projects, existing)
        for request in decision.requests:
            ledger.transfers.request(study.key, request, now=now, run_id=context.run.run_id)
        for transfer in existing:
            if transfer.revision < study.revision and transfer.state not in _STAY:
                ledger.transfers.set_state(
                    transfer.id,
                    TransferState.REQUESTED,
                    now=now,
                    reason=f"revision {study.revision}",
                    generation=transfer.generation,  # unless it was requested, or retired, meanwhile
                    run_id=context.run.run_id,
                )
        transfers = ledger.transfers.of_study(study.key)
        held = None if transfers else decision.held_reason
        ledger.studies.route(study.key, study.revision, held, now=now, run_id=context.run.run_id)
        tell_registry(gateway, study, context.log)
        return MaterializeResult(
            metadata={
                "decision": held or "transfer",
                "revision": study.revision,
                "transfers": len(transfers),
                "projects": Value.md(
                    "\n".join(f"- {t.project} ({t.source}): {t.state}" for t in transfers) or "none"
                ),
                **({"note": note} if note else {}),
            }
        )


def _decide(
    gateway: GatewayResource, study: StudyRecord, projects: dict[str, Project], existing: list[Transfer]
) -> tuple[RoutingDecision, str]:
    """The decision; when REDCap is down, work that is already decided goes on."""
    registry = gateway.registry
    if registry is None:
        return RoutingDecision((), "no REDCap is configured: waiting for assignment"), ""
    try:
        asked = [
            one
            for one in registry.pending_transfers(study.study_instance_uid)
            if is_unanswered(one, existing)
        ]
        coupling, rules = registry.coupling_entries(), registry.routing_rules()
    except Transient:
        if existing:
            return RoutingDecision((), ""), "REDCap did not answer; known transfers go on"
        raise
    decision = decide(routable(study), coupling, rules, projects)
    by_hand, problems = [], []
    for pending in asked:
        request = TransferRequest(
            pending.project, pending.participant, pending.event, "assign", "REDCap", pending.requested_by
        )
        problem = request_problem(request, projects)
        if problem:
            problems.append(f"assignment in REDCap: {problem}")
        else:
            by_hand.append(request)
    requests = (*decision.requests, *by_hand)
    reason = "" if requests else "; ".join([*problems, decision.held_reason])
    return RoutingDecision(requests, reason), "; ".join(problems)


def routable(study: StudyRecord) -> RoutableStudy:
    """The part of a study that routing may look at."""
    return RoutableStudy(
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number,
        patient_id=study.patient_id,
        patient_name=study.patient_name,
        calling_ae=study.calling_ae,
        called_ae=study.called_ae,
    )
