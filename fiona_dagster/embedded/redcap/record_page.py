"""The page of one record: every value with its label, and what the log tells of it."""

from __future__ import annotations

import sqlite3
from html import escape

from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.documents import document_names
from fiona_dagster.embedded.redcap.layout import link, page, project_path, table, tag
from fiona_dagster.embedded.redcap.model import ProjectModel, load_model
from fiona_dagster.embedded.redcap.page import shown_value
from fiona_dagster.embedded.redcap.values import Place, load_values

_LOG_LINES = 50


def record_page(database: Database, pid: int, record: str) -> str | None:
    """All values of a record; None where there is no such record."""
    with database.transaction(write=False) as connection:
        if connection.execute("SELECT 1 FROM project WHERE pid = ?", (pid,)).fetchone() is None:
            return None
        model = load_model(connection, pid)
        values = load_values(connection, pid, [record])
        files = document_names(connection, pid)
        log = _log(connection, pid, record)
    if not values:
        return None
    parts = []
    forms = list(model.forms)
    for event_id, event in model.events.items():
        here = [place for place in values if place.event_id == event_id]
        for form in forms:
            places = sorted((one for one in here if one.form in {"", form}), key=lambda one: one.instance)
            for place in places:
                if place.form or (event_id, form) not in model.repeating:
                    parts.append(_form(model, place, form, values[place], files, event.name))
    parts.append("<h2>Log</h2>" + table(("Time", "User", "Action", "Details"), log))
    path = [link("/", "All projects"), link(project_path(pid), model.title)]
    return page(f"Record {record}", "".join(parts), path)


def _form(
    model: ProjectModel, place: Place, form: str, stored: dict[str, str], files: dict[str, str], event: str
) -> str:
    rows = []
    for column in model.columns.values():
        value = stored.get(column.name, "")
        if column.field.form != form or not value:
            continue
        label = column.field.choices[column.code] if column.code else column.field.label
        shown = files.get(value, "") if column.field.type == "file" else shown_value(column, value)
        identifier = tag("identifier") if column.field.identifier else ""
        rows.append((escape(column.name), f"{escape(label)} {identifier}", escape(shown)))
    if not rows:
        return ""
    where = tag(event) if model.longitudinal else ""
    number = tag(f"instance {place.instance}") if place.instance else ""
    heading = f"<h2>{escape(model.forms[form])} {where} {number}</h2>"
    return heading + table(("Field", "Label", "Value"), rows)


def _log(connection: sqlite3.Connection, pid: int, record: str) -> list[tuple[str, ...]]:
    rows = connection.execute(
        "SELECT at, username, action, details FROM log WHERE pid = ? AND record = ? ORDER BY id DESC LIMIT ?",
        (pid, record, _LOG_LINES),
    )
    return [tuple(escape(str(cell)) for cell in row) for row in rows]
