from __future__ import annotations

import pytest

from fiona_dagster.domain.deid.conventions import check_request
from fiona_dagster.domain.deid.identifier_patterns import is_identity_number
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.participants import form_problem, names_patient, patient_terms
from fiona_dagster.domain.deid.residuals import vocabulary
from fiona_dagster.domain.deid.walk import walk
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.verification import participant_problem
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance, request
from tests.domain.deid.test_identifier_patterns import with_check_digits

PATIENT_NAME, PATIENT_ID, STUDY_ID = 0x00100010, 0x00100020, 0x00200010


def identity_number() -> str:
    number = next(filter(None, (with_check_digits(f"010190{n:03d}") for n in range(100, 200))))
    assert is_identity_number(number)
    return number


def terms(name: str = "Grønn-Berg^Åse", number: str = "PID4711999") -> set[str]:
    return patient_terms(PATIENT_NAME, name) | patient_terms(PATIENT_ID, number)


@pytest.mark.parametrize("around", ["{}", "P{}", "ID {}-1"])
def test_an_identity_number_is_no_participant(around: str) -> None:
    number = identity_number()
    assert "identity number" in (form_problem(around.format(number)) or "")
    assert "identity number" in (form_problem(around.format(f"{number[:6]} {number[6:]}")) or "")
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert form_problem(around.format(wrong)) is None


@pytest.mark.parametrize("participant", ["kari@example.org", "P1 kari(at)example.org"])
def test_an_address_is_no_participant(participant: str) -> None:
    assert "e-mail" in (form_problem(participant) or "")


@pytest.mark.parametrize("participant", ["19610203", "03021961", "1961-02-03", "3.2.1961", "3. februar 1961"])
def test_a_date_is_no_participant(participant: str) -> None:
    assert "a date" in (form_problem(participant) or "")


@pytest.mark.parametrize(
    "participant", ["P001", "BA-001", "2024-01", "HEART-2024-017", "Åse", "12345678901", "0042", "1.2", "A@1"]
)
def test_pseudonyms_have_no_problem(participant: str) -> None:
    assert form_problem(participant) is None


def test_every_way_of_a_participant_into_a_project_asks() -> None:
    problem = Project("HEART").participant_problem(identity_number())
    assert problem is not None
    assert "says nothing of the person" in problem


@pytest.mark.parametrize(
    "participant",
    [
        "PID4711999", "pid-4711999", "PID 4711 999", "X-PID4711999", "Grønn", "GROENN-01", "gronn_2", "Åse",
        "Aase", "berg", "Åse Grønn-Berg", "GrønnBerg^Åse",
    ],
)  # fmt: skip
def test_the_patients_number_and_name_are_found_however_they_are_written(participant: str) -> None:
    assert names_patient(participant, terms(), vocabulary())


@pytest.mark.parametrize("participant", ["P001", "PID4711998", "BERGEN-01", "BASE-1", "4711"])
def test_other_participants_are_not(participant: str) -> None:
    assert not names_patient(participant, terms(), vocabulary())


def test_a_short_number_counts_as_a_whole_only() -> None:
    assert names_patient("0042", terms(number="0042"), vocabulary())
    assert not names_patient("P00421", terms(number="0042"), vocabulary())
    assert not names_patient("P0000012", terms(number="000001"), vocabulary())


def test_words_of_the_standard_count_as_a_whole_only() -> None:
    assert "phantom" in vocabulary()
    assert names_patient("PHANTOM", terms("Phantom^Quality"), vocabulary())
    assert not names_patient("PHANTOM-01", terms("Phantom^Quality"), vocabulary())


def test_a_name_with_digits_is_a_code() -> None:
    assert patient_terms(PATIENT_NAME, "STROKE-017") == {"stroke017"}
    assert patient_terms(STUDY_ID, "STROKE-017") == set()


def test_a_participant_that_is_the_patient_is_held_where_the_project_has_no_naming_rule() -> None:
    values, other = OriginalValues(), OriginalValues()
    other.gather(walk(reread(ct_instance())))
    values.merge(other)
    for participant in ("77112233", "Zwingenberger", "OTTOKAR-1"):
        for rule, held in ((".+", True), (r"[\w-]*", True), (r"\d{8}|Zwingen\w+|OTTOKAR-\d", False)):
            asked = request(participant_pattern=rule)
            asked = type(asked)(asked.project, participant, asked.event, asked.folder)
            problem = participant_problem(values, asked)
            assert (problem is not None) is held
            assert participant not in (problem or "")
    assert participant_problem(values, request()) is None


def test_a_rule_that_the_participant_does_not_match_helps_nothing() -> None:
    values = OriginalValues()
    values.gather(walk(reread(ct_instance())))
    asked = request(participant_pattern=r"Z\d")
    assert participant_problem(values, type(asked)(asked.project, "77112233", "", asked.folder)) is not None


@pytest.mark.parametrize(
    "event", ["2024-05-17", "visit 17.05.2024", f"week 2 {identity_number()}", "a@example.org"]
)
def test_an_event_that_identifies_by_its_form_is_refused_wherever_it_comes_from(event: str) -> None:
    assert "the event" in (Project("HEART").event_problem(event) or "")
    asked = request()
    with pytest.raises(ConfigurationError, match="the event"):
        check_request(type(asked)(asked.project, "P001", event, asked.folder))


@pytest.mark.parametrize("event", ["", "baseline", "Year 2", "visit 12", "2 uker", "T1"])
def test_events_that_say_nothing_of_a_person_have_no_problem(event: str) -> None:
    assert Project("HEART").event_problem(event) is None


def test_an_event_or_a_profile_that_names_the_patient_is_held() -> None:
    values = OriginalValues()
    values.gather(walk(reread(ct_instance())))
    asked = request()
    for event in ("Ottokar Zwingenberger", "week 2 of 77112233"):
        problem = participant_problem(values, type(asked)(asked.project, "P001", event, asked.folder))
        assert problem is not None
        assert problem.startswith("the event")
        assert event not in problem
    assert participant_problem(values, asked, "Basic of Zwingenberger") is not None
    assert participant_problem(values, asked, "Basic") is None
