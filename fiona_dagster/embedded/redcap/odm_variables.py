"""GlobalVariables of an ODM document: a project's settings, what repeats, its groups, surveys, roles and reports."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from fiona_dagster.embedded.redcap import groups, rights
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.model import ProjectModel
from fiona_dagster.embedded.redcap.odm_reading import ROLE_ATTRIBUTES, SETTINGS
from fiona_dagster.embedded.redcap.reports import all_reports
from fiona_dagster.embedded.redcap.surveys import survey_forms

_BREAKS = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def global_variables(call: Call) -> Iterator[str]:
    """The element, line by line."""
    project = call.project
    yield f"<GlobalVariables><StudyName>{escape(project.title)}</StudyName>"
    yield f"<StudyDescription>{escape(project.title)}</StudyDescription>"
    yield f"<ProtocolName>{escape(project.title)}</ProtocolName>"
    for element, name in SETTINGS.items():
        yield f"<redcap:{element}>{escape(str(project.settings.get(name, '')))}</redcap:{element}>"
    yield from _repeating(project)
    yield from _group("DataAccessGroups", (
        {"group_name": one["name"]} for one in groups.all_groups(call.connection, project.pid)
    ))  # fmt: skip
    yield from _group("Surveys", (
        {"form_name": one["form"], "title": one["title"], "save_and_return": str(one["return_codes"])}
        for one in survey_forms(call.connection, project.pid)
    ))  # fmt: skip
    yield from _group("UserRoles", _roles(call.connection, project))
    yield from _group("Reports", (
        {"title": one["title"], "redcap_reports_fields": ",".join(json.loads(one["fields"])),
         "advanced_logic": one["logic"]}
        for one in all_reports(call.connection, project.pid)
    ))  # fmt: skip
    yield "</GlobalVariables>"


def _group(name: str, entries: Iterable[Mapping[str, str]]) -> Iterator[str]:
    lines = [f"<redcap:{name}{attributes_of(**entry)}/>" for entry in entries]
    if lines:
        yield from (f"<redcap:{name}Group>", *lines, f"</redcap:{name}Group>")


def _roles(connection: sqlite3.Connection, project: ProjectModel) -> Iterator[dict[str, str]]:
    for role in rights.roles(connection, project.pid):
        shown = rights.rights_row(role.rights, project)
        by_form = {
            attribute: "".join(f"[{form},{right}]" for form, right in shown.pop(name).items())
            for attribute, name in (("data_entry", "forms"), ("data_export_instruments", "forms_export"))
        }
        own = {ROLE_ATTRIBUTES.get(name, name): str(value) for name, value in shown.items()}
        yield {"role_name": role.label, **own, **by_form}


def _repeating(project: ProjectModel) -> Iterator[str]:
    if not project.repeats:
        return
    yield "<redcap:RepeatingInstrumentsAndEvents>"
    forms = [
        f"<redcap:RepeatingInstrument{own_attributes(UniqueEventName=_event_name(project, event))}"
        f"{own_attributes(RepeatInstrument=form, CustomLabel=label)}/>"
        for (event, form), label in project.repeating.items()
        if form
    ]
    if forms:
        yield from ("<redcap:RepeatingInstruments>", *forms, "</redcap:RepeatingInstruments>")
    for event, form in project.repeating:
        if not form:
            yield f"<redcap:RepeatingEvent{own_attributes(UniqueEventName=_event_name(project, event))}/>"
    yield "</redcap:RepeatingInstrumentsAndEvents>"


def _event_name(project: ProjectModel, event_id: int) -> str:
    return project.events[event_id].unique_name


def attributes_of(**values: str) -> str:
    """Attributes, each with a blank before it."""
    return "".join(f" {name}={quoteattr(value, _BREAKS)}" for name, value in values.items())


def own_attributes(**values: str) -> str:
    """Attributes of REDCap's namespace."""
    return "".join(f" redcap:{name}={quoteattr(value, _BREAKS)}" for name, value in values.items())
