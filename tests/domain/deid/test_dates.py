from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid.dates import FURTHEST_DAYS, DateShift, restored_date, shift_days
from fiona_dagster.domain.errors import Forbidden, Permanent
from fiona_dagster.domain.project import Project

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("vr", "text", "moved"),
    [
        ("DA", "20191224", "20200204"),
        ("DA", "2019.12.24", "20200204"),
        ("DA", "20200119 ", "20200301"),  # 2020 has a 29 February
        ("DA", "20191324", ""),
        ("DA", "24.12.2019", ""),
        ("DA", "20191224-20191231", ""),
        ("DA", "yesterday", ""),
        ("DA", "99991231", ""),
        ("DT", "20191224101112.123456+0100", "20200204101112.123456+0100"),
        ("DT", "2019122410", "2020020410"),
        ("DT", "201912", "202001"),
        ("DT", "2019", "2019"),
        ("DT", "20191224Z", ""),
        ("TM", "101112.5", "101112.5"),
        ("TM", "10:11:12", "10:11:12"),
        ("TM", "noon", ""),
    ],
)
def test_a_value_moves_by_42_days_or_is_emptied(vr: str, text: str, moved: str) -> None:
    assert DateShift(42).value(vr, text) == moved


def test_only_the_year_is_left_in_mode_year() -> None:
    cut = DateShift(0, year_only=True)
    assert (cut.value("DA", "20191224"), cut.value("DT", "20191224101112"), cut.value("TM", "1011")) == (
        "20190101", "2019", "",
    )  # fmt: skip


@given(st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)), st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)))
def test_intervals_survive(one: dt.date, other: dt.date) -> None:
    shift = DateShift(-1234)
    moved = [dt.datetime.strptime(shift.date(d.strftime("%Y%m%d")), "%Y%m%d").date() for d in (one, other)]  # noqa: DTZ007
    assert moved[1] - moved[0] == other - one


@given(st.text(max_size=20))
def test_whatever_stands_there_the_result_is_a_value_of_the_vr_or_empty(text: str) -> None:
    for days in (-3650, 42):
        date = DateShift(days).value("DA", text)
        assert date == "" or (len(date) == 8 and date.isdigit())
        assert DateShift(days).value("DT", text).isascii()


@given(st.text(min_size=1, max_size=20))
def test_a_participants_shift_is_stable_and_goes_into_the_past(participant: str) -> None:
    days = shift_days(Project(name="STUDY_A"), participant, KEY)
    assert days == shift_days(Project(name="STUDY_A"), participant, KEY)
    assert -FURTHEST_DAYS <= days <= -1


def test_the_projects_mode_decides_about_the_shift() -> None:
    assert shift_days(Project(name="STUDY_A", date_mode="per_project", date_shift_days=42), "P", KEY) == 42
    derived = Project(name="STUDY_A", date_mode="per_project")
    assert shift_days(derived, "P", KEY) == shift_days(derived, "Q", KEY) < 0
    assert shift_days(Project(name="STUDY_A", date_mode="keep"), "P", KEY) == 0
    assert shift_days(Project(name="STUDY_A"), "P", KEY) != shift_days(Project(name="STUDY_A"), "Q", KEY)


@pytest.mark.parametrize("mode", ["per_project", "per_participant"])
def test_a_project_with_the_right_gets_its_dates_back(mode: str) -> None:
    project = Project(name="STUDY_A", date_mode=mode, dates_may_be_restored=True)  # type: ignore[arg-type]
    moved = DateShift(shift_days(project, "P", KEY))
    for vr, text in (("DA", "20191224"), ("DT", "20191224101112.5+0100")):
        assert restored_date(project, "P", KEY, vr, moved.value(vr, text)) == text


def test_a_project_without_the_right_does_not_get_its_dates_back() -> None:
    with pytest.raises(Forbidden, match="STUDY_A may not restore dates"):
        restored_date(Project(name="STUDY_A"), "P", KEY, "DA", "20191224")


@pytest.mark.parametrize("mode", ["keep", "remove", "year"])
def test_what_did_not_move_by_days_cannot_move_back(mode: str) -> None:
    project = Project(name="STUDY_A", date_mode=mode, dates_may_be_restored=True)  # type: ignore[arg-type]
    with pytest.raises(Permanent, match="cannot be restored"):
        restored_date(project, "P", KEY, "DA", "20190101")
