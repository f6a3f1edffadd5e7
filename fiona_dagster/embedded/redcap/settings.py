"""Calls about a project as a whole: its settings, its status and the server's version."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.model import ProjectModel
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.reading import read_rows
from fiona_dagster.embedded.redcap.replies import Count, One, Text

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


_ORDER = (
    "project_id", "project_title", "creation_time", "production_time", "in_production", "project_language",
    "purpose", "purpose_other", "project_notes", "custom_record_label", "secondary_unique_field",
    "is_longitudinal", "has_repeating_instruments_or_events", "surveys_enabled", "scheduling_enabled",
    "record_autonumbering_enabled", "randomization_enabled", "ddp_enabled", "project_irb_number",
    "project_grant_number", "project_pi_firstname", "project_pi_lastname", "display_today_now_button",
    "missing_data_codes", "external_modules", "bypass_branching_erase_field_prompt",
)  # fmt: skip


def export_version(call: Call) -> Text:
    """`content=version`."""
    call.user.require("api_export")
    return Text(VERSION)


def export_project(call: Call) -> One:
    """`content=project`: one object."""
    call.user.require("api_export")
    project = call.project
    known: dict[str, Any] = {
        "project_id": project.pid,
        "project_title": project.title,
        "creation_time": project.created_at,
        "production_time": project.production_at,
        "in_production": int(project.in_production),
        "project_language": "English",
        "is_longitudinal": int(project.longitudinal),
        "has_repeating_instruments_or_events": int(project.repeats),
    }
    values = {name: _shown(project, name, known) for name in _ORDER}
    return One(values)


def _shown(project: ProjectModel, name: str, known: Mapping[str, Any]) -> Any:
    stored = project.settings.get(name)
    if name in _NUMBERS:
        return int(stored or 0)
    return known.get(name, "") if stored is None else str(stored)


def import_settings(call: Call) -> Count:
    """`content=project_settings`; returns how many settings were given."""
    call.user.require("api_import", "design")
    given = given_settings(call.parameters)
    store_settings(call.connection, call.project.pid, given)
    journal.design_change(
        call.connection, call.project.pid, call.now, call.user.username, "Modify project settings"
    )
    return Count(len(given))


def set_production(connection: sqlite3.Connection, model: ProjectModel, now: str) -> None:
    """Move a project to production status, in which its structure no longer changes by API."""
    connection.execute(
        "UPDATE project SET in_production = 1, production_at = ? WHERE pid = ?", (now, model.pid)
    )


def given_settings(parameters: Parameters) -> dict[str, str]:
    """The settings in `data`; here a lone object is as good as a list with one.

    Raises:
        ApiError: `data` is malformed.
    """
    text, form = parameters.text("data").strip(), parameters.format
    if form == "json" and text.startswith("{"):
        text = f"[{text}]"
    rows = read_rows(text, form, parameters.delimiter) or []
    return rows[0] if rows else {}


def store_settings(connection: sqlite3.Connection, pid: int, given: Mapping[str, str]) -> None:
    """Change some settings of a project.

    Raises:
        ApiError: a number is none.
    """
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
