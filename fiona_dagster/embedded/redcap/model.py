"""A project as its calls see it: fields, instruments, events and what repeats."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fiona_dagster.domain.dictionaries import choices_of

COMPLETE = {"0": "Incomplete", "1": "Unverified", "2": "Complete"}
_YES_NO = {"yesno": {"1": "Yes", "0": "No"}, "truefalse": {"1": "True", "0": "False"}}


@dataclass(frozen=True)
class Field:
    """A row of the data dictionary, or the `<form>_complete` of an instrument (type `complete`)."""

    name: str
    form: str
    type: str
    label: str
    choices: Mapping[str, str]
    validation: str
    identifier: bool
    definition: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """Names in a flat export: one a box of a checkbox, none of a description."""
        if self.type == "checkbox":
            return [f"{self.name}___{column_code(code)}" for code in self.choices]
        return [] if self.type == "descriptive" else [self.name]

    @property
    def holds_data(self) -> bool:
        """Whether an import may store it; calculated, file and descriptive fields are passed over."""
        return self.type not in {"calc", "file", "descriptive"}


@dataclass(frozen=True)
class Column:
    """One column of a flat export. `code` is the box of a checkbox."""

    name: str
    field: Field
    code: str = ""


@dataclass(frozen=True)
class Event:
    """An event of a longitudinal project; a classic one has a single event with id 0."""

    id: int
    name: str
    arm_num: int
    unique_name: str
    custom_label: str
    forms: frozenset[str]


@dataclass
class ProjectModel:
    """Everything about a project except its records."""

    pid: int
    title: str
    created_at: str
    production_at: str
    in_production: bool
    longitudinal: bool
    settings: dict[str, Any]
    forms: dict[str, str]
    fields: dict[str, Field]
    arms: dict[int, str]
    events: dict[int, Event]
    repeating: dict[tuple[int, str], str] = field(default_factory=dict)

    @property
    def record_id_field(self) -> str:
        return next(iter(self.fields), "")

    @property
    def repeats(self) -> bool:
        return bool(self.repeating)

    @property
    def autonumber(self) -> bool:
        return bool(self.settings.get("record_autonumbering_enabled"))

    @cached_property
    def missing_data_codes(self) -> dict[str, str]:
        return choices_of(str(self.settings.get("missing_data_codes") or ""))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column of a flat export by name, in order; each instrument ends in `<form>_complete`."""
        found: dict[str, Column] = {}
        for form in self.forms:
            for one in self.fields.values():
                if one.form == form:
                    codes = list(one.choices) if one.type == "checkbox" else [""]
                    found.update(
                        (name, Column(name, one, code))
                        for name, code in zip(one.columns, codes, strict=False)
                    )
            complete = f"{form}_complete"
            definition = {"field_name": complete, "form_name": form}
            found[complete] = Column(
                complete,
                Field(complete, form, "complete", "Complete?", COMPLETE, "", False, definition),  # noqa: FBT003
            )
        return found

    @cached_property
    def event_by_name(self) -> dict[str, Event]:
        return {event.unique_name: event for event in self.events.values()}

    def event_label(self, event: Event) -> str:
        """`Event (Arm 1: Name)`, as messages name an event."""
        return f"{event.name} (Arm {event.arm_num}: {self.arms.get(event.arm_num, '')})"

    def base_forms(self, event: Event) -> frozenset[str]:
        """Instruments that do not repeat on their own in this event."""
        return frozenset(form for form in event.forms if (event.id, form) not in self.repeating)


def column_code(code: str) -> str:
    """The code as a checkbox column spells it: lower case, other characters as underscore (`-2` is `_2`)."""
    return re.sub(r"[^a-z0-9_]", "_", code.lower())


def field_of(definition: Mapping[str, str]) -> Field:
    """A field from its 18 columns."""
    kind = definition["field_type"]
    text = definition["select_choices_or_calculations"]
    choices = choices_of(text) if kind in {"radio", "dropdown", "checkbox"} else _YES_NO.get(kind, {})
    return Field(
        name=definition["field_name"],
        form=definition["form_name"],
        type=kind,
        label=definition["field_label"],
        choices=choices,
        validation=definition["text_validation_type_or_show_slider_number"] if kind == "text" else "",
        identifier=definition["identifier"].strip().lower() == "y",
        definition=definition,
    )


def load_model(connection: sqlite3.Connection, pid: int) -> ProjectModel:
    """The project with number `pid`, which must exist."""
    row = connection.execute("SELECT * FROM project WHERE pid = ?", (pid,)).fetchone()
    definitions = _all(connection, "SELECT definition FROM field WHERE pid = ? ORDER BY position", pid)
    fields = [field_of(json.loads(one["definition"])) for one in definitions]
    labels = {
        one["form"]: one["label"] for one in _all(connection, "SELECT * FROM instrument WHERE pid = ?", pid)
    }
    forms = {name: labels.get(name) or form_label(name) for name in dict.fromkeys(one.form for one in fields)}
    longitudinal = bool(row["longitudinal"])
    arms, events = {1: "Arm 1"}, {0: Event(0, "Event 1", 1, "event_1_arm_1", "", frozenset(forms))}
    if longitudinal:
        arms, events = _load_events(connection, pid)
    repeating = {
        (one["event_id"], one["form"]): one["label"]
        for one in _all(connection, "SELECT * FROM repeating WHERE pid = ?", pid)
        if one["event_id"] in events
    }
    return ProjectModel(
        pid=pid,
        title=row["title"],
        created_at=row["created_at"],
        production_at=row["production_at"],
        in_production=bool(row["in_production"]),
        longitudinal=longitudinal,
        settings=json.loads(row["settings"]),
        forms=forms,
        fields={one.name: one for one in fields},
        arms=arms,
        events=events,
        repeating=repeating,
    )


def _load_events(connection: sqlite3.Connection, pid: int) -> tuple[dict[int, str], dict[int, Event]]:
    designated: dict[int, set[str]] = {}
    for one in _all(connection, "SELECT * FROM designation WHERE pid = ?", pid):
        designated.setdefault(one["event_id"], set()).add(one["form"])
    arms = {
        one["arm_num"]: one["name"]
        for one in _all(connection, "SELECT * FROM arm WHERE pid = ? ORDER BY arm_num", pid)
    }
    rows = _all(connection, "SELECT * FROM event WHERE pid = ? ORDER BY arm_num, event_id", pid)
    events = {
        one["event_id"]: Event(
            one["event_id"], one["name"], one["arm_num"], one["unique_name"], one["custom_label"],
            frozenset(designated.get(one["event_id"], ())),
        )
        for one in rows
    }  # fmt: skip
    return arms, events


def form_label(form: str) -> str:
    """The label that REDCap gives an instrument that has only a name."""
    return form.replace("_", " ").title()


def _all(connection: sqlite3.Connection, statement: str, pid: int) -> Sequence[sqlite3.Row]:
    return connection.execute(statement, (pid,)).fetchall()
