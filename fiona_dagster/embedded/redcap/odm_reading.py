"""A project in CDISC ODM 1.3 with REDCap's extensions, read: its dictionary, structure, settings and records.

Attribute and element names are those of real REDCap exports. REDCap writes line breaks raw into attributes, where an
XML parser turns them into blanks; they are escaped before parsing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from fiona_dagster.domain.dictionaries import COLUMNS
from fiona_dagster.embedded.redcap.parameters import Upload
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.reading import parse_xml

ODM = "{http://www.cdisc.org/ns/odm/v1.3}"
REDCAP = "{https://projectredcap.org}"
SETTINGS = {
    "RecordAutonumberingEnabled": "record_autonumbering_enabled", "CustomRecordLabel": "custom_record_label",
    "SecondaryUniqueField": "secondary_unique_field", "SchedulingEnabled": "scheduling_enabled",
    "SurveysEnabled": "surveys_enabled", "RandomizationEnabled": "randomization_enabled",
    "DisplayTodayNowButton": "display_today_now_button", "Purpose": "purpose", "PurposeOther": "purpose_other",
    "ProjectNotes": "project_notes", "MissingDataCodes": "missing_data_codes",
}  # fmt: skip
"""Settings of a project: element of GlobalVariables to name in the API."""
ATTRIBUTES = {
    "FieldNote": "field_note", "SectionHeader": "section_header", "Identifier": "identifier",
    "BranchingLogic": "branching_logic", "RequiredField": "required_field", "CustomAlignment": "custom_alignment",
    "QuestionNumber": "question_number", "MatrixGroupName": "matrix_group_name",
    "FieldAnnotation": "field_annotation",
}  # fmt: skip
"""Columns of the dictionary that are attributes of an ItemDef in public exports. None of those has a ranked matrix: how
`matrix_ranking` is written is not known, and it is not read."""
ROLE_ATTRIBUTES = {
    "logging": "data_logging", "stats_and_charts": "graphical", "manage_survey_participants": "participants",
    "data_quality_create": "data_quality_design", "lock_records": "lock_record",
    "lock_records_all_forms": "lock_record_multiform", "lock_records_customization": "lock_record_customize",
}  # fmt: skip
"""Rights that have another name in ODM than in the API."""
TYPES = {"select": "dropdown", "textarea": "notes"}
VALIDATIONS = {"int": "integer", "float": "number"}
_ATTRIBUTE = re.compile(r"""=\s*("[^"<]*"|'[^'<]*')""")
_CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
_BREAKS = {"\r\n": "&#10;", "\n": "&#10;", "\r": "&#10;", "\t": "&#9;"}
_BREAK = re.compile(r"\r\n|[\n\r\t]")
Row = dict[str, str]


@dataclass(frozen=True)
class OdmEvent:
    """One StudyEventDef."""

    name: str
    unique_name: str
    arm_num: int
    arm_name: str
    custom_label: str
    forms: tuple[str, ...]


@dataclass(frozen=True)
class OdmFile:
    """The file of a field; `row` says where it belongs, as the rows of a flat import do."""

    row: Row
    field: str
    upload: Upload


@dataclass
class OdmProject:
    """What a document holds. `rows` are as in a flat import, with every value that the document has."""

    settings: Row = field(default_factory=dict)
    fields: list[Row] = field(default_factory=list)
    forms: Row = field(default_factory=dict)
    events: list[OdmEvent] = field(default_factory=list)
    repeating: list[tuple[str, str, str]] = field(default_factory=list)
    """Unique event name, instrument ('' for the whole event), label."""
    groups: list[str] = field(default_factory=list)
    surveys: list[Row] = field(default_factory=list)
    roles: list[Row] = field(default_factory=list)
    reports: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    files: list[OdmFile] = field(default_factory=list)

    @property
    def longitudinal(self) -> bool:
        return bool(self.events)


def read_odm(text: str) -> OdmProject:
    """Read a document.

    Raises:
        ApiError: it is not ODM.
    """
    try:
        root = parse_xml(_escaped(text.lstrip("\ufeff")))
    except ValueError:
        root = None
    if root is None or root.tag != f"{ODM}ODM":
        raise ApiError(400, "The ODM XML is not formatted correctly")
    project = OdmProject()
    for variables in root.iter(f"{ODM}GlobalVariables"):
        _read_settings(variables, project)
    for version in root.iter(f"{ODM}MetaDataVersion"):
        _read_structure(version, project)
    for subject in root.iter(f"{ODM}SubjectData"):
        _read_subject(subject, project)
    return project


def _escaped(text: str) -> str:
    """Line breaks inside attributes as character references, CDATA untouched."""
    parts = _CDATA.split(text)
    for position in range(0, len(parts), 2):
        parts[position] = _ATTRIBUTE.sub(
            lambda found: _BREAK.sub(lambda one: _BREAKS[one[0]], found[0]), parts[position]
        )
    return "".join(parts)


def _read_settings(variables: Element, project: OdmProject) -> None:
    for element in variables:
        name = SETTINGS.get(element.tag.removeprefix(REDCAP))
        if name:
            project.settings[name] = element.text or ""
    for one in variables.iter(f"{REDCAP}RepeatingInstrument"):
        project.repeating.append(
            (_own(one, "UniqueEventName"), _own(one, "RepeatInstrument"), _own(one, "CustomLabel"))
        )
    for one in variables.iter(f"{REDCAP}RepeatingEvent"):
        project.repeating.append((_own(one, "UniqueEventName"), "", ""))
    project.groups += [one.get("group_name", "") for one in variables.iter(f"{REDCAP}DataAccessGroups")]
    project.surveys += [dict(one.attrib) for one in variables.iter(f"{REDCAP}Surveys")]
    project.roles += [dict(one.attrib) for one in variables.iter(f"{REDCAP}UserRoles")]
    project.reports += [dict(one.attrib) for one in variables.iter(f"{REDCAP}Reports")]


