"""A project in CDISC ODM 1.3 with REDCap's extensions, written: `project_xml`, and records with `format=odm`.

Line breaks in attributes are character references, so that an XML parser keeps them.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from fiona_dagster.embedded.redcap import groups, rights
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.documents import load_document
from fiona_dagster.embedded.redcap.exporting import Chosen, choose_records, chosen_columns
from fiona_dagster.embedded.redcap.model import Column, Event, ProjectModel
from fiona_dagster.embedded.redcap.odm_reading import (
    ATTRIBUTES,
    ROLE_ATTRIBUTES,
    SETTINGS,
    TYPES,
    VALIDATIONS,
)
from fiona_dagster.embedded.redcap.replies import MEDIA_TYPES, Text
from fiona_dagster.embedded.redcap.reports import all_reports
from fiona_dagster.embedded.redcap.surveys import survey_forms
from fiona_dagster.embedded.redcap.values import Place

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" ?>\n'
    '<ODM xmlns="http://www.cdisc.org/ns/odm/v1.3" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:redcap="https://projectredcap.org" '
    'xsi:schemaLocation="http://www.cdisc.org/ns/odm/v1.3 schema/odm/ODM1-3-1.xsd" ODMVersion="1.3.1" '
    'FileOID="000-00-0000" FileType="Snapshot"'
)
_CODED_TYPES = {kind: coded for coded, kind in TYPES.items()}
_CODED_VALIDATIONS = {kind: coded for coded, kind in VALIDATIONS.items()}
_DATA_TYPES = {"integer": "integer", "int": "integer", "number": "float", "float": "float"}
_BREAKS = {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


@dataclass(frozen=True)
class _Names:
    """Identifiers within one document."""

    study: str
    version: str


def export_project_xml(call: Call) -> Text:
    """`content=project_xml`: structure and, without `returnMetadataOnly`, records; `exportFiles` adds the files."""
    call.user.require("api_export", "design")
    chosen = None if call.parameters.flag("returnMetadataOnly") else choose_records(call)
    return _document(call, chosen, files=call.parameters.flag("exportFiles"))


def export_records_odm(call: Call) -> Text:
    """`content=record` with `format=odm`: the dictionary of the fields asked for, and their values."""
    return _document(call, choose_records(call), files=False)


def _document(call: Call, chosen: Chosen | None, *, files: bool) -> Text:
    project = call.project
    at = call.now.replace(" ", "T")
    plain = re.sub(r"[^A-Za-z0-9]", "", project.title.title())
    names = _Names(f"Project.{plain}", f"Metadata.{plain}_{call.now[:16].replace(' ', '_').replace(':', '')}")
    columns = chosen.columns if chosen else tuple(chosen_columns(call))
    parts = [
        f"{_HEAD}{_attributes(Description=project.title, AsOfDateTime=at, SourceSystem='REDCap')}>",
        f"<Study{_attributes(OID=names.study)}>",
        *_global_variables(call),
        *_metadata(project, columns, names),
        "</Study>",
    ]
    if chosen is not None:
        parts.append(f"<ClinicalData{_attributes(StudyOID=names.study, MetaDataVersionOID=names.version)}>")
        for record, places in groupby(chosen.places, key=lambda place: place.record):
            parts += _subject(call, record, list(places), chosen, files=files)
        parts.append("</ClinicalData>")
    return Text("\n".join([*parts, "</ODM>", ""]), MEDIA_TYPES["xml"])


def _global_variables(call: Call) -> Iterator[str]:
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
        {"title": one["title"], "redcap_reports_fields": ",".join(_listed(one["fields"])),
         "advanced_logic": one["logic"]}
        for one in all_reports(call.connection, project.pid)
    ))  # fmt: skip
    yield "</GlobalVariables>"


def _listed(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _group(name: str, entries: Iterable[Mapping[str, str]]) -> Iterator[str]:
    lines = [f"<redcap:{name}{_attributes(**entry)}/>" for entry in entries]
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
        f"<redcap:RepeatingInstrument{_own(UniqueEventName=_event_name(project, event), RepeatInstrument=form)}"
        f"{_own(CustomLabel=label)}/>"
        for (event, form), label in project.repeating.items()
        if form
    ]
    if forms:
        yield from ("<redcap:RepeatingInstruments>", *forms, "</redcap:RepeatingInstruments>")
    for event, form in project.repeating:
        if not form:
            yield f"<redcap:RepeatingEvent{_own(UniqueEventName=_event_name(project, event))}/>"
    yield "</redcap:RepeatingInstrumentsAndEvents>"


def _event_name(project: ProjectModel, event_id: int) -> str:
    return project.events[event_id].unique_name


def _metadata(project: ProjectModel, columns: Sequence[Column], names: _Names) -> Iterator[str]:
    own = _own(RecordIdField=project.record_id_field)
    yield f"<MetaDataVersion{_attributes(OID=names.version, Name=project.title)}{own}>"
    if project.longitudinal:
        yield from _events(project)
    by_form: dict[str, list[Column]] = {}
    for column in columns:
        by_form.setdefault(column.field.form, []).append(column)
    described = [one for one in project.fields.values() if one.type == "descriptive"]
    for form in by_form:
        label = project.forms[form]
        yield f"<FormDef{_attributes(OID=f'Form.{form}', Name=label, Repeating='No')}{_own(FormName=form)}>"
        yield f"<ItemGroupRef{_attributes(ItemGroupOID=f'{form}.items', Mandatory='No')}/></FormDef>"
    for form, members in by_form.items():
        yield f"<ItemGroupDef{_attributes(OID=f'{form}.items', Name=project.forms[form], Repeating='No')}>"
        order = {one.name: position for position, one in enumerate(project.fields.values())}
        items = [(order.get(one.field.name, len(order)), one.name, one.field.name) for one in members]
        items += [(order[one.name], one.name, one.name) for one in described if one.form == form]
        for _, name, variable in sorted(items, key=lambda item: item[0]):
            yield f"<ItemRef{_attributes(ItemOID=name, Mandatory='No')}{_own(Variable=variable)}/>"
        yield "</ItemGroupDef>"
    everything = [*columns, *(Column(one.name, one) for one in described if one.form in by_form)]
    for column in everything:
        yield from _item(column)
    for column in everything:
        yield from _code_list(column)
    yield "</MetaDataVersion>"


def _events(project: ProjectModel) -> Iterator[str]:
    yield "<Protocol>"
    for number, event in enumerate(project.events.values(), start=1):
        attributes = _attributes(
            StudyEventOID=f"Event.{event.unique_name}", OrderNumber=str(number), Mandatory="No"
        )
        yield f"<StudyEventRef{attributes}/>"
    yield "</Protocol>"
    for event in project.events.values():
        repeating = "Yes" if (event.id, "") in project.repeating else "No"
        attributes = _attributes(
            OID=f"Event.{event.unique_name}", Name=event.name, Type="Common", Repeating=repeating
        )
        yield f"<StudyEventDef{attributes}{_event_attributes(project, event)}>"
        for number, form in enumerate((one for one in project.forms if one in event.forms), start=1):
            attributes = _attributes(FormOID=f"Form.{form}", OrderNumber=str(number), Mandatory="No")
            yield f"<FormRef{attributes}{_own(FormName=form)}/>"
        yield "</StudyEventDef>"


def _event_attributes(project: ProjectModel, event: Event) -> str:
    return _own(
        EventName=event.name, CustomEventLabel=event.custom_label, UniqueEventName=event.unique_name,
        ArmNum=str(event.arm_num), ArmName=project.arms.get(event.arm_num, ""),
    )  # fmt: skip


def _item(column: Column) -> Iterator[str]:
    one, definition = column.field, column.field.definition
    kind = "select" if one.type == "complete" else _CODED_TYPES.get(one.type, one.type)
    own = {"Variable": one.name, "FieldType": kind}
    validation = definition.get("text_validation_type_or_show_slider_number", "")
    own["TextValidationType"] = _CODED_VALIDATIONS.get(validation, validation)
    own |= {attribute: definition.get(name, "") for attribute, name in ATTRIBUTES.items()}
    text = definition.get("select_choices_or_calculations", "")
    own |= {
        "Calculation": text if one.type == "calc" else "",
        "SliderLabels": text if one.type == "slider" else "",
    }
    kept = {name: value for name, value in own.items() if value}
    data_type = "boolean" if column.code else _DATA_TYPES.get(one.validation, "text")
    attributes = _attributes(
        OID=column.name, Name=column.name, DataType=data_type, Length="1" if column.code else "999"
    )
    label = f"<Question><TranslatedText>{escape(one.label)}</TranslatedText></Question>"
    yield f"<ItemDef{attributes}{_own(**kept)}>{label}"
    if one.choices:
        yield f"<CodeListRef{_attributes(CodeListOID=f'{column.name}.choices')}/>"
    for bound, comparator in (("min", "GE"), ("max", "LE")):
        limit = definition.get(f"text_validation_{bound}", "")
        if limit:
            check = f"<CheckValue>{escape(limit)}</CheckValue>"
            yield f'<RangeCheck Comparator="{comparator}" SoftHard="Soft">{check}</RangeCheck>'
    yield "</ItemDef>"


def _code_list(column: Column) -> Iterator[str]:
    one = column.field
    if not one.choices:
        return
    attributes = _attributes(OID=f"{column.name}.choices", Name=column.name, DataType="text")
    boxes = _own(CheckboxChoices=one.definition["select_choices_or_calculations"]) if column.code else ""
    yield f"<CodeList{attributes}{_own(Variable=one.name)}{boxes}>"
    for code, label in ({"1": "Checked", "0": "Unchecked"} if column.code else one.choices).items():
        decoded = f"<Decode><TranslatedText>{escape(label)}</TranslatedText></Decode>"
        yield f"<CodeListItem{_attributes(CodedValue=code)}>{decoded}</CodeListItem>"
    yield "</CodeList>"


def _subject(
    call: Call, record: str, places: Sequence[Place], chosen: Chosen, *, files: bool
) -> Iterator[str]:
    project = call.project
    own = _own(RecordIdField=project.record_id_field)
    yield f"<SubjectData{_attributes(SubjectKey=record)}{own}>"
    for place in places:
        event = project.events[place.event_id]
        if project.longitudinal:
            key = str(1 if place.form else place.instance or 1)
            attributes = _attributes(StudyEventOID=f"Event.{event.unique_name}", StudyEventRepeatKey=key)
            yield f"<StudyEventData{attributes}{_own(UniqueEventName=event.unique_name)}>"
        forms = {place.form} if place.form else project.base_forms(event)
        for form in (one for one in project.forms if one in forms):
            columns = [one for one in chosen.columns if one.field.form == form]
            yield from _form(call, place, form, columns, chosen, files=files)
        if project.longitudinal:
            yield "</StudyEventData>"
    yield "</SubjectData>"


def _form(
    call: Call, place: Place, form: str, columns: Sequence[Column], chosen: Chosen, *, files: bool
) -> Iterator[str]:
    stored = chosen.values[place]
    items = []
    for column in columns:
        value = stored.get(column.name, "0" if column.code else "")
        if not value:
            continue
        if column.field.type != "file":
            items.append(f"<ItemData{_attributes(ItemOID=column.name, Value=value)}/>")
        elif files:
            found = load_document(call.connection, call.project.pid, value)
            if found is not None:
                own = _own(DocName=found.name, MimeType=found.media_type)
                content = base64.b64encode(found.content).decode("ascii")
                items.append(
                    f"<ItemDataBase64Binary{_attributes(ItemOID=column.name)}{own}><![CDATA[{content}]]>"
                    "</ItemDataBase64Binary>"
                )
    if items:
        key = str(place.instance) if place.form else "1"
        yield f"<FormData{_attributes(FormOID=f'Form.{form}', FormRepeatKey=key)}>"
        yield f"<ItemGroupData{_attributes(ItemGroupOID=f'{form}.items', ItemGroupRepeatKey='1')}>"
        yield from (*items, "</ItemGroupData></FormData>")


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(value, _BREAKS)}" for name, value in values.items())


def _own(**values: str) -> str:
    """Attributes of REDCap's namespace."""
    return "".join(f" redcap:{name}={quoteattr(value, _BREAKS)}" for name, value in values.items())
