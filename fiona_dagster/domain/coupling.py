"""The coupling list: its file as FIONA's upload has it, what is wrong with each line, and how long entries live.

Sources: fiona-behaviour 3.1 (CouplingList, 14 days) and 5.1 (header of the upload). Problems name lines, never values.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiona_dagster.domain.identifiers import is_valid_uid

if TYPE_CHECKING:
    from fiona_dagster.domain.project import Project

HEADER = ("AccessionNumber", "ProjectName", "subjectid", "eventname")
LIFE_DAYS = 14
LONGEST_ACCESSION = 16
"""Characters of an AccessionNumber (SH, PS3.5 6.2)."""
_UID = "studyinstanceuid"
_CONTRADICTS = "contradicts line {}: the same study and project, another participant or event"
_NEEDED = frozenset({"projectname", "subjectid"})
_KNOWN = {name.lower() for name in HEADER} | {_UID}


@dataclass(frozen=True)
class CouplingEntry:
    """A row of CouplingList. `date` is `cl_date` as text (`YYYY-MM-DD HH:MM`), `record_id` REDCap's number.

    `expires` is `cl_expires` (`YYYY-MM-DD`, the last day), `used` `cl_used_date`.
    """

    record_id: str
    project: str
    participant: str
    event: str = ""
    accession_number: str = ""
    study_instance_uid: str = ""
    date: str = ""
    expires: str = ""
    used: str = ""

    def __repr__(self) -> str:
        return f"CouplingEntry({self.record_id}, {self.project})"

    @property
    def last_day(self) -> str:
        """The last day on which the entry counts: as it says, else 14 days after it was made; '' for ever."""
        if day := _day(self.expires):
            return day.isoformat()
        made = _day(self.date)
        return (made + dt.timedelta(days=LIFE_DAYS)).isoformat() if made else ""

    def is_expired(self, day: str) -> bool:
        """Whether it does not count any more on a day (ISO)."""
        return bool(self.last_day) and day > self.last_day

    @property
    def place(self) -> tuple[str, str, str]:
        """What there is one valid entry for: study and project."""
        return (self.accession_number, self.study_instance_uid, self.project)


@dataclass(frozen=True)
class LineProblem:
    """What is wrong with a line of the file, the header being line 1."""

    line: int
    problem: str


@dataclass(frozen=True)
class CouplingFile:
    """A file as it was read: good entries with their lines, and the problems of all others."""

    entries: tuple[tuple[int, CouplingEntry], ...]
    problems: tuple[LineProblem, ...]


@dataclass(frozen=True)
class CouplingImport:
    """What importing would do: `new` entries, lines of entries `present` already, and of those that `replace` one."""

    new: tuple[CouplingEntry, ...]
    present: tuple[int, ...]
    replaced: tuple[LineProblem, ...]


def read_coupling_file(text: str, projects: Mapping[str, Project], *, today: str) -> CouplingFile:
    """Read a coupling list with FIONA's header; columns in any order, separated by comma, semicolon or tab.

    A further column `StudyInstanceUID` may name the study instead of the accession number. `today` is an ISO day.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or not lines[0].strip():
        return CouplingFile((), (LineProblem(1, f"there is no header: write {','.join(HEADER)}"),))
    delimiter = max(",;\t", key=lines[0].count)
    header = [name.strip().strip('"').lower() for name in lines[0].split(delimiter)]
    if problem := _header_problem(header):
        return CouplingFile((), (LineProblem(1, problem),))
    entries: list[tuple[int, CouplingEntry]] = []
    problems: list[LineProblem] = []
    seen: dict[tuple[str, str, str], tuple[int, CouplingEntry]] = {}
    reader = csv.reader(lines[1:], delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:
            problems.append(LineProblem(reader.line_num + 1, "its quotes are not closed"))
            continue
        number = reader.line_num + 1
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            problems.append(LineProblem(number, f"has {len(row)} columns, the header has {len(header)}"))
            continue
        entry = _entry(dict(zip(header, (cell.strip() for cell in row), strict=True)))
        problem = entry_problem(entry, projects, today=today)
        earlier = seen.get(entry.place)
        if problem is None and earlier is not None:
            if earlier[1] == entry:
                problem = f"is line {earlier[0]} once more"
            else:  # nobody can know which of them is meant
                problem = _CONTRADICTS.format(earlier[0])
                if earlier in entries:
                    entries.remove(earlier)
                    problems.append(LineProblem(earlier[0], _CONTRADICTS.format(number)))
        if problem:
            problems.append(LineProblem(number, problem))
            continue
        seen[entry.place] = (number, entry)
        entries.append((number, entry))
    return CouplingFile(tuple(entries), tuple(sorted(problems, key=lambda one: one.line)))


def entry_problem(entry: CouplingEntry, projects: Mapping[str, Project], *, today: str) -> str | None:
    """Why an entry could not be carried out today, or None; without the values it has."""
    if not entry.accession_number and not entry.study_instance_uid:
        return "names no study: AccessionNumber is empty"
    if len(entry.accession_number) > LONGEST_ACCESSION:
        return f"its AccessionNumber is longer than {LONGEST_ACCESSION} characters, as no study's is"
    if entry.study_instance_uid and not is_valid_uid(entry.study_instance_uid):
        return "its StudyInstanceUID is no UID"
    project = projects.get(entry.project)
    if project is None:
        active = [name for name, one in projects.items() if one.closed_problem(today) is None]
        return f"its project does not exist (active projects: {', '.join(sorted(active)) or 'none'})"
    problem = project.closed_problem(today) or project.participant_problem(entry.participant)
    return problem or project.event_problem(entry.event)


def plan_import(
    entries: Sequence[tuple[int, CouplingEntry]], existing: Sequence[CouplingEntry], *, today: str
) -> CouplingImport:
    """What of a file is new; an entry that is there and has not expired is not made twice.

    One for the same study and project with another participant or event replaces the older one, because the newest
    counts: that is told.
    """
    valid = {one.place: one for one in existing if not one.is_expired(today)}
    new: list[CouplingEntry] = []
    present: list[int] = []
    replaced: list[LineProblem] = []
    for line, entry in entries:
        known = valid.get(entry.place)
        if known is None:
            new.append(entry)
        elif (known.participant, known.event) == (entry.participant, entry.event):
            present.append(line)
        else:
            what = "participant" if known.participant != entry.participant else "event"
            used = ", which was used already" if known.used else ""
            replaced.append(LineProblem(line, f"gives another {what} than entry {known.record_id}{used}"))
            new.append(entry)
    return CouplingImport(tuple(new), tuple(present), tuple(replaced))


def _header_problem(header: Sequence[str]) -> str | None:
    unknown = [name for name in header if name not in _KNOWN]
    if len(set(header)) != len(header):
        return "a column stands there twice"
    if unknown or not _NEEDED.issubset(header) or not {"accessionnumber", _UID} & set(header):
        return f"the header must be {','.join(HEADER)}"  # not shown: without a header it is the first line's values
    return None


def _entry(cells: Mapping[str, str]) -> CouplingEntry:
    return CouplingEntry(
        record_id="",
        project=cells["projectname"],
        participant=cells["subjectid"],
        event=cells.get("eventname", ""),
        accession_number=cells.get("accessionnumber", ""),
        study_instance_uid=cells.get(_UID, ""),
    )


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None
