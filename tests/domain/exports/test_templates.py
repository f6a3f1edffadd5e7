from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.templates import INSTANCE_FIELDS, STUDY_FIELDS, folder_template


def test_fields_become_folders() -> None:
    made = folder_template("{participant}/{event}/{modality}-{series}")
    values = {"participant": "P001", "event": "Year 1", "modality": "CT", "series": "0003_Thorax"}
    assert made.folder(values) == "P001/Year_1/CT-0003_Thorax"


def test_a_missing_event_leaves_out_its_level_and_anything_else_is_unknown() -> None:
    assert folder_template("{participant}/{event}/{accession}").folder({"participant": "P"}) == "P/unknown"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a//b",
        "../{study}",
        "{nothing}",
        "{participant",
        "a{b}c",
        "a/./b",
        "x\\y",
        "a" * 201,
        "/".join("a" * 9),
    ],
)
def test_a_template_that_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        folder_template(text)


def test_a_field_of_an_instance_is_refused_where_there_are_none() -> None:
    with pytest.raises(ConfigurationError, match="unknown field"):
        folder_template("{modality}", known=STUDY_FIELDS)


@given(st.dictionaries(st.sampled_from(INSTANCE_FIELDS), st.text(max_size=30)))
def test_no_value_leads_out_of_its_folder_or_makes_another(values: dict[str, str]) -> None:
    levels = folder_template("{participant}/{study_date}_{series}").folder(values).split("/")
    assert len(levels) == 2
    assert not [level for level in levels if level in {"", ".", ".."} or set(level) & set("\\\0")]
