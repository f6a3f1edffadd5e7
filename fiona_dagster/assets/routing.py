"""Which projects get the study: the coupling list, routing rules, or a person."""

import logging
import time
from dataclasses import dataclass, replace

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import COUPLING_LIST, OWNER, TRANSFER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import Log, is_unanswered, tell_registry
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.registration import PendingTransfer
from fiona_dagster.domain.results import Returned, decide_result
from fiona_dagster.domain.routing import (
    RoutableStudy,
    RoutingDecision,
    TransferRequest,
    decide,
    request_problem,
)
from fiona_dagster.domain.transfer import CLEANED_UP, Transfer, TransferState
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
    """Where the study goes: matching coupling entries (newest first), else routing rules, else auto-ID, else a person.

    Every decision is a transfer: one study into one project under one participant and event, a row of `transfers`
    in REDCap's Incoming. A study that nothing claims is held for assignment (`fiona assign`), which is a decision
    too, and no failure. A newer revision of the study renews its transfers, so that late images follow the others,
    unless the project takes no new data any more. What a workstation made of released copies follows their study.
    """
    with reporting_failures():
        spent = Spent()
        ledger, now = gateway.ledger, gateway.now()
        study = ledger.studies.get(context.partition_key)
        projects = gateway.projects()
        existing = ledger.transfers.of_study(study.key)
        found = _decide(gateway, study, projects, existing)
        decision = _with_auto_ids(gateway, study, projects, found.decision)
        for request in decision.requests:
            transfer = ledger.transfers.request(study.key, request, now=now, run_id=context.run.run_id)
            if study.purged_at is not None and transfer.state == TransferState.REQUESTED:
                ledger.transfers.set_state(transfer.id, TransferState.HELD, now=now, reason=CLEANED_UP,
                                           run_id=context.run.run_id)  # fmt: skip
        _tell_use(gateway, study, found.fresh_entries, context.log)
        _tell_refusals(gateway, found.refused, context.log)
        for transfer in existing:
            if transfer.revision < study.revision and transfer.state not in _STAY:
                project = projects.get(transfer.project)
                closed = project.closed_problem(day_of(now)) if project else None
                ledger.transfers.set_state(
                    transfer.id,
                    TransferState.HELD if closed else TransferState.REQUESTED,
                    now=now,
                    reason=closed or f"revision {study.revision}",
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
                **({"note": found.note} if found.note else {}),
                **spent.metadata,
            }
        )


@dataclass(frozen=True)
class _Found:
    """A decision, what is to be said of it, and the coupling entries that it uses for the first time."""

    decision: RoutingDecision
    note: str = ""
    fresh_entries: tuple[str, ...] = ()
    refused: tuple[tuple[PendingTransfer, str], ...] = ()
    """Requests in REDCap that cannot be carried out, and why."""


def _decide(
    gateway: GatewayResource, study: StudyRecord, projects: dict[str, Project], existing: list[Transfer]
) -> _Found:
    """The decision; when REDCap is down, work that is already decided goes on."""
    result = result_decision(gateway, study, projects)
    if result is not None and result.requests:
        return _Found(result)
    registry = gateway.registry
    if registry is None:
        return _Found(result or RoutingDecision((), "no REDCap is configured: waiting for assignment"))
    try:
        asked = [
            one
            for one in registry.pending_transfers(study.study_instance_uid)
            if is_unanswered(one, existing)
        ]
        coupling, rules = registry.coupling_entries(), registry.routing_rules()
    except Transient:
        if existing:
            return _Found(RoutingDecision((), ""), "REDCap did not answer; known transfers go on")
        raise
    today = day_of(gateway.now())
    decision = result or decide(
        routable(study, gateway.ledger), coupling, rules, projects,
        today=today, coupled_on=coupled_on(study, today),
    )  # fmt: skip
    if existing:
        decision = replace(decision, auto_id=())  # auto-ID names what nobody claimed
    by_hand, problems, refused = [], [], []
    for pending in asked:
        request = TransferRequest(
            pending.project, pending.participant, pending.event, "assign", "REDCap", pending.requested_by
        )
        problem = request_problem(request, projects, today=today)
        if problem:
            problems.append(f"assignment in REDCap: {problem}")
            refused.append((pending, problem))
        else:
            by_hand.append(request)
    requests = (*decision.requests, *by_hand)
    auto_id = () if requests else decision.auto_id
    reason = "" if requests or auto_id else "; ".join([*problems, decision.held_reason])
    used = {one.record_id for one in coupling if one.used}
    fresh = tuple(
        number
        for one in requests
        if one.source == "coupling" and (number := one.rule.split()[-1]) not in used
    )
    return _Found(RoutingDecision(requests, reason, auto_id), "; ".join(problems), fresh, tuple(refused))


