"""A project in CDISC ODM 1.3 with REDCap's extensions, written: `project_xml`, and records with `format=odm`.

Line breaks in attributes are character references, so that an XML parser keeps them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.documents import load_document
from fiona_dagster.embedded.redcap.exporting import Chosen, choose_records, chosen_columns
from fiona_dagster.embedded.redcap.model import Column, Event, ProjectModel
from fiona_dagster.embedded.redcap.odm_reading import (
    ATTRIBUTES,
    TYPES,
    VALIDATIONS,
)
from fiona_dagster.embedded.redcap.odm_variables import attributes_of, global_variables, own_attributes
from fiona_dagster.embedded.redcap.replies import MEDIA_TYPES, Text
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
        f"{_HEAD}{attributes_of(Description=project.title, AsOfDateTime=at, SourceSystem='REDCap')}>",
        f"<Study{attributes_of(OID=names.study)}>",
        *global_variables(call),
        *_metadata(project, columns, names),
        "</Study>",
    ]
    if chosen is not None:
        parts.append(f"<ClinicalData{attributes_of(StudyOID=names.study, MetaDataVersionOID=names.version)}>")
        for record, places in groupby(chosen.places, key=lambda place: place.record):
            parts += _subject(call, record, list(places), chosen, files=files)
        parts.append("</ClinicalData>")
    return Text("\n".join([*parts, "</ODM>", ""]), MEDIA_TYPES["xml"])


def _metadata(project: ProjectModel, columns: Sequence[Column], names: _Names) -> Iterator[str]:
    own = own_attributes(RecordIdField=project.record_id_field)
    yield f"<MetaDataVersion{attributes_of(OID=names.version, Name=project.title)}{own}>"
    if project.longitudinal:
        yield from _events(project)
    by_form: dict[str, list[Column]] = {}
    for column in columns:
        by_form.setdefault(column.field.form, []).append(column)
    described = [one for one in project.fields.values() if one.type == "descriptive"]
    for form in by_form:
        label = project.forms[form]
        yield f"<FormDef{attributes_of(OID=f'Form.{form}', Name=label, Repeating='No')}{own_attributes(FormName=form)}>"
        yield f"<ItemGroupRef{attributes_of(ItemGroupOID=f'{form}.items', Mandatory='No')}/></FormDef>"
    for form, members in by_form.items():
        yield f"<ItemGroupDef{attributes_of(OID=f'{form}.items', Name=project.forms[form], Repeating='No')}>"
        order = {one.name: position for position, one in enumerate(project.fields.values())}
        items = [(order.get(one.field.name, len(order)), one.name, one.field.name) for one in members]
        items += [(order[one.name], one.name, one.name) for one in described if one.form == form]
        for _, name, variable in sorted(items, key=lambda item: item[0]):
            yield f"<ItemRef{attributes_of(ItemOID=name, Mandatory='No')}{own_attributes(Variable=variable)}/>"
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
        attributes = attributes_of(
            StudyEventOID=f"Event.{event.unique_name}", OrderNumber=str(number), Mandatory="No"
        )
        yield f"<StudyEventRef{attributes}/>"
    yield "</Protocol>"
    for event in project.events.values():
        repeating = "Yes" if (event.id, "") in project.repeating else "No"
        attributes = attributes_of(
            OID=f"Event.{event.unique_name}", Name=event.name, Type="Common", Repeating=repeating
        )
        yield f"<StudyEventDef{attributes}{_event_attributes(project, event)}>"
        for number, form in enumerate((one for one in project.forms if one in event.forms), start=1):
            attributes = attributes_of(FormOID=f"Form.{form}", OrderNumber=str(number), Mandatory="No")
            yield f"<FormRef{attributes}{own_attributes(FormName=form)}/>"
        yield "</StudyEventDef>"


def _event_attributes(project: ProjectModel, event: Event) -> str:
    return own_attributes(
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
    attributes = attributes_of(
        OID=column.name, Name=column.name, DataType=data_type, Length="1" if column.code else "999"
    )
    label = f"<Question><TranslatedText>{escape(one.label)}</TranslatedText></Question>"
    yield f"<ItemDef{attributes}{own_attributes(**kept)}>{label}"
    if one.choices:
        yield f"<CodeListRef{attributes_of(CodeListOID=f'{column.name}.choices')}/>"
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
    attributes = attributes_of(OID=f"{column.name}.choices", Name=column.name, DataType="text")
    boxes = (
        own_attributes(CheckboxChoices=one.definition["select_choices_or_calculations"])
        if column.code
        else ""
    )
    yield f"<CodeList{attributes}{own_attributes(Variable=one.name)}{boxes}>"
    for code, label in ({"1": "Checked", "0": "Unchecked"} if column.code else one.choices).items():
        decoded = f"<Decode><TranslatedText>{escape(label)}</TranslatedText></Decode>"
        yield f"<CodeListItem{attributes_of(CodedValue=code)}>{decoded}</CodeListItem>"
    yield "</CodeList>"


def _subject(
    call: Call, record: str, places: Sequence[Place], chosen: Chosen, *, files: bool
) -> Iterator[str]:
    project = call.project
    own = own_attributes(RecordIdField=project.record_id_field)
    yield f"<SubjectData{attributes_of(SubjectKey=record)}{own}>"
    for place in places:
        event = project.events[place.event_id]
        if project.longitudinal:
            key = str(1 if place.form else place.instance or 1)
            attributes = attributes_of(StudyEventOID=f"Event.{event.unique_name}", StudyEventRepeatKey=key)
            yield f"<StudyEventData{attributes}{own_attributes(UniqueEventName=event.unique_name)}>"
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
            items.append(f"<ItemData{attributes_of(ItemOID=column.name, Value=value)}/>")
        elif files:
            found = load_document(call.connection, call.project.pid, value)
            if found is not None:
                own = own_attributes(DocName=found.name, MimeType=found.media_type)
                content = base64.b64encode(found.content).decode("ascii")
                items.append(
                    f"<ItemDataBase64Binary{attributes_of(ItemOID=column.name)}{own}><![CDATA[{content}]]>"
                    "</ItemDataBase64Binary>"
                )
    if items:
        key = str(place.instance) if place.form else "1"
        yield f"<FormData{attributes_of(FormOID=f'Form.{form}', FormRepeatKey=key)}>"
        yield f"<ItemGroupData{attributes_of(ItemGroupOID=f'{form}.items', ItemGroupRepeatKey='1')}>"
        yield from (*items, "</ItemGroupData></FormData>")
