from __future__ import annotations

from dataclasses import replace

import pytest

from fiona_dagster.domain.auto_id import auto_id_hash, fiona_hash
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import project_from_fields
from fiona_dagster.domain.project_life import (
    STEPS,
    EndStep,
    EndType,
    LifeState,
    ProjectLife,
    next_step,
    step_problem,
)

LIFE = ProjectLife(approval_begins="2026-01-10", approval_ends="2026-12-31")
AUTO = {"project_use_autoid": "1", "project_autoid_aetitle": "A"}
ROW = {"project_name": "HEARTS", "project_patient_naming": r"H\d{3}"}


@pytest.mark.parametrize(
    ("today", "state"),
    [
        ("2026-01-09", LifeState.PLANNED),
        ("2026-01-10", LifeState.ACTIVE),
        ("2026-12-31", LifeState.ACTIVE),
        ("2027-01-01", LifeState.EXPIRED),
    ],
)
def test_an_approval_opens_and_closes_a_project_by_the_day(today: str, state: LifeState) -> None:
    assert LIFE.state(today) is state
    assert (LIFE.problem("HEARTS", today) is None) == (state is LifeState.ACTIVE)


def test_what_a_person_decided_goes_before_the_approval() -> None:
    assert replace(LIFE, active=False).state("2026-06-01") is LifeState.ARCHIVED
    assert replace(LIFE, active=False, locked=True).state("2026-06-01") is LifeState.LOCKED
    assert replace(LIFE, locked=True, ended=True).state("2026-06-01") is LifeState.ENDED
    assert "takes no new data" in str(replace(LIFE, active=False).problem("HEARTS", "2026-06-01"))


@pytest.mark.parametrize(
    ("today", "notice"),
    [("2026-07-03", None), ("2026-07-04", 180), ("2026-10-02", 90), ("2026-12-01", 30), ("2026-12-31", 30),
     ("2027-01-01", 0)],
)  # fmt: skip
def test_notice_is_given_180_90_and_30_days_before_the_end(today: str, notice: int | None) -> None:
    assert LIFE.notice(today) == notice
    assert replace(LIFE, active=False).notice(today) is None
    assert ProjectLife().notice(today) is None


def test_the_steps_of_an_end_come_one_after_the_other() -> None:
    done: list[EndStep] = []
    for step in STEPS:
        assert next_step(done) is step
        for later in STEPS[STEPS.index(step) + 1 :]:
            assert step_problem(later, done) == f"before '{later}' comes '{step}'"
        assert step_problem(step, done) is None
        done.append(step)
    assert next_step(done) is None
    assert step_problem(EndStep.DELETED, done) is None


def test_a_projects_life_is_read_from_its_fields() -> None:
    row = {**ROW, "project_rec_start_date": "2026-01-10", "project_rec_end_date": "2026-12-31", "project_end_type": "1",
           "project_token_ref": "env:HEARTS", "project_redcap_id": "17", "project_annotation_type": "0"}  # fmt: skip
    project = project_from_fields(row, [], place="x")
    assert project.life == replace(LIFE, end_type=EndType.ANONYMIZE)
    assert (project.redcap_token_ref, project.redcap_id, project.writes_imaging) == ("env:HEARTS", 17, False)
    assert project.closed_problem("2026-05-05") is None
    assert project_from_fields(ROW, [], place="x").life.end_type is EndType.DELETE


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"project_rec_end_date": "31.12.2026"}, "is not a date"),
        ({"project_rec_start_date": "2026-02-01", "project_rec_end_date": "2026-01-01"}, "lies before"),
        ({"project_end_type": "3"}, "project_end_type of HEARTS is 3"),
        ({"project_redcap_id": "x"}, "not a whole number"),
        ({"project_use_autoid": "1"}, "project_autoid_aetitle is no AE title"),
        ({"project_use_autoid": "maybe", "project_autoid_aetitle": "A"}, "project_autoid_aetitle"),
        ({**AUTO, "project_patient_naming": r"H\d+"}, "without a limit"),
        ({**AUTO, "project_patient_naming": r"(?!H)H\d"}, "no name that its rule makes"),
    ],
)  # fmt: skip
def test_a_project_whose_life_or_auto_id_cannot_be_understood_does_not_load(
    fields: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        project_from_fields({**ROW, **fields}, [], place="x")


def test_a_project_with_auto_id_names_its_ae_title() -> None:
    row = {**ROW, "project_use_autoid": "1", "project_autoid_aetitle": "HEARTAUTO"}
    assert project_from_fields(row, [], place="x").auto_id_ae_title == "HEARTAUTO"
    assert project_from_fields({**row, "project_use_autoid": "0"}, [], place="x").auto_id_ae_title == ""


def test_a_patients_hash_differs_by_project_and_key_and_an_empty_number_is_nobody() -> None:
    found = {auto_id_hash(name, "10106112345", key) for name in ("A", "B") for key in (b"1", b"2")}
    assert len(found) == 4
    assert auto_id_hash("A", " 10106112345 ", b"1") in found
    assert auto_id_hash("A", "  ", b"1") == ""
    assert len(fiona_hash("10106112345")) == 128
