"""To which project does a study go: the coupling list first, then routing rules, else a person decides.

Sources: fiona-behaviour 3.1 to 3.3 (CouplingList, Routing, populateIncoming, populateAutoID).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fiona_dagster.domain.coupling import CouplingEntry
from fiona_dagster.domain.project import Project

__all__ = ["CouplingEntry", "RoutableStudy", "RoutingDecision", "RoutingRule", "TransferRequest", "decide"]
_GROUP = re.compile(r"\{([A-Za-z_]\w*)\}")
Source = Literal["assign", "coupling", "routing", "autoid", "result", "resend"]


@dataclass(frozen=True)
class RoutingRule:
    """A row of Routing; regular expressions are matched from the beginning, as FIONA does; blank never matches."""

    record_id: str
    project: str
    active: bool
    incoming_ae: str = ""  # called AE title
    sending_ae: str = ""  # calling AE title
    allowed_patient_id: str = ""
    allowed_patient_name: str = ""
    event: str = ""
    priority: int = 0
    participant_template: str = (
        ""  # with `{name}` for the named groups of the expression; "" is the whole value
    )
    modalities: frozenset[str] = frozenset()  # only studies that have one of them; none is any


@dataclass(frozen=True)
class TransferRequest:
    """One study into one project under one participant and event: a row of `transfers` in Incoming."""

    project: str
    participant: str
    event: str
    source: Source
    rule: str = ""
    requested_by: str = ""

    def key(self, study_key: str) -> str:
        """The idempotency key (`transfer_key`): the same request always has the same key, without patient data."""
        text = "\x1f".join((study_key, self.project, self.participant, self.event))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class RoutableStudy:
    """What routing may look at."""

    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str
    calling_ae: str
    called_ae: str
    modalities: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RoutingDecision:
    """The requests for a study, or why it waits for a person. Reasons hold no patient data.

    `auto_id`: projects that claim it and give its patient a participant of their own making.
    """

    requests: tuple[TransferRequest, ...]
    held_reason: str = ""
    auto_id: tuple[str, ...] = ()

    @property
    def is_made(self) -> bool:
        """Whether the study goes somewhere."""
        return bool(self.requests or self.auto_id)


def decide(
    study: RoutableStudy,
    coupling: Sequence[CouplingEntry],
    rules: Sequence[RoutingRule],
    projects: dict[str, Project],
    *,
    today: str = "",
    coupled_on: str = "",
) -> RoutingDecision:
    """Decide where a study goes.

    All matching coupling entries count, newest first, one a project (several projects for one study work);
    without any, the routing rules by priority, one request a project; without any, auto-ID by called AE title.

    Args:
        study: what may be looked at.
        coupling: the coupling list.
        rules: the routing rules.
        projects: by name.
        today: ISO day that approvals and states of projects are looked at on; '' does not ask for them.
        coupled_on: ISO day that entries must not have expired before; '' is `today`.
    """
    reasons: list[str] = []
    requests: dict[str, TransferRequest] = {}
    for entry in sorted(coupling, key=_newest_first):
        if entry.project in requests or not _coupled(study, entry):
            continue
        if entry.is_expired(coupled_on or today):
            reasons.append(f"CouplingList {entry.record_id}: expired after {entry.last_day}")
            continue
        request = TransferRequest(
            entry.project, entry.participant, entry.event, "coupling", f"CouplingList {entry.record_id}"
        )
        _admit(request, projects, requests, reasons, today)
    if not requests:
        for rule in sorted(rules, key=lambda r: (-r.priority, r.record_id)):
            if not rule.active or rule.project in requests or not _addressed(study, rule):
                continue
            problem = rule_problem(rule)
            participant = _routed(study, rule) if problem is None else None
            if problem:
                reasons.append(problem)
            elif participant is not None:
                request = TransferRequest(
                    rule.project, participant, rule.event, "routing", f"Routing {rule.record_id}"
                )
                _admit(request, projects, requests, reasons, today)
    auto_id = () if requests else _auto_id_projects(study, projects, reasons, today)
    if requests or auto_id:
        return RoutingDecision(tuple(requests.values()), auto_id=auto_id)
    return RoutingDecision(
        (), "; ".join(reasons) or "no coupling entry and no routing rule: waiting for assignment"
    )


def request_problem(request: TransferRequest, projects: dict[str, Project], *, today: str = "") -> str | None:
    """Why a request cannot be carried out, or None. Never names the participant.

    `today`: ISO day; without it the project's approval is not looked at.
    """
    project = projects.get(request.project)
    if project is None:
        known = ", ".join(sorted(name for name, one in projects.items() if one.active)) or "none"
        return (
            f"{request.rule or request.source} names the project '{request.project}', which does not exist "
            f"(active projects: {known})"
        )
    closed = project.closed_problem(today) if today else None
    if closed is None and not project.active:
        closed = f"project {project.name} is not active"
    return closed or project.participant_problem(request.participant) or project.event_problem(request.event)


def rule_problem(rule: RoutingRule) -> str | None:
    """Why a rule cannot be understood, or None. Such a rule never applies, not even by its other expression."""
    for field, pattern in (
        ("routing_allowed_patientid", rule.allowed_patient_id),
        ("routing_allowed_patientname", rule.allowed_patient_name),
    ):
        try:
            re.compile(pattern)
        except re.error as error:
            return f"Routing {rule.record_id}: {field} is not a regular expression ({error.msg})"
        missing = _template_groups(rule) - set(re.compile(pattern).groupindex) if pattern else set()
        if missing:
            return f"Routing {rule.record_id}: {field} has no group that routing_subject_template names"
    if rule.participant_template.count("{") != len(_GROUP.findall(rule.participant_template)):
        return f"Routing {rule.record_id}: routing_subject_template is not understood, write {{group}}"
    return None


def _admit(
    request: TransferRequest,
    projects: dict[str, Project],
    requests: dict[str, TransferRequest],
    reasons: list[str],
    today: str,
) -> None:
    problem = request_problem(request, projects, today=today)
    if problem:
        reasons.append(f"{request.rule}: {problem}")
    else:
        requests[request.project] = request


def _auto_id_projects(
    study: RoutableStudy, projects: dict[str, Project], reasons: list[str], today: str
) -> tuple[str, ...]:
    """Projects whose auto-ID the study was addressed to. Without a PatientID nobody can tell one patient again."""
    claimed = []
    for name, project in sorted(projects.items()):
        if not project.auto_id_ae_title or project.auto_id_ae_title != study.called_ae.strip():
            continue
        closed = project.closed_problem(today) if today else None
        if closed:
            reasons.append(f"auto-ID: {closed}")
        elif not study.patient_id.strip():
            reasons.append(f"auto-ID of {name}: the study has no PatientID")
        else:
            claimed.append(name)
    return tuple(claimed)


def _newest_first(entry: CouplingEntry) -> tuple[tuple[int, ...], int]:
    digits = tuple(-int(part) for part in re.findall(r"\d+", entry.date))
    number = int(entry.record_id) if entry.record_id.isdigit() else 0
    return digits or (0,), -number


def _coupled(study: RoutableStudy, entry: CouplingEntry) -> bool:
    """Equal accession number or Study Instance UID; blank equals nothing (FIONA let blank AE equal blank AE)."""
    return bool(
        (entry.accession_number and entry.accession_number.strip() == study.accession_number.strip())
        or (entry.study_instance_uid and entry.study_instance_uid.strip() == study.study_instance_uid)
    )


def _addressed(study: RoutableStudy, rule: RoutingRule) -> bool:
    """Whether one of the rule's AE titles is the study's, and the study has a modality that the rule wants."""
    called = bool(rule.incoming_ae) and rule.incoming_ae.strip() == study.called_ae.strip()
    calling = bool(rule.sending_ae) and rule.sending_ae.strip() == study.calling_ae.strip()
    wanted = not rule.modalities or bool(rule.modalities & study.modalities)
    return (called or calling) and wanted


def _routed(study: RoutableStudy, rule: RoutingRule) -> str | None:
    """The participant that a rule gives, or None. PatientID wins over PatientName."""
    for pattern, value in (
        (rule.allowed_patient_id, study.patient_id),
        (rule.allowed_patient_name, study.patient_name),
    ):
        found = re.match(pattern, value) if pattern and value else None
        if found and rule.participant_template:
            groups = {name: text or "" for name, text in found.groupdict().items()}
            return rule.participant_template.format_map(groups)
        if found:
            return value.strip()
    return None


def _template_groups(rule: RoutingRule) -> set[str]:
    return set(_GROUP.findall(rule.participant_template))
