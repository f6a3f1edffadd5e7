from __future__ import annotations

from dataclasses import replace

from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.project_life import ProjectLife
from fiona_dagster.domain.results import Returned, decide_result
from fiona_dagster.domain.routing import RoutableStudy, RoutingDecision
from fiona_dagster.domain.transfer import Transfer, TransferState

STUDY = RoutableStudy("2.25.7", "", "H001", "H001", "WORKSTATION", "FIONA")
SOURCE = Transfer(
    1, "key", StudyKey("20260101-aaaaaaaaaaaa"), "HEARTS", "H001", "Baseline", "coupling", TransferState.DELIVERED,
    "", 1, 1, 0, 1, 0.0, "", 0.0, "",
)  # fmt: skip
HEARTS = Project("HEARTS", participant_pattern=r"H\d{3}")


def decided(
    study: RoutableStudy = STUDY, source: Transfer = SOURCE, project: Project = HEARTS, known: int = 0
) -> RoutingDecision:
    return decide_result(
        study, [source], Returned(3, known), {"HEARTS": project}, archives={"ARCHIVE"}, today="2026-03-10"
    )


def test_results_follow_the_copies_that_they_were_made_of() -> None:
    (request,) = decided().requests
    assert (request.project, request.participant, request.event, request.source) == (
        "HEARTS",
        "H001",
        "Baseline",
        "result",
    )
    assert len(decided(known=2).requests) == 1


def test_what_is_no_result_waits_for_a_person_and_says_nothing_of_the_patient() -> None:
    closed = replace(HEARTS, life=ProjectLife(approval_ends="2026-03-01"))
    for decision, reason in (
        (decided(replace(STUDY, patient_id="10106112345")), "another PatientID"),
        (decided(replace(STUDY, calling_ae="ARCHIVE ")), "research PACS"),
        (decided(known=3), "nothing is new"),
        (decided(source=replace(SOURCE, state=TransferState.RETIRED)), "retired"),
        (decided(project=closed), "approval of project HEARTS ended"),
    ):
        assert decision.requests == ()
        assert reason in decision.held_reason
        assert "10106112345" not in decision.held_reason
