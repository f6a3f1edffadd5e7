from __future__ import annotations

import csv

import pytest

from fiona_dagster.domain.dictionaries import ROLES, choices_of, form_columns, role_dictionary
from fiona_dagster.domain.errors import ConfigurationError
from tests.conftest import need_shared


@pytest.mark.parametrize("role", ROLES)
def test_a_dictionary_is_one_that_redcap_takes(role: str) -> None:
    dictionary = role_dictionary(role)
    names = [row["field_name"] for row in dictionary.fields]
    assert len(set(names)) == len(names)
    assert all(len(row) == 18 for row in dictionary.fields)
    assert dictionary.fields[0]["field_type"] == "text"
    assert set(dictionary.repeating) <= set(dictionary.forms) - {dictionary.forms[0]}
    forms = [row["form_name"] for row in dictionary.fields]
    assert forms == sorted(forms, key=dictionary.forms.index)
    for row in dictionary.fields:
        with_choices = row["field_type"] in {"dropdown", "checkbox", "radio"}
        assert bool(choices_of(row["select_choices_or_calculations"])) is with_choices


@pytest.mark.parametrize("role", ROLES)
def test_every_field_that_the_worked_dictionaries_have_is_there_with_type_and_codes(role: str) -> None:
    path = need_shared("data", "redcap", f"{role}_DataDictionary.csv")
    ours = {row["field_name"]: row for row in role_dictionary(role).fields}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            own = ours[row["Variable / Field Name"]]
            assert own["form_name"] == row["Form Name"]
            assert own["field_type"] == row["Field Type"]
            assert own["text_validation_type_or_show_slider_number"] in {
                row["Text Validation Type OR Show Slider Number"], "integer",
            }  # fmt: skip
            codes = set(choices_of(row["Choices, Calculations, OR Slider Labels"]))
            assert codes <= set(choices_of(own["select_choices_or_calculations"]))
            assert own["identifier"] == row["Identifier?"]


def test_columns_of_a_form_expand_boxes_and_leave_out_descriptions() -> None:
    columns = form_columns(role_dictionary("Incoming"), "transfers")
    assert {"transfer_error___1", "transfer_error___2", "transfer_error___3"} <= set(columns)
    assert "transfer_info_text" not in columns


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no REDCap project has the role"):
        role_dictionary("Nothing")
