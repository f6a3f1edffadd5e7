"""`content=record` export: the row model of REDCap (redcap-contract 1.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiona_dagster.embedded.redcap import groups, journal
from fiona_dagster.embedded.redcap.calls import Call, known
from fiona_dagster.embedded.redcap.documents import document_names
from fiona_dagster.embedded.redcap.filtering import condition
from fiona_dagster.embedded.redcap.model import Column, ProjectModel
from fiona_dagster.embedded.redcap.placing import EVENT, INSTANCE, INSTRUMENT
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Table
from fiona_dagster.embedded.redcap.surveys import survey_forms
from fiona_dagster.embedded.redcap.values import Place, Values, load_values, record_order

_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?$", re.ASCII)


IDENTIFIER = "redcap_survey_identifier"


@dataclass(frozen=True)
class _Shape:
    """How the answer is to look."""

    columns: tuple[Column, ...]
    labels: bool
    box_labels: bool
    blank_gray: bool
    combined: bool
    decimal: str
    surveys: frozenset[str]
    """Instruments whose time stamps are asked for."""
    groups: Mapping[str, Any] | None
    """Data access group by record, when asked for."""
    documents: Mapping[str, str]


@dataclass(frozen=True)
class Chosen:
    """What an export found before it is shaped."""

    columns: tuple[Column, ...]
    values: Values
    places: list[Place]


def export_records(call: Call) -> Table:
    """Rows of the records asked for."""
    kind = call.parameters.choice("type", ("flat", "eav"), "flat")
    chosen = choose_records(call)
    shape = _shape(call, chosen.columns)
    return (_eav if kind == "eav" else _flat)(call, shape, chosen.values, chosen.places)


def choose_records(call: Call) -> Chosen:
    """Rows and columns that the call asks for and its user may see."""
    call.user.require("api_export")
    parameters, project = call.parameters, call.project
    columns = tuple(chosen_columns(call))
    events = known("events", parameters.array("events"), set(project.event_by_name))
    wanted = _records(call)
    values = load_values(call.connection, project.pid, wanted)
    if call.user.group_id is not None:
        own = set(groups.visible(call, {place.record for place in values}))
        values = {place: stored for place, stored in values.items() if place.record in own}
    places = [place for place in _rows(project, values, columns) if _in_events(project, place, events)]
    logic = parameters.text("filterLogic").strip()
    if logic:
        holds = condition(call, logic, values)
        places = [place for place in places if holds(place)]
    return Chosen(columns, values, places)


def _shape(call: Call, columns: tuple[Column, ...]) -> _Shape:
    parameters, project = call.parameters, call.project
    has_groups = parameters.flag("exportDataAccessGroups") and call.user.group_id is None
    known_groups = groups.all_groups(call.connection, project.pid) if has_groups else []
    return _Shape(
        columns=columns,
        labels=parameters.choice("rawOrLabel", ("raw", "label", "both"), "raw") != "raw",
        box_labels=parameters.flag("exportCheckboxLabel"),
        blank_gray=parameters.flag("exportBlankForGrayFormStatus"),
        combined=parameters.flag("combineCheckboxOptions"),
        decimal=parameters.choice("decimalCharacter", ("", ",", "."), ""),
        surveys=frozenset(
            one["form"] for one in survey_forms(call.connection, project.pid)
        ) if parameters.flag("exportSurveyFields") else frozenset(),
        groups=groups.record_groups(call) if known_groups else None,
        documents=document_names(call.connection, project.pid)
        if any(column.field.type == "file" for column in columns)
        else {},
    )  # fmt: skip


def _records(call: Call) -> list[str] | None:
    wanted = call.parameters.array("records")
    begin, end = (_moment(call, name) for name in ("dateRangeBegin", "dateRangeEnd"))
    if begin or end:
        changed = journal.records_changed_between(call, begin, end)
        return sorted(changed if wanted is None else changed & set(wanted))
    return wanted


def _moment(call: Call, name: str) -> str:
    text = call.parameters.text(name).strip()
    if text and not _MOMENT.match(text):
        raise ApiError(400, f'The value of the parameter "{name}" is not valid')
    return text


def chosen_columns(call: Call) -> Iterator[Column]:
    """Columns asked for that the user may see, in dictionary order; what it may not see just vanishes."""
    project, parameters = call.project, call.parameters
    forms = known("forms", parameters.array("forms"), list(project.forms))
    completes = {f"{form}_complete" for form in project.forms}
    fields = known("fields", parameters.array("fields"), set(project.fields) | completes)
    everything = fields is None and forms is None
    for column in project.columns.values():
        wanted = everything or column.field.name in (fields or ()) or column.field.form in (forms or ())
        if wanted and (column.name == project.record_id_field or call.user.sees(column.field)):
            yield column


def _rows(project: ProjectModel, values: Values, columns: Sequence[Column]) -> list[Place]:
    """Places in export order. A repeating instrument has rows only when one of its columns is asked for."""
    forms = {column.field.form for column in columns if column.name != project.record_id_field}
    order = {form: position for position, form in enumerate(project.forms)}
    events = {event_id: position for position, event_id in enumerate(project.events)}
    chosen = [
        place
        for place, stored in values.items()
        if stored and place.event_id in events and (not place.form or place.form in forms)
    ]
    return sorted(
        chosen,
        key=lambda place: (
            record_order(place.record), events[place.event_id], order.get(place.form, -1), place.instance
        ),
    )  # fmt: skip


def _in_events(project: ProjectModel, place: Place, events: Sequence[str] | None) -> bool:
    return events is None or project.events[place.event_id].unique_name in events


def _place_columns(project: ProjectModel) -> list[str]:
    return [
        *([EVENT] if project.longitudinal else []),
        *([INSTRUMENT, INSTANCE] if project.repeats else []),
    ]


def _place_values(call: Call, place: Place, *, labels: bool) -> dict[str, Any]:
    event = call.project.events[place.event_id]
    form = call.project.forms.get(place.form, "") if labels else place.form
    return {
        EVENT: event.name if labels else event.unique_name,
        INSTRUMENT: form,
        INSTANCE: place.instance or "",
    }


def _flat(call: Call, shape: _Shape, values: Values, places: Sequence[Place]) -> Table:
    project = call.project
    names = list(_flat_names(shape))
    has_id = names[:1] == [project.record_id_field]
    extra = [*_place_columns(project), *([groups.GROUP] if shape.groups is not None else [])]
    extra += [IDENTIFIER] if shape.surveys else []
    columns = [*names[:has_id], *extra, *names[has_id:]]
    applicable = {
        key: _applicable(project, shape.columns, *key) for key in {(p.event_id, p.form) for p in places}
    }
    blank = dict.fromkeys(columns, "")
    rows = []
    for place in places:
        stored = values[place]
        row: dict[str, Any] = {**blank, **_place_values(call, place, labels=shape.labels)}
        if shape.groups is not None and place.record in shape.groups:
            row[groups.GROUP] = shape.groups[place.record]["name" if shape.labels else "unique_name"]
        for column in applicable[place.event_id, place.form]:
            if shape.combined and column.code:
                row[column.field.name] = _combined(row[column.field.name], column, stored, shape)
            else:
                row[column.name] = _shown(column, stored, shape)
        if has_id:
            row[project.record_id_field] = place.record
        rows.append(row)
    headings = _headings(call, columns) if call.parameters.text("rawOrLabelHeaders") == "label" else None
    return Table(columns, rows, headings=headings)


def _flat_names(shape: _Shape) -> Iterator[str]:
    """Columns in order; the time stamp of a survey comes before its instrument's first field."""
    begun: set[str] = set()
    for position, column in enumerate(shape.columns):
        form = column.field.form
        if form in shape.surveys and form not in begun and (position or column.field.type == "complete"):
            begun.add(form)
            yield f"{form}_timestamp"
        if not (shape.combined and column.code):
            yield column.name
        elif column.name == column.field.columns[0]:
            yield column.field.name


