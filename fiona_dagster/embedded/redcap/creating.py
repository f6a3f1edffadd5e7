"""`content=project` with a super token: a new project, empty or from an ODM document."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

from fiona_dagster.embedded.redcap import groups, journal, rights
from fiona_dagster.embedded.redcap.documents import store_document
from fiona_dagster.embedded.redcap.model import ProjectModel, load_model
from fiona_dagster.embedded.redcap.odm_reading import ROLE_ATTRIBUTES, OdmProject, Row, read_odm
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.placing import EVENT, INSTANCE, INSTRUMENT
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Text
from fiona_dagster.embedded.redcap.reports import add_report
from fiona_dagster.embedded.redcap.settings import given_settings, store_settings
from fiona_dagster.embedded.redcap.structure import store_dictionary
from fiona_dagster.embedded.redcap.surveys import enable_survey
from fiona_dagster.embedded.redcap.values import Place, Values, store_rows

_BY_FORM = re.compile(r"\[(\w+),(\d+)\]")


def create_project(connection: sqlite3.Connection, parameters: Parameters, now: str) -> Text:
    """Make a project; the answer is its token, of 32 characters.

    Raises:
        ApiError: title or purpose is missing, or the parameter `odm` is no ODM.
    """
    given = given_settings(parameters)
    title = given.get("project_title", "").strip()
    if not title or not given.get("purpose", "").strip():
        raise ApiError(400, "The project_title and purpose are required to create a project")
    odm = read_odm(parameters.text("odm")) if parameters.text("odm").strip() else None
    cursor = connection.execute("INSERT INTO project (title, created_at) VALUES (?, ?)", (title, now))
    pid = int(cursor.lastrowid or 0)
    if odm is not None:
        store_settings(connection, pid, odm.settings)
        given |= {"is_longitudinal": str(int(odm.longitudinal))}
    store_settings(connection, pid, given)
    if odm is not None:
        _store_structure(connection, pid, odm)
    elif load_model(connection, pid).longitudinal:
        connection.execute("INSERT INTO arm VALUES (?, 1, 'Arm 1')", (pid,))
        connection.execute(
            "INSERT INTO event (pid, arm_num, name, unique_name) VALUES (?, 1, 'Event 1', 'event_1_arm_1')",
            (pid,),
        )
    token = rights.add_user(connection, pid, rights.ADMINISTRATOR, {})
    journal.design_change(connection, pid, now, rights.ADMINISTRATOR, f"Create project {title}")
    if odm is not None:
        _store_people(connection, pid, odm)
        _store_records(connection, load_model(connection, pid), odm)
        journal.records_created(connection, pid, now, rights.ADMINISTRATOR)
    return Text(token)


def _store_structure(connection: sqlite3.Connection, pid: int, odm: OdmProject) -> None:
    if odm.fields:
        store_dictionary(connection, pid, odm.fields, odm.forms)
    for event in odm.events:
        connection.execute(
            "INSERT OR REPLACE INTO arm VALUES (?, ?, ?)",
            (pid, event.arm_num, event.arm_name or f"Arm {event.arm_num}"),
        )
        cursor = connection.execute(
            "INSERT INTO event (pid, arm_num, name, unique_name, custom_label) VALUES (?, ?, ?, ?, ?)",
            (pid, event.arm_num, event.name, event.unique_name, event.custom_label),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO designation VALUES (?, ?, ?)",
            ((pid, cursor.lastrowid, form) for form in event.forms),
        )
    model = load_model(connection, pid)
    connection.executemany(
        "INSERT OR REPLACE INTO repeating VALUES (?, ?, ?, ?)",
        (
            (pid, model.event_by_name[event].id, form, label)
            for event, form, label in odm.repeating
            if event in model.event_by_name
        ),
    )
    for survey in odm.surveys:
        if survey.get("form_name") in model.forms and survey.get("survey_enabled", "1") == "1":
            form, resumable = survey["form_name"], survey.get("save_and_return") == "1"
            enable_survey(connection, pid, form, survey.get("title", ""), return_codes=resumable)


def _store_people(connection: sqlite3.Connection, pid: int, odm: OdmProject) -> None:
    for name in odm.groups:
        groups.add_group(connection, pid, name)
    for role in odm.roles:
        given: dict[str, object] = {
            name: int(text) if (text := role.get(ROLE_ATTRIBUTES.get(name, name), "")).isdigit() else 0
            for name in rights.RIGHTS
        }
        for name, attribute in (("forms", "data_entry"), ("forms_export", "data_export_instruments")):
            given[name] = {form: int(right) for form, right in _BY_FORM.findall(role.get(attribute, ""))}
        label = role.get("role_name", "")
        rights.store_role(connection, pid, rights.Role(rights.new_role_name(), label, given))
    for report in odm.reports:
        fields = [name for name in report.get("redcap_reports_fields", "").split(",") if name]
        add_report(connection, pid, report.get("title", ""), fields, report.get("advanced_logic", "").strip())


def _store_records(connection: sqlite3.Connection, model: ProjectModel, odm: OdmProject) -> None:
    """Values as the document has them; what an import does not take, calculated values too, is passed over."""
    written: Values = {}
    members: dict[str, str] = {}
    for row in odm.rows:
        place = _place(model, row)
        if place is None:
            continue
        base = Place(place.record, place.event_id, "", 0 if place.form else place.instance)
        written.setdefault(base, {})[model.record_id_field] = place.record
        for name, value in row.items():
            column = model.columns.get(name)
            if column is None or not column.field.holds_data or name == model.record_id_field:
                continue
            if value and not (column.code and value == "0"):
                written.setdefault(place, {})[name] = value
        if row.get(groups.GROUP):
            members[place.record] = row[groups.GROUP]
    for one in odm.files:
        place = _place(model, one.row)
        if place is not None and one.field in model.columns:
            number = store_document(connection, model.pid, one.upload, None)
            written.setdefault(place, {})[one.field] = str(number)
    store_rows(connection, model.pid, written)
    ids = {one["unique_name"]: one["group_id"] for one in groups.all_groups(connection, model.pid)}
    connection.executemany(
        "INSERT OR REPLACE INTO record_dag VALUES (?, ?, ?)",
        ((model.pid, record, ids[name]) for record, name in members.items() if name in ids),
    )


def _place(model: ProjectModel, row: Row | Mapping[str, str]) -> Place | None:
    record, event = row.get(model.record_id_field, ""), row.get(EVENT, "")
    found = model.event_by_name.get(event) if model.longitudinal else next(iter(model.events.values()))
    if not record or found is None:
        return None
    instance = row.get(INSTANCE, "")
    return Place(record, found.id, row.get(INSTRUMENT, ""), int(instance) if instance.isdigit() else 0)
