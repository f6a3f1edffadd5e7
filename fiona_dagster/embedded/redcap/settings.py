"""Calls about a project as a whole: its settings, its creation, the server's version, its users."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.model import ProjectModel
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, One, Table, Text, read_rows
from fiona_dagster.embedded.redcap.rights import ADMINISTRATOR, add_user, users

VERSION = "15.5.0"
"""The version whose answers this server gives: form rights still have the codes 0 to 3."""
_TEXTS = (
    "project_language", "purpose_other", "project_notes", "custom_record_label", "secondary_unique_field",
    "project_irb_number", "project_grant_number", "project_pi_firstname", "project_pi_lastname",
    "missing_data_codes", "external_modules",
)  # fmt: skip
_NUMBERS = (
    "purpose", "record_autonumbering_enabled", "surveys_enabled", "scheduling_enabled", "randomization_enabled",
    "ddp_enabled", "display_today_now_button", "bypass_branching_erase_field_prompt",
)  # fmt: skip


def export_version(call: Call) -> Text:
    """`content=version`."""
    call.user.require("api_export")
    return Text(VERSION)


def export_project(call: Call) -> One:
    """`content=project`: one object."""
    call.user.require("api_export")
    project = call.project
    values: dict[str, Any] = {
        "project_id": project.pid,
        "project_title": project.title,
        "creation_time": project.created_at,
        "production_time": project.production_at,
        "in_production": int(project.in_production),
        "project_language": "English",
        "is_longitudinal": int(project.longitudinal),
        "has_repeating_instruments_or_events": int(project.repeats),
    }
    values |= {name: int(project.settings.get(name) or 0) for name in _NUMBERS}
    values |= {name: str(project.settings.get(name) or values.get(name, "")) for name in _TEXTS}
    return One(values)


def import_settings(call: Call) -> Count:
    """`content=project_settings`; returns how many settings were given."""
    call.user.require("api_import", "design")
    rows = call.rows() if call.parameters.format != "json" else _objects(call.parameters)
    given = (rows or [{}])[0]
    _store_settings(call.connection, call.project.pid, given)
    journal.design_change(
        call.connection, call.project.pid, call.now, call.user.username, "Modify project settings"
    )
    return Count(len(given))


def create_project(connection: sqlite3.Connection, parameters: Parameters, now: str) -> Text:
    """`content=project` with a super token: makes a project and answers with its token.

    Raises:
        ApiError: title or purpose is missing, or an ODM was given, which is not understood yet.
    """
    if parameters.text("odm"):
        raise ApiError(501, "This server does not import ODM yet")
    if parameters.format == "json":
        rows = _objects(parameters)
    else:
        rows = read_rows(parameters.text("data"), parameters.format, parameters.delimiter) or []
    given = rows[0] if rows else {}
    if not given.get("project_title", "").strip() or not given.get("purpose", "").strip():
        raise ApiError(400, "The project_title and purpose are required to create a project")
    cursor = connection.execute(
        "INSERT INTO project (title, created_at) VALUES (?, ?)", (given["project_title"].strip(), now)
    )
    pid = int(cursor.lastrowid or 0)
    _store_settings(connection, pid, given)
    longitudinal = connection.execute("SELECT longitudinal FROM project WHERE pid = ?", (pid,)).fetchone()[0]
    if longitudinal:
        connection.execute("INSERT INTO arm VALUES (?, 1, 'Arm 1')", (pid,))
        connection.execute(
            "INSERT INTO event (pid, arm_num, name, unique_name) VALUES (?, 1, 'Event 1', 'event_1_arm_1')",
            (pid,),
        )
    token = add_user(connection, pid, ADMINISTRATOR, {})
    journal.design_change(
        connection, pid, now, ADMINISTRATOR, f"Create project '{given['project_title'].strip()}'"
    )
    return Text(token)


def export_users(call: Call) -> Table:
    """`content=user`."""
    call.user.require("api_export", "user_rights")
    rows = [user.row(call.project) for user in users(call.connection, call.project.pid)]
    return Table(list(rows[0]), rows, root="users")


def set_production(connection: sqlite3.Connection, model: ProjectModel, now: str) -> None:
    """Move a project to production status, in which its structure no longer changes by API."""
    connection.execute(
        "UPDATE project SET in_production = 1, production_at = ? WHERE pid = ?", (now, model.pid)
    )


def _objects(parameters: Parameters) -> list[dict[str, str]]:
    """Here a lone object is as good as a list with one."""
    text = parameters.text("data").strip()
    rows = read_rows(f"[{text}]" if text.startswith("{") else text, "json")
    return rows or []


def _store_settings(connection: sqlite3.Connection, pid: int, given: dict[str, str]) -> None:
    row = connection.execute(
        "SELECT title, longitudinal, settings FROM project WHERE pid = ?", (pid,)
    ).fetchone()
    settings = json.loads(row["settings"])
    for name in _NUMBERS:
        if given.get(name, "").strip():
            if not given[name].strip().isdigit():
                raise ApiError(400, f"The value of {name} is not valid")
            settings[name] = int(given[name])
    settings |= {name: given[name] for name in _TEXTS if name in given}
    connection.execute(
        "UPDATE project SET title = ?, longitudinal = ?, settings = ? WHERE pid = ?",
        (
            given.get("project_title", "").strip() or row["title"],
            int(given.get("is_longitudinal") or row["longitudinal"]),
            json.dumps(settings, ensure_ascii=False),
            pid,
        ),
    )
