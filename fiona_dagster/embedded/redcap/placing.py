"""Where a row of an import belongs: its record, event, instrument and instance, or why it belongs nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from fiona_dagster.embedded.redcap.model import Event, ProjectModel
from fiona_dagster.embedded.redcap.problems import row_problem

EVENT, INSTRUMENT, INSTANCE = "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"
NEW = "new"
HIGHEST_INSTANCE = 32767
_NOT_REPEATING_FORM = (
    f"{INSTRUMENT} must be the unique form name of a Repeating Instrument. "
    "It currently does not match the unique form name of any repeating instrument of this project or event."
)
_NO_INSTANCE_ALLOWED = (
    f"{INSTANCE} cannot have a value since this instrument or event is not a repeating instrument or repeating "
    "event, respectively. The value must be blank."
)


@dataclass
class PlacedRow:
    """A row with its place. `instance` is None for `new`; `values` holds only what may be stored there."""

    record: str
    event_id: int
    form: str
    instance: int | None
    values: dict[str, str]


class _Planned(NamedTuple):
    """What to do with one column of all rows that have the same columns and place."""

    name: str
    why_not: str | None
    """Why it cannot take a value there."""
    stripped: bool
    box: bool


class Placing:
    """Places the rows of one import. What it found out about the columns of a row it knows for all rows like it."""

    def __init__(self, project: ProjectModel) -> None:
        self._project = project
        self._record_id_field = project.record_id_field
        self._plans: dict[tuple[int, str, tuple[str, ...]], list[_Planned]] = {}

    def place(self, row: dict[str, str], problems: list[str]) -> PlacedRow | None:
        """The row's place; None, with lines added to `problems`, when it cannot be stored."""
        project, record_id_field = self._project, self._record_id_field
        before = len(problems)
        record = row.get(record_id_field, "").strip()
        if not record or len(record) > 100:
            reason = (
                "The record name is blank" if not record else "The record name is longer than 100 characters"
            )
            problems.append(row_problem(record, record_id_field, record, reason))
            return None
        event = _event(project, record, row, problems)
        if event is None:
            return None
        form, instance = _repetition(project, event, record, row, problems)
        if len(problems) > before:
            return None
        values: dict[str, str] = {}
        for name, why_not, stripped, box in self._plan(event, form, tuple(row)):
            value = row[name].strip() if stripped else row[name]
            if why_not is None:
                values[name] = value
            elif value.strip() and not (box and value == "0"):
                problems.append(row_problem(record, name, row[name], why_not))
        return PlacedRow(record, event.id, form, instance, values) if len(problems) == before else None

    def _plan(self, event: Event, form: str, names: tuple[str, ...]) -> list[_Planned]:
        key = (event.id, form, names)
        if key not in self._plans:
            columns = [self._project.columns[name] for name in names if name in self._project.columns]
            self._plans[key] = [
                _Planned(
                    column.name,
                    _misplaced(self._project, event, form, column.name),
                    column.field.type not in {"text", "notes"},
                    column.field.type == "checkbox",
                )
                for column in columns
                if column.name != self._record_id_field and column.field.holds_data
            ]
        return self._plans[key]


def _event(project: ProjectModel, record: str, row: dict[str, str], problems: list[str]) -> Event | None:
    if not project.longitudinal:
        return project.events[0]
    if EVENT not in row:  # a project's first event, where the rows do not tell events apart at all
        return next(iter(project.events.values()), None)
    name = row[EVENT].strip()
    event = project.event_by_name.get(name)
    if event is None:
        reason = f"The value of {EVENT} must be a unique event name of this project"
        problems.append(row_problem(record, EVENT, name, reason))
    return event


def _repetition(
    project: ProjectModel, event: Event, record: str, row: dict[str, str], problems: list[str]
) -> tuple[str, int | None]:
    form, text = row.get(INSTRUMENT, "").strip(), row.get(INSTANCE, "").strip()
    whole_event = (event.id, "") in project.repeating
    if form and (event.id, form) not in project.repeating:
        problems.append(row_problem(record, INSTRUMENT, form, _NOT_REPEATING_FORM))
    if text and ((form and (event.id, form) not in project.repeating) or (not form and not whole_event)):
        problems.append(row_problem(record, INSTANCE, text, _NO_INSTANCE_ALLOWED))
        return form, 0
    if not text:
        if form or whole_event:
            problems.append(
                row_problem(
                    record,
                    INSTANCE,
                    text,
                    f"{INSTANCE} must have a value for a repeating instrument or event",
                )
            )
        return form, 0
    if text.lower() == NEW:
        return form, None
    if not re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) or int(text) > HIGHEST_INSTANCE:
        problems.append(
            row_problem(
                record,
                INSTANCE,
                text,
                f"{INSTANCE} must be a whole number from 1 to {HIGHEST_INSTANCE}, or 'new'",
            )
        )
        return form, 0
    return form, int(text)


def _misplaced(project: ProjectModel, event: Event, form: str, name: str) -> str | None:
    """Why column `name` cannot take a value on this row, or None."""
    own = project.columns[name].field.form
    if own not in event.forms:
        return (
            f"This field ('{name}') exists on an instrument that is not designated for the event named "
            f"'{project.event_label(event)}'. You are not allowed to import data for this field into this event."
        )
    if (event.id, own) in project.repeating and own != form:
        if form:
            return f"This field ('{name}') exists on a Repeating Instrument named '{own}', not on '{form}'."
        return (
            f"This field ('{name}') exists on a Repeating Instrument named '{own}'. However, the fields '{INSTANCE}' "
            f"and/or '{INSTRUMENT}' for this row of data have no value, and thus the data cannot be imported."
        )
    if form and own != form:
        return (
            f"This field ('{name}') does not exist on the Repeating Instrument '{form}', which this row of data "
            "belongs to."
        )
    return None
