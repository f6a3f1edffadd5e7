"""To which project does a study go: the coupling list first, then routing rules, else a person decides.

Sources: fiona-behaviour 3.1 and 3.2 (CouplingList, Routing, populateIncoming).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fiona_dagster.domain.project import Project

Source = Literal["assign", "coupling", "routing", "resend"]


@dataclass(frozen=True)
class CouplingEntry:
    """A row of CouplingList. `date` is `cl_date` as text (`YYYY-MM-DD HH:MM`), `record_id` REDCap's number."""

    record_id: str
    project: str
    participant: str
    event: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    date: str = ""


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


@dataclass(frozen=True)
class RoutingDecision:
    """The requests for a study, or why it waits for a person. Reasons hold no patient data."""

    requests: tuple[TransferRequest, ...]
    held_reason: str = ""


def decide(
    study: RoutableStudy,
    coupling: Sequence[CouplingEntry],
    rules: Sequence[RoutingRule],
    projects: dict[str, Project],
) -> RoutingDecision:
    """Decide where a study goes.

    All matching coupling entries count, newest first, one a project (several projects for one study work);
    without any, the routing rules by priority, one request a project.
    """
    reasons: list[str] = []
    requests: dict[str, TransferRequest] = {}
    for entry in sorted(coupling, key=_newest_first):
        if entry.project in requests or not _coupled(study, entry):
            continue
        request = TransferRequest(
            entry.project, entry.participant, entry.event, "coupling", f"CouplingList {entry.record_id}"
        )
        _admit(request, projects, requests, reasons)
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
                _admit(request, projects, requests, reasons)
    if requests:
        return RoutingDecision(tuple(requests.values()))
    return RoutingDecision(
        (), "; ".join(reasons) or "no coupling entry and no routing rule: waiting for assignment"
    )


def request_problem(request: TransferRequest, projects: dict[str, Project]) -> str | None:
    """Why a request cannot be carried out, or None. Never names the participant."""
    project = projects.get(request.project)
    if project is None:
        known = ", ".join(sorted(name for name, one in projects.items() if one.active)) or "none"
        return (
            f"{request.rule or request.source} names the project '{request.project}', which does not exist "
            f"(active projects: {known})"
        )
    if not project.active:
        return f"project {project.name} is not active"
    return project.participant_problem(request.participant)


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
    return None


def _admit(
    request: TransferRequest,
    projects: dict[str, Project],
    requests: dict[str, TransferRequest],
    reasons: list[str],
) -> None:
    problem = request_problem(request, projects)
    if problem:
        reasons.append(f"{request.rule}: {problem}")
    else:
        requests[request.project] = request


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
    """Whether one of the rule's AE titles is the study's."""
    called = bool(rule.incoming_ae) and rule.incoming_ae.strip() == study.called_ae.strip()
    calling = bool(rule.sending_ae) and rule.sending_ae.strip() == study.calling_ae.strip()
    return called or calling


def _routed(study: RoutableStudy, rule: RoutingRule) -> str | None:
    """The participant that a rule gives, or None. PatientID wins over PatientName."""
    for pattern, value in (
        (rule.allowed_patient_id, study.patient_id),
        (rule.allowed_patient_name, study.patient_name),
    ):
        if pattern and value and re.match(pattern, value):
            return value.strip()
    return None
