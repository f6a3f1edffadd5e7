from __future__ import annotations

import pytest

from fiona_dagster.domain.coupling import CouplingEntry, LineProblem, plan_import, read_coupling_file
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.project_life import ProjectLife

TODAY = "2026-03-10"
PROJECTS = {
    "HEARTS": Project("HEARTS", participant_pattern=r"H\d{3}"),
    "CLOSED": Project("CLOSED", life=ProjectLife(approval_ends="2026-03-09")),
}
HEADER = "AccessionNumber,ProjectName,subjectid,eventname"


def problems(*lines: str, header: str = HEADER) -> list[LineProblem]:
    return list(read_coupling_file("\r\n".join([header, *lines]), PROJECTS, today=TODAY).problems)


def test_fionas_file_is_read_whatever_excel_made_of_it() -> None:
    for text in (
        f"{HEADER}\r\nA1,HEARTS,H001,Baseline\r\n\r\n",
        "\ufeffaccessionnumber;projectname;subjectid;eventname\nA1;HEARTS;H001;Baseline\n",
        'subjectid\tProjectName\tAccessionNumber\teventname\nH001\tHEARTS\t"A1"\tBaseline',
    ):
        read = read_coupling_file(text, PROJECTS, today=TODAY)
        assert read.problems == ()
        assert read.entries == ((2, CouplingEntry("", "HEARTS", "H001", "Baseline", "A1")),)


def test_a_study_may_be_named_by_its_uid() -> None:
    read = read_coupling_file(
        "StudyInstanceUID,ProjectName,subjectid\n1.2.3,HEARTS,H001", PROJECTS, today=TODAY
    )
    assert [one.study_instance_uid for _, one in read.entries] == ["1.2.3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",HEARTS,H001,", "names no study"),
        ("A12345678901234567,HEARTS,H001,", "longer than 16"),
        ("A1,HEART,H001,", "does not exist (active projects: HEARTS)"),
        ("A1,CLOSED,H001,", "approval of project CLOSED ended"),
        ("A1,HEARTS,Kari Nordmann,", "naming rule"),
        ("A1,HEARTS,,", "participant is empty"),
        ("A1,HEARTS,H001," + "e" * 55, "the event does not fit"),
        ("A1,HEARTS,H001", "has 3 columns, the header has 4"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_never_quoted(line: str, message: str) -> None:
    found = problems("A0,HEARTS,H000,", line)
    assert [one.line for one in found] == [3]
    assert message in found[0].problem
    assert "Nordmann" not in found[0].problem


def test_every_bad_line_is_told_at_once() -> None:
    assert [one.line for one in problems("A1,X,H001,", "A2,HEARTS,H002,", "A3,HEARTS,no,")] == [2, 4]


def test_a_line_that_contradicts_another_is_bad_and_so_is_one_that_stands_twice() -> None:
    found = problems("A1,HEARTS,H001,", "A1,HEARTS,H001,", "A1,HEARTS,H002,")
    assert [(one.line, one.problem) for one in found] == [
        (2, "contradicts line 4: the same study and project, another participant or event"),
        (3, "is line 2 once more"),
        (4, "contradicts line 2: the same study and project, another participant or event"),
    ]


def test_of_lines_that_contradict_each_other_none_counts() -> None:
    lines = "\n".join([HEADER, "A1,HEARTS,H001,", "A2,HEARTS,H002,", "A1,HEARTS,H003,"])
    assert [line for line, _ in read_coupling_file(lines, PROJECTS, today=TODAY).entries] == [3]


@pytest.mark.parametrize(
    "header", ["A1,HEARTS,H001,Baseline", "AccessionNumber,ProjectName", "", f"{HEADER},{HEADER}"]
)
def test_a_file_without_the_header_is_refused_without_showing_its_first_line(header: str) -> None:
    found = problems("A1,HEARTS,H001,", header=header)
    assert [one.line for one in found] == [1]
    assert "H001" not in found[0].problem


def test_an_entry_lives_fourteen_days_or_until_it_says() -> None:
    entry = CouplingEntry("1", "HEARTS", "H001", date="2026-03-01 23:59")
    assert entry.last_day == "2026-03-15"
    assert not entry.is_expired("2026-03-15")
    assert entry.is_expired("2026-03-16")
    assert (
        CouplingEntry("1", "HEARTS", "H001", date="2026-03-01", expires="2026-06-01").last_day == "2026-06-01"
    )
    assert not CouplingEntry("1", "HEARTS", "H001").is_expired("2099-01-01")


def test_importing_again_adds_nothing_and_another_participant_is_told() -> None:
    known = CouplingEntry("7", "HEARTS", "H001", "", "A1", date="2026-03-09 10:00", used="2026-03-09 11:00")
    expired = CouplingEntry("3", "HEARTS", "H002", "", "A2", date="2026-01-09 10:00")
    lines = [
        (2, CouplingEntry("", "HEARTS", "H001", "", "A1")),
        (3, CouplingEntry("", "HEARTS", "H002", "", "A2")),
    ]
    plan = plan_import(lines, [known, expired], today=TODAY)
    assert plan.present == (2,)
    assert plan.new == (lines[1][1],)
    other = plan_import([(2, CouplingEntry("", "HEARTS", "H009", "", "A1"))], [known], today=TODAY)
    assert [one.problem for one in other.replaced] == [
        "gives another participant than entry 7, which was used already"
    ]
    assert len(other.new) == 1
