"""Results: series that a workstation made of released copies, and sent back.

They carry the Study Instance UID and participant of the copies, whose study they belong to. FIONA gave them the
original's UID and date and sent them through everything again (createTransferRequestsForProcessed.py, fiona-behaviour
3.7), which broke their references. Here they go into the same project, participant and event, through the project's own
profile and the whole of verification; only UIDs and days of the copies stay as they are (`domain.deid.origin`), and
whatever was taken out of the copies' originals is looked for in them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fiona_dagster.domain.project import Project
from fiona_dagster.domain.routing import RoutableStudy, RoutingDecision, TransferRequest, request_problem
from fiona_dagster.domain.transfer import Transfer, TransferState

SOURCES_GONE = (
    "a result whose originals were cleaned up: whom it names cannot be searched for; "
    "send the original study again, then try again"
)
SOURCE_UNREADABLE = "a result of which an original cannot be read: whom it names cannot be searched for"
WITHOUT_SOURCE = "a result without the copies that it was made of"
OUR_OWN_COPY = "one of our own copies came back with results"


@dataclass(frozen=True)
class Returned:
    """A study under the UID of released copies: how many instances it has, and how many are those copies themselves."""

    instances: int
    known_copies: int


def decide_result(
    study: RoutableStudy,
    sources: Sequence[Transfer],
    returned: Returned,
    projects: Mapping[str, Project],
    *,
    archives: Collection[str],
    today: str,
) -> RoutingDecision:
    """Where results go: into the transfers whose copies they were made of.

    Args:
        study: that came under the Study Instance UID of copies.
        sources: the transfers that released these copies.
        returned: what of it is new.
        projects: by name.
        archives: AE titles of research archives, which send copies and make no results.
        today: ISO day.
    """
    if study.calling_ae.strip() in archives:
        return RoutingDecision((), "our own copies, sent by the research PACS: a person decides")
    if returned.instances <= returned.known_copies:
        return RoutingDecision((), "our own copies came back, nothing is new")
    requests, reasons = [], []
    for source in sources:
        if source.state is TransferState.RETIRED:
            reasons.append(f"made of copies for {source.project} that were retired")
            continue
        if study.patient_id.strip() != source.participant:
            reasons.append(
                f"it has the Study Instance UID of copies for {source.project}, but another PatientID"
            )
            continue
        request = TransferRequest(source.project, source.participant, source.event, "result", "result")
        problem = request_problem(request, dict(projects), today=today)
        if problem:
            reasons.append(f"result: {problem}")
        else:
            requests.append(request)
    return RoutingDecision(tuple(requests), "" if requests else "; ".join(reasons))
