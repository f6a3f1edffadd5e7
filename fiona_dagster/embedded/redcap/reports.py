"""`content=report`: a choice of fields and records that a person saved."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.exporting import export_records
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Table

_PASSED_ON = (
    "format", "returnFormat", "csvDelimiter", "rawOrLabel", "rawOrLabelHeaders", "exportCheckboxLabel",
    "decimalCharacter",
)  # fmt: skip


def export_report(call: Call) -> Table:
    """The rows of a report, as a flat export shows them."""
    call.user.require("api_export", "reports")
    number = call.parameters.number("report_id")
    found = call.connection.execute(
        "SELECT fields, logic FROM report WHERE pid = ? AND report_id = ?", (call.project.pid, number)
    ).fetchone()
    if found is None:
        raise ApiError(400, 'The value of the parameter "report_id" is not valid')
    columns = call.project.columns
    fields = [name for name in json.loads(found["fields"]) if name in call.project.fields or name in columns]
    pairs = [(name, call.parameters.text(name)) for name in _PASSED_ON if name in call.parameters]
    pairs += [(f"fields[{position}]", name) for position, name in enumerate(fields)]
    pairs += [("filterLogic", found["logic"])]
    return export_records(replace(call, parameters=Parameters(pairs)))


def add_report(
    connection: sqlite3.Connection, pid: int, title: str, fields: Sequence[str], logic: str = ""
) -> int:
    """What a person saves on the page of reports; returns its number."""
    cursor = connection.execute(
        "INSERT INTO report (pid, title, fields, logic) VALUES (?, ?, ?, ?)",
        (pid, title, json.dumps(list(fields)), logic),
    )
    return int(cursor.lastrowid or 0)


def all_reports(connection: sqlite3.Connection, pid: int) -> list[sqlite3.Row]:
    """A project's reports."""
    return connection.execute("SELECT * FROM report WHERE pid = ? ORDER BY report_id", (pid,)).fetchall()
