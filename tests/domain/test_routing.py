from dataclasses import replace

import pytest

from fiona_dagster.domain.project import Project
from fiona_dagster.domain.project_life import ProjectLife
from fiona_dagster.domain.routing import CouplingEntry, RoutableStudy, RoutingRule, TransferRequest, decide

STUDY = RoutableStudy("1.2.3", "ACC1", "NOR-007", "Hansen^Åse", "SCANNER1", "HEARTPRO")
PROJECTS = {
    name: Project(name, participant_pattern=r"P\d{3}|NOR-\d{3}") for name in ("HEART", "BRAINS")
}  # fmt: skip
RULE = RoutingRule("1", "HEART", active=True, incoming_ae="HEARTPRO", allowed_patient_id=r"NOR-\d+")


def entry(number: str, project: str = "HEART", participant: str = "P001", **values: str) -> CouplingEntry:
    return CouplingEntry(number, project, participant, **values)


def participants(*entries: CouplingEntry, rules: tuple[RoutingRule, ...] = ()) -> list[tuple[str, str]]:
    return [(r.project, r.participant) for r in decide(STUDY, entries, rules, PROJECTS).requests]


def test_a_study_is_coupled_by_accession_number_or_study_instance_uid() -> None:
    assert participants(entry("1", accession_number="ACC1")) == [("HEART", "P001")]
    assert participants(entry("1", study_instance_uid="1.2.3")) == [("HEART", "P001")]
    assert participants(entry("1", accession_number="ACC2")) == []


@pytest.mark.parametrize("field", ["allowed_patient_id", "allowed_patient_name"])
def test_a_rule_that_cannot_be_understood_is_named_where_it_would_have_been_asked(field: str) -> None:
    broken = replace(RULE, **{field: "NOR-(7"})
    decision = decide(STUDY, [], [broken], PROJECTS)
    assert decision.requests == ()
    column = {"allowed_patient_id": "patientid", "allowed_patient_name": "patientname"}[field]
    assert f"Routing 1: routing_allowed_{column} is not a regular expression" in decision.held_reason
    for elsewhere in (replace(broken, incoming_ae="OTHER"), replace(broken, active=False)):
        assert "Routing 1" not in decide(STUDY, [], [elsewhere], PROJECTS).held_reason
    assert participants(rules=(broken, replace(RULE, record_id="2"))) == [("HEART", "NOR-007")]


def test_blank_equals_nothing() -> None:
    blank = replace(STUDY, accession_number="", called_ae="", patient_id="")
    assert (
        decide(blank, [entry("1", accession_number="")], [replace(RULE, incoming_ae="")], PROJECTS).requests
        == ()
    )


def test_the_newest_entry_of_a_project_wins_whatever_the_order_of_the_list() -> None:
    old = entry("3", participant="P001", accession_number="ACC1", date="2026-11-01 10:00")
    new = entry("2", participant="P002", accession_number="ACC1", date="2026-11-02 09:00")
    assert participants(old, new) == participants(new, old) == [("HEART", "P002")]


def test_entries_of_one_minute_are_ordered_by_their_number() -> None:
    first = entry("9", participant="P001", accession_number="ACC1", date="2026-11-01 10:00")
    second = entry("10", participant="P002", accession_number="ACC1", date="2026-11-01 10:00")
    assert participants(first, second) == [("HEART", "P002")]


def test_one_study_may_go_to_several_projects() -> None:
    both = (entry("1", accession_number="ACC1"), entry("2", "BRAINS", "P009", study_instance_uid="1.2.3"))
    assert sorted(participants(*both)) == [("BRAINS", "P009"), ("HEART", "P001")]


def test_the_coupling_list_goes_before_the_rules() -> None:
    assert participants(entry("1", "BRAINS", "P009", accession_number="ACC1"), rules=(RULE,)) == [
        ("BRAINS", "P009")
    ]


def test_a_rule_takes_the_matched_patient_id_before_the_name() -> None:
    assert participants(rules=(RULE,)) == [("HEART", "NOR-007")]
    by_both = replace(RULE, allowed_patient_name="Hansen.*")
    assert participants(rules=(by_both,)) == [("HEART", "NOR-007")]


def test_a_rule_needs_the_called_or_the_calling_ae_title() -> None:
    assert participants(rules=(replace(RULE, incoming_ae="", sending_ae="SCANNER1"),)) == [
        ("HEART", "NOR-007")
    ]
    assert participants(rules=(replace(RULE, incoming_ae="OTHER"),)) == []
    assert participants(rules=(replace(RULE, active=False),)) == []