def _read_structure(version: Element, project: OdmProject) -> None:
    for one in version.iter(f"{ODM}StudyEventDef"):
        project.events.append(
            OdmEvent(
                name=_own(one, "EventName") or one.get("Name", ""),
                unique_name=_own(one, "UniqueEventName"),
                arm_num=int(_own(one, "ArmNum") or 1),
                arm_name=_own(one, "ArmName"),
                custom_label=_own(one, "CustomEventLabel"),
                forms=tuple(_own(form, "FormName") for form in one.iter(f"{ODM}FormRef")),
            )
        )
    choices = {one.get("OID", ""): _choices(one) for one in version.iter(f"{ODM}CodeList")}
    items = {one.get("OID", ""): one for one in version.iter(f"{ODM}ItemDef")}
    members = {
        one.get("OID", ""): [ref.get("ItemOID", "") for ref in one.iter(f"{ODM}ItemRef")]
        for one in version.iter(f"{ODM}ItemGroupDef")
    }
    seen: set[str] = set()
    for form in version.iter(f"{ODM}FormDef"):
        name = _own(form, "FormName")
        project.forms[name] = form.get("Name", "")
        for group in form.iter(f"{ODM}ItemGroupRef"):
            for item in members.get(group.get("ItemGroupOID", ""), ()):
                definition = items.get(item)
                variable = "" if definition is None else _own(definition, "Variable")
                # Without a type: time stamp, group or identifier of a survey. The status of a form is its last item.
                if definition is None or variable in seen or not _own(definition, "FieldType"):
                    continue
                seen.add(variable)
                if variable != f"{name}_complete":
                    project.fields.append(_field(definition, name, choices))


def _field(item: Element, form: str, choices: Row) -> Row:
    kind = _own(item, "FieldType")
    row = dict.fromkeys(COLUMNS.values(), "") | {
        "field_name": _own(item, "Variable"),
        "form_name": form,
        "field_type": TYPES.get(kind, kind),
        "field_label": item.findtext(f"{ODM}Question/{ODM}TranslatedText") or "",
    }
    row |= {column: _own(item, attribute) for attribute, column in ATTRIBUTES.items()}
    validation = _own(item, "TextValidationType")
    row["text_validation_type_or_show_slider_number"] = VALIDATIONS.get(validation, validation)
    for check in item.iter(f"{ODM}RangeCheck"):
        bound = "min" if check.get("Comparator") == "GE" else "max"
        row[f"text_validation_{bound}"] = check.findtext(f"{ODM}CheckValue") or ""
    reference = item.find(f"{ODM}CodeListRef")
    if kind == "calc":
        row["select_choices_or_calculations"] = _own(item, "Calculation")
    elif kind == "slider":
        row["select_choices_or_calculations"] = _own(item, "SliderLabels")
    elif reference is not None and kind not in {"yesno", "truefalse"}:
        row["select_choices_or_calculations"] = choices.get(reference.get("CodeListOID", ""), "")
    return row


def _choices(listed: Element) -> str:
    boxes = _own(listed, "CheckboxChoices")
    if boxes:
        return " | ".join(part.strip() for part in boxes.split("|"))
    decoded = f"{ODM}Decode/{ODM}TranslatedText"
    return " | ".join(
        f"{one.get('CodedValue', '')}, {one.findtext(decoded) or ''}"
        for one in listed.iter(f"{ODM}CodeListItem")
    )


def _read_subject(subject: Element, project: OdmProject) -> None:
    repeating_forms = {(event, form) for event, form, _ in project.repeating if form}
    repeating_events = {event for event, form, _ in project.repeating if not form}
    merged: dict[tuple[str, str, str], Row] = {}
    for event, event_key, form in _forms_of(subject):
        name = form.get("FormOID", "").removeprefix("Form.")
        place = (event, "", event_key if event in repeating_events else "")
        if (event or "event_1_arm_1", name) in repeating_forms:
            place = (event, name, form.get("FormRepeatKey", "1"))
        row = merged.setdefault(place, _place_columns(place, subject.get("SubjectKey", ""), project))
        for item in form.iter(f"{ODM}ItemData"):
            row[item.get("ItemOID", "")] = item.get("Value", "")
        for item in form.iter(f"{ODM}ItemDataBase64Binary"):
            project.files.append(OdmFile(row, item.get("ItemOID", ""), _upload(item)))
    project.rows += merged.values()


def _forms_of(subject: Element) -> Iterator[tuple[str, str, Element]]:
    """Event ('' in a classic project), its repeat key and each FormData."""
    for form in subject.findall(f"{ODM}FormData"):
        yield "", "", form
    for event in subject.findall(f"{ODM}StudyEventData"):
        for form in event.findall(f"{ODM}FormData"):
            yield _own(event, "UniqueEventName"), event.get("StudyEventRepeatKey", "1"), form


def _place_columns(place: tuple[str, str, str], record: str, project: OdmProject) -> Row:
    event, form, instance = place
    row = {project.fields[0]["field_name"] if project.fields else "": record}
    if event:
        row["redcap_event_name"] = event
    if project.repeating:
        row |= {"redcap_repeat_instrument": form, "redcap_repeat_instance": instance}
    return row


def _upload(item: Element) -> Upload:
    try:
        content = base64.b64decode(item.text or "", validate=False)
    except binascii.Error:
        raise ApiError(400, "A file in the ODM XML is not base64") from None
    return Upload(_own(item, "DocName"), _own(item, "MimeType"), content)


def _own(element: Element, name: str) -> str:
    """The attribute `redcap:name`."""
    return element.get(f"{REDCAP}{name}", "")
