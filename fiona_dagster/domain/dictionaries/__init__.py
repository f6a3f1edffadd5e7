"""The gateway's REDCap projects as data: one data dictionary a role, importable by hand or by the API.

`<Role>.csv` has REDCap's 18 columns with the headings of its web page; `structure.json` says what a dictionary
cannot: whether a project is longitudinal, numbers its records itself, and which instruments repeat.
Field names are FIONA's (fiona-behaviour 3.1) with the additions of redcap-contract 6.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from fiona_dagster.domain.errors import ConfigurationError

COLUMNS = {
    "Variable / Field Name": "field_name",
    "Form Name": "form_name",
    "Section Header": "section_header",
    "Field Type": "field_type",
    "Field Label": "field_label",
    "Choices, Calculations, OR Slider Labels": "select_choices_or_calculations",
    "Field Note": "field_note",
    "Text Validation Type OR Show Slider Number": "text_validation_type_or_show_slider_number",
    "Text Validation Min": "text_validation_min",
    "Text Validation Max": "text_validation_max",
    "Identifier?": "identifier",
    "Branching Logic (Show field only if...)": "branching_logic",
    "Required Field?": "required_field",
    "Custom Alignment": "custom_alignment",
    "Question Number (surveys only)": "question_number",
    "Matrix Group Name": "matrix_group_name",
    "Matrix Ranking?": "matrix_ranking",
    "Field Annotation": "field_annotation",
}
"""REDCap's columns: heading in its web page to name in its API."""

GATEWAY_ROLES = (
    "Incoming", "CouplingList", "Routing", "AutoID", "DataTransferProjects", "WhatIsInIDS7", "AutomationRules",
)  # fmt: skip
"""One project each. `ProjectTemplate` is for research projects and made on demand."""
ROLES = (*GATEWAY_ROLES, "ProjectTemplate")


@dataclass(frozen=True)
class RoleDictionary:
    """What a REDCap project must look like to serve the gateway in one role."""

    role: str
    fields: tuple[dict[str, str], ...]
    """One row a field, by API name, in order; the first is the record id."""
    longitudinal: bool
    autonumber: bool
    repeating: tuple[str, ...]
    events: tuple[str, ...]

    @property
    def record_id_field(self) -> str:
        return self.fields[0]["field_name"]

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(field["form_name"] for field in self.fields))


def choices_of(text: str) -> dict[str, str]:
    """Label by code of `1, One | 2, Two`."""
    parts = (part.partition(",") for part in text.split("|") if part.strip())
    return {code.strip(): label.strip() for code, _, label in parts}


def form_columns(dictionary: RoleDictionary, form: str) -> tuple[str, ...]:
    """Names of a form's columns in a flat export: checkboxes expanded, without the record id and `_complete`."""
    names: list[str] = []
    for field in dictionary.fields[1:]:
        if field["form_name"] != form or field["field_type"] == "descriptive":
            continue
        if field["field_type"] == "checkbox":
            codes = choices_of(field["select_choices_or_calculations"])
            names.extend(f"{field['field_name']}___{code}" for code in codes)
        else:
            names.append(field["field_name"])
    return tuple(names)


@lru_cache(maxsize=len(ROLES))
def role_dictionary(role: str) -> RoleDictionary:
    """The dictionary of a role.

    Raises:
        ConfigurationError: there is no such role.
    """
    if role not in ROLES:
        raise ConfigurationError(f"no REDCap project has the role '{role}'", remedy=f"use {', '.join(ROLES)}")
    folder = files(__package__)
    structure = json.loads((folder / "structure.json").read_text(encoding="utf-8"))[role]
    lines = (folder / f"{role}.csv").read_text(encoding="utf-8").splitlines()
    rows = tuple(
        {COLUMNS[heading]: value for heading, value in row.items()}
        for row in csv.DictReader(lines, strict=True)
    )
    return RoleDictionary(
        role=role,
        fields=rows,
        longitudinal=structure["longitudinal"],
        autonumber=structure["autonumber"],
        repeating=tuple(structure["repeating"]),
        events=tuple(structure.get("events", ())),
    )