def test_a_rule_with_a_broken_pattern_matches_nothing() -> None:
    assert participants(rules=(replace(RULE, allowed_patient_id="("),)) == []


def test_what_cannot_be_carried_out_is_held_with_the_reason_and_without_the_participant() -> None:
    decision = decide(STUDY, [entry("7", participant="Åse", accession_number="ACC1")], (), PROJECTS)
    assert decision.requests == ()
    assert "CouplingList 7" in decision.held_reason
    assert "Åse" not in decision.held_reason
    unknown = decide(STUDY, [entry("8", "NOSUCH", accession_number="ACC1")], (), PROJECTS)
    assert "does not exist" in unknown.held_reason
    resting = {**PROJECTS, "HEART": replace(PROJECTS["HEART"], active=False)}
    assert "not active" in decide(STUDY, [entry("9", accession_number="ACC1")], (), resting).held_reason


def test_a_study_that_nothing_claims_waits_for_a_person() -> None:
    assert "waiting for assignment" in decide(STUDY, [], [], PROJECTS).held_reason


def test_the_idempotency_key_is_stable_and_differs_by_every_part() -> None:
    request = TransferRequest("HEART", "P001", "Baseline", "assign")
    assert request.key("k") == replace(request, source="coupling", rule="x").key("k")
    others = {
        request.key("l"),
        replace(request, project="BRAINS").key("k"),
        replace(request, event="").key("k"),
    }
    assert request.key("k") not in others


def test_an_entry_that_has_expired_is_named_and_does_not_count() -> None:
    old = entry("3", accession_number="ACC1", date="2026-03-01 10:00")
    decision = decide(STUDY, [old], [], PROJECTS, today="2026-03-16")
    assert decision.requests == ()
    assert decision.held_reason == "CouplingList 3: expired after 2026-03-15"
    assert decide(STUDY, [old], [], PROJECTS, today="2026-03-15").requests
    # the study had arrived in time, and REDCap did not answer before
    assert decide(STUDY, [old], [], PROJECTS, today="2026-03-16", coupled_on="2026-03-14").requests


def test_a_rule_for_other_modalities_does_not_apply() -> None:
    rule = replace(RULE, modalities=frozenset({"MR"}))
    assert decide(replace(STUDY, modalities=frozenset({"CT"})), [], [rule], PROJECTS).requests == ()
    assert decide(replace(STUDY, modalities=frozenset({"MR", "SR"})), [], [rule], PROJECTS).requests


def test_a_rule_makes_the_participant_from_named_groups() -> None:
    rule = replace(RULE, allowed_patient_id=r"NOR-(?P<number>\d+)", participant_template="P{number}")
    assert participants(rules=(rule,)) == [("HEART", "P007")]
    for template in ("P{other}", "P{number"):
        decision = decide(STUDY, [], [replace(rule, participant_template=template)], PROJECTS)
        assert decision.requests == ()
        assert "routing_subject_template" in decision.held_reason


def test_auto_id_names_what_nothing_else_claims() -> None:
    projects = {**PROJECTS, "BRAINS": replace(PROJECTS["BRAINS"], auto_id_ae_title="BRAINAUTO")}
    study = replace(STUDY, called_ae="BRAINAUTO ")
    assert decide(study, [], [], projects).auto_id == ("BRAINS",)
    assert decide(study, [entry("1", accession_number="ACC1")], [], projects).auto_id == ()
    assert decide(STUDY, [], [], projects).auto_id == ()
    nobody = decide(replace(study, patient_id=" "), [], [], projects)
    assert nobody.auto_id == ()
    assert "no PatientID" in nobody.held_reason


def test_a_project_without_a_valid_approval_gets_nothing() -> None:
    life = ProjectLife(approval_ends="2026-03-01")
    projects = {**PROJECTS, "HEART": replace(PROJECTS["HEART"], life=life, auto_id_ae_title="HEARTPRO")}
    coupled = [entry("1", accession_number="ACC1")]
    assert decide(STUDY, coupled, [RULE], projects, today="2026-03-01").requests
    decision = decide(STUDY, coupled, [RULE], projects, today="2026-03-02")
    assert not decision.is_made
    assert decision.held_reason.count("the approval of project HEART ended on 2026-03-01") == 3