def result_decision(
    gateway: GatewayResource, study: StudyRecord, projects: dict[str, Project]
) -> RoutingDecision | None:
    """Where a study goes that came under the UID of copies that we released; None for any other."""
    ledger = gateway.ledger
    sources = [ledger.transfers.get(one) for one in ledger.projects.sources_of_copy(study.study_instance_uid)]
    # with UIDs retained a study's copies have its own UID
    sources = [one for one in sources if one.study_key != study.key]
    if not sources:
        return None
    uids = [one.sop_instance_uid for one in ledger.studies.instances(study.key)]
    pacs = gateway.settings.research_pacs
    return decide_result(
        routable(study, ledger), sources, Returned(len(set(uids)), len(ledger.projects.copies_among(uids))), projects,
        archives={pacs.ae_title} if pacs else set(), today=day_of(gateway.now()),
    )  # fmt: skip


def _with_auto_ids(
    gateway: GatewayResource, study: StudyRecord, projects: dict[str, Project], decision: RoutingDecision
) -> RoutingDecision:
    """The decision with a participant for every project that names the patient itself."""
    registry = gateway.registry
    if not decision.auto_id or registry is None:
        return decision
    from fiona_dagster.adapters.redcap.auto_ids import participant_of

    requests, reasons = list(decision.requests), []
    for name in decision.auto_id:
        try:
            participant = participant_of(
                gateway.ledger, registry, projects[name], study.patient_id, gateway.keyring.site_key(),
                now=gateway.now(),
            )  # fmt: skip
        except Permanent as error:
            reasons.append(f"auto-ID of {name}: {error}")
            continue
        requests.append(TransferRequest(name, participant, "", "autoid", f"auto-ID {name}"))
    return RoutingDecision(tuple(requests), "" if requests else "; ".join(reasons))


def _tell_use(
    gateway: GatewayResource, study: StudyRecord, entries: tuple[str, ...], log: Log | logging.Logger
) -> None:
    """Note in REDCap which entries were used, and the participants that were given; missing it stops nothing."""
    registry = gateway.registry
    if registry is None:
        return
    from fiona_dagster.adapters.redcap.auto_ids import tell_auto_ids

    try:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(gateway.now()))
        registry.mark_coupling_used(entries, study.study_instance_uid, when)
        tell_auto_ids(gateway.ledger, registry)
    except FionaError as error:
        log.warning("REDCap was not told which entries were used: %s", error)


def _tell_refusals(
    gateway: GatewayResource, refused: tuple[tuple[PendingTransfer, str], ...], log: Log | logging.Logger
) -> None:
    """Tell those who asked in REDCap, which is all that they see; missing it stops nothing."""
    registry = gateway.registry
    if registry is None:
        return
    try:
        for asked, problem in refused:
            registry.refuse_request(asked, problem)
    except FionaError as error:
        log.warning("REDCap was not told of a request that cannot be carried out: %s", error)


def day_of(at: float) -> str:
    """The local day (ISO) of a moment in seconds since the epoch: approvals and entries end by the calendar."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def coupled_on(study: StudyRecord, today: str) -> str:
    """The day that entries are looked at for a study: its arrival, until it was routed, so that an outage of REDCap
    lets no entry expire before it was read; today afterwards.
    """
    waits = study.routed_revision == 0 and study.arrived_at is not None
    return min(today, day_of(study.arrived_at or 0.0)) if waits else today


def routable(study: StudyRecord, ledger: Ledger) -> RoutableStudy:
    """The part of a study that routing may look at."""
    return RoutableStudy(
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number,
        patient_id=study.patient_id,
        patient_name=study.patient_name,
        calling_ae=study.calling_ae,
        called_ae=study.called_ae,
        modalities=frozenset(one.modality for one in ledger.studies.series(study.key)),
    )
