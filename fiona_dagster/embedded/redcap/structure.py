"""Calls about a project's data dictionary: fields and instruments."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence

from fiona_dagster.domain.dictionaries import COLUMNS
from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call, known
from fiona_dagster.embedded.redcap.model import form_label
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, Table

DICTIONARY_COLUMNS = tuple(COLUMNS.values())
_FIELD_TYPES = {
    "text", "notes", "radio", "dropdown", "calc", "file", "checkbox", "yesno", "truefalse", "descriptive",
    "slider", "sql",
}  # fmt: skip
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,99}$")


def export_metadata(call: Call) -> Table:
    """`content=metadata`."""
    call.user.require("api_export")
    fields = known("fields", call.parameters.array("fields"), set(call.project.fields))
    forms = known("forms", call.parameters.array("forms"), list(call.project.forms))
    rows = [
        field.definition
        for field in call.project.fields.values()
        if (fields is None and forms is None) or field.name in (fields or ()) or field.form in (forms or ())
    ]
    return Table(DICTIONARY_COLUMNS, rows)


def import_metadata(call: Call) -> Count:
    """Replace the whole dictionary; returns the number of fields."""
    call.user.require("api_import", "design")
    call.require_development()
    rows = [_definition(row) for row in call.rows() or []]
    store_dictionary(call.connection, call.project.pid, rows, {})
    journal.design_change(
        call.connection, call.project.pid, call.now, call.user.username, "Upload data dictionary"
    )
    return Count(len(rows))


def store_dictionary(
    connection: sqlite3.Connection, pid: int, rows: Sequence[dict[str, str]], labels: Mapping[str, str]
) -> None:
    """Replace a project's dictionary. `labels` are those of instruments; others keep theirs or are made up.

    Raises:
        ApiError: the rows make no dictionary.
    """
    _refuse_bad_dictionary(rows)
    connection.execute("DELETE FROM field WHERE pid = ?", (pid,))
    connection.executemany(
        "INSERT INTO field (pid, position, definition) VALUES (?, ?, ?)",
        ((pid, position, json.dumps(row, ensure_ascii=False)) for position, row in enumerate(rows)),
    )
    forms = list(dict.fromkeys(row["form_name"] for row in rows))
    connection.executemany(
        "INSERT OR IGNORE INTO instrument (pid, form, label) VALUES (?, ?, ?)",
        ((pid, form, labels.get(form) or form_label(form)) for form in forms),
    )
    marks = ",".join("?" * len(forms))
    for statement in (
        f"DELETE FROM instrument WHERE pid = ? AND form NOT IN ({marks})",  # noqa: S608 — placeholders only
        f"DELETE FROM designation WHERE pid = ? AND form NOT IN ({marks})",  # noqa: S608 — placeholders only
        f"DELETE FROM repeating WHERE pid = ? AND form <> '' AND form NOT IN ({marks})",  # noqa: S608 — placeholders only
        f"DELETE FROM survey WHERE pid = ? AND form NOT IN ({marks})",  # noqa: S608 — placeholders only
    ):
        connection.execute(statement, (pid, *forms))


def export_field_names(call: Call) -> Table:
    """`content=exportFieldNames`: what a flat export calls each field; files and descriptions have no name."""
    call.user.require("api_export")
    wanted = call.parameters.text("field")
    if wanted and wanted not in call.project.fields:
        raise ApiError(400, 'The value of the parameter "field" is not valid')
    rows = [
        {
            "original_field_name": column.field.name,
            "choice_value": column.code,
            "export_field_name": column.name,
        }
        for column in call.project.columns.values()
        if column.field.type != "file" and wanted in {"", column.field.name}
    ]
    return Table(("original_field_name", "choice_value", "export_field_name"), rows, root="fields")


def export_instruments(call: Call) -> Table:
    """`content=instrument`."""
    call.user.require("api_export")
    rows = [
        {"instrument_name": name, "instrument_label": label} for name, label in call.project.forms.items()
    ]
    return Table(("instrument_name", "instrument_label"), rows, root="instruments")


def _definition(row: dict[str, str]) -> dict[str, str]:
    """A dictionary row by API names; the headings of the web page are understood too."""
    named = {COLUMNS.get(name, name): value for name, value in row.items()}
    return {name: str(named.get(name, "")) for name in DICTIONARY_COLUMNS}


def _refuse_bad_dictionary(rows: Sequence[dict[str, str]]) -> None:
    problems: list[str] = []
    if not rows:
        raise ApiError(400, "The data dictionary is empty")
    if rows[0]["field_type"] != "text":
        problems.append("The first field of a project is its record id and must have the type text")
    seen: set[str] = set()
    forms: list[str] = []
    for row in rows:
        name, form = row["field_name"], row["form_name"]
        if not _NAME.match(name) or "__" in name or name in seen:
            problems.append(f"The field name '{name}' is not valid or not unique")
        if row["field_type"] not in _FIELD_TYPES:
            problems.append(f"The field type '{row['field_type']}' of '{name}' is not valid")
        if (
            row["field_type"] in {"radio", "dropdown", "checkbox"}
            and not row["select_choices_or_calculations"]
        ):
            problems.append(f"The field '{name}' needs choices")
        if not form or (form in forms and form != forms[-1]):
            problems.append(f"The instrument '{form}' of '{name}' is empty or not in one piece")
        elif not forms or form != forms[-1]:
            forms.append(form)
        seen.add(name)
    if problems:
        raise ApiError(400, "\n".join(problems))