def _combined(text: str, column: Column, stored: Mapping[str, str], shape: _Shape) -> str:
    """Ticked boxes of one field, joined by commas."""
    if stored.get(column.name) != "1":
        return text
    one = column.field.choices[column.code] if shape.labels else column.code
    return f"{text},{one}" if text else one


def _applicable(project: ProjectModel, columns: Sequence[Column], event_id: int, form: str) -> list[Column]:
    """Columns that can have a value on rows of this kind; the others are blank, checkboxes too."""
    forms = {form} if form else project.base_forms(project.events[event_id])
    return [
        column for column in columns if column.field.form in forms and column.name != project.record_id_field
    ]


def _shown(column: Column, stored: Mapping[str, str], shape: _Shape) -> str:
    field, value = column.field, stored.get(column.name, "")
    if field.type == "complete" and not value:
        value = "" if shape.blank_gray else "0"
    if field.type == "checkbox":
        return _shown_box(column, value, shape)
    if field.type == "file":
        return shape.documents.get(value, "")
    if shape.decimal and (field.type == "calc" or field.validation.startswith("number")):
        return value.replace("," if shape.decimal == "." else ".", shape.decimal)
    return field.choices.get(value, value) if shape.labels else value


def _shown_box(column: Column, value: str, shape: _Shape) -> str:
    if not shape.labels or value not in {"", "0", "1"}:
        return value or "0"
    if shape.box_labels:
        return column.field.choices[column.code] if value == "1" else ""
    return "Checked" if value == "1" else "Unchecked"


def _headings(call: Call, columns: Sequence[str]) -> list[str]:
    fixed = {
        EVENT: "Event Name", INSTRUMENT: "Repeat Instrument", INSTANCE: "Repeat Instance",
        groups.GROUP: "Data Access Group", IDENTIFIER: "Survey Identifier",
    }  # fmt: skip
    headings = []
    for name in columns:
        column = call.project.columns.get(name)
        if column is None and name in call.project.fields:
            headings.append(call.project.fields[name].label)
        elif column is None:
            headings.append(fixed.get(name, "Survey Timestamp"))
        elif column.code:
            headings.append(f"{column.field.label} (choice={column.field.choices[column.code]})")
        else:
            headings.append(column.field.label)
    return headings


def _eav(call: Call, shape: _Shape, values: Values, places: Sequence[Place]) -> Table:
    """One row a value; a ticked box shows its code, blanks have no row."""
    project = call.project
    columns = ["record", *_place_columns(project), "field_name", "value"]
    rows = []
    for place in places:
        stored = values[place]
        common = {"record": place.record, **_place_values(call, place, labels=shape.labels)}
        for column in shape.columns:
            value = stored.get(column.name, "")
            if not value or (column.field.type == "checkbox" and value == "0"):
                continue
            code = column.code if column.field.type == "checkbox" else value
            shown = column.field.choices.get(code, code) if shape.labels else code
            if column.field.type == "file":
                shown = shape.documents.get(value, "")
            rows.append({**common, "field_name": column.field.name, "value": shown})
    return Table(columns, rows)
