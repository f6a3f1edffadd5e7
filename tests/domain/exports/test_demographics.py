from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.demographics import Demographics, age_at, age_string, demographics_of


def found(*rows: dict[str, Any], participant: str = "P001") -> Demographics:
    return demographics_of(rows, participant, "record_id")


def test_a_participant_is_found_by_first_name_in_one_of_several_events() -> None:
    rows = [
        {"record_id": "7", "first_name": "P001", "sex": "0"},
        {"record_id": "7", "first_name": "", "dob": "1950-02-03", "age": "70"},
        {"record_id": "8", "first_name": "P002", "sex": "1", "dob": "1960-01-01", "age": "9"},
    ]
    assert found(*rows) == Demographics("F", "19500203", "070Y")
    assert found(*rows, participant="P003") == Demographics()


def test_a_project_without_first_name_is_asked_by_record() -> None:
    assert found({"record_id": "P001", "sex": "1"}).sex == "M"


@pytest.mark.parametrize(
    "row", [{"sex": "x"}, {"dob": "3.2.1950"}, {"age": "old"}, {"age": "-1"}, {"dob": "1950-02-31"}]
)
def test_what_cannot_be_understood_is_an_error_without_its_value(row: dict[str, str]) -> None:
    with pytest.raises(Permanent) as raised:
        found({"record_id": "P001", **row})
    assert not [value for value in row.values() if f" {value}" in str(raised.value)]


def test_rows_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(Permanent, match="two values of sex"):
        found({"record_id": "P001", "sex": "0"}, {"record_id": "P001", "sex": "1"})


@pytest.mark.parametrize(
    ("text", "age"),
    [("", ""), ("45", "045Y"), ("0.5", "006M"), ("1,5", "018M"), ("90.5", "090Y"), ("3", "003Y")],
)
def test_ages_are_years_and_fractions_months(text: str, age: str) -> None:
    assert age_string(text) == age


@pytest.mark.parametrize(
    ("born", "seen", "age"),
    [("19500203", "20200202", "069Y"), ("19500203", "20200203", "070Y"), ("20190101", "20200201", "013M"),
     ("", "20200101", ""), ("20200102", "20200101", ""), ("nonsense", "20200101", "")],
)  # fmt: skip
def test_the_age_at_a_study(born: str, seen: str, age: str) -> None:
    assert age_at(born, seen) == age
