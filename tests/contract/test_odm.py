"""Projects and records as CDISC ODM: what is exported makes the same project again."""

from __future__ import annotations

import pytest
from redcap.project import Project

from fiona_dagster.domain.dictionaries import ROLES, role_dictionary
from tests.contract.api import VISITS, Api, choices, field, refusal

NOTES = "line one\nline two\n\n<b> & \"quoted\" 'text' = [x]\ttab å 日本"
DIFFICULT = (
    field("record_id", "one", field_label="The record's\nid", field_annotation="@HIDDEN\n@NOW"),
    field("note", "one", "notes", branching_logic='[record_id] <> "1"\nand [num] > 3', section_header="A < B"),
    field("num", "one", text_validation_type_or_show_slider_number="integer", text_validation_min="1",
          text_validation_max="9", required_field="y", field_note="1 to 9", custom_alignment="LH"),
    field("how", "one", "slider", **choices("low | middle | high")),
    field("sure", "one", "yesno", identifier="y"),
    field("box", "one", "checkbox", **choices("1, One | -2, Two")),
    field("total", "one", "calc", **choices("[num] * 2")),
    field("advice", "one", "descriptive", field_label="Please read"),
    field("pick", "scans", "dropdown", **choices("a, First | b, Second"), matrix_group_name=""),
    field("paper", "scans", "file"),
)  # fmt: skip


def copied(api: Api, project: Project, **form: str) -> Project:
    document = api.post(token=project.token, content="project_xml", **form).text
    return Project(api.url, api.create(title="contract test of ODM", odm=document))


@pytest.mark.parametrize("role", ROLES)
def test_our_projects_survive(api: Api, role: str) -> None:
    dictionary = role_dictionary(role)
    project = api.project(dictionary.fields, repeating=dictionary.repeating, events=dictionary.events)
    twin = copied(api, project, returnMetadataOnly="true")
    assert twin.export_metadata() == project.export_metadata()
    assert twin.export_instruments() == project.export_instruments()
    if dictionary.repeating:
        assert twin.export_repeating_instruments_events() == project.export_repeating_instruments_events()
    if dictionary.events:
        assert twin.export_instrument_event_mappings() == project.export_instrument_event_mappings()


def test_line_breaks_quotes_and_signs_survive_in_dictionary_and_values(api: Api) -> None:
    project = api.project(DIFFICULT)
    place = {"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": 3}
    project.import_records(
        [{"record_id": "1", "note": NOTES, "num": "5", "box____2": "1", "sure": "0"}, {**place, "pick": "b"}]
    )
    twin = copied(api, project)
    assert twin.export_metadata() == project.export_metadata()
    assert twin.export_records() == project.export_records()


def test_files_travel_along_when_asked(api: Api) -> None:
    project = api.project(DIFFICULT)
    place = {"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": 2}
    project.import_records([{"record_id": "1"}, {**place, "pick": "a"}])
    form = {"content": "file", "record": "1", "field": "paper", "repeat_instance": "2"}
    api.upload(b"\x00\x01", "a.bin", token=project.token, action="import", **form)
    twin = copied(api, project, exportFiles="true")
    assert api.post(token=twin.token, action="export", **form).content == b"\x00\x01"


def test_events_and_their_repetitions_survive(api: Api) -> None:
    project = api.project(events=("Visit 1", "Visit 2"), repeating=())
    rows = [{"event_name": "visit_1_arm_1", "form_name": "", "custom_form_label": ""}]
    project.import_repeating_instruments_events(rows)
    place = {"record_id": "1", "redcap_event_name": "visit_1_arm_1"}
    project.import_records(
        [{**place, "redcap_repeat_instance": n, "age": str(n)} for n in (1, 2)]
        + [{"record_id": "1", "redcap_event_name": "visit_2_arm_1", "name": "Ada"}]
    )
    twin = copied(api, project)
    assert [one["event_name"] for one in twin.export_events()] == ["Visit 1", "Visit 2"]
    assert twin.export_repeating_instruments_events() == rows
    assert twin.export_records() == project.export_records()


def test_records_are_exported_and_imported_as_odm(api: Api) -> None:
    project = api.project(events=("Visit 1",), repeating=("scans",))
    place = {"record_id": "1", "redcap_event_name": "visit_1_arm_1"}
    scan = {**place, "redcap_repeat_instrument": "scans", "redcap_repeat_instance": 4, "scan_uid": "1.2"}
    project.import_records([{**place, "name": "Ada", "drugs___a": "1"}, scan])
    before = project.export_records()
    form = {"token": project.token, "content": "record"}
    document = api.post(**form, format="odm").text
    assert "<ClinicalData" in document
    project.delete_records(["1"])
    answer = api.post(**form, format="odm", returnFormat="json", data=document)
    assert answer.json() == {"count": 1}
    assert project.export_records() == before


def test_only_what_is_asked_for_is_exported(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": "1", "name": "Ada"}, {"record_id": "2", "name": "Bob"}])
    form = {"token": project.token, "content": "project_xml"}
    chosen = api.post(**form, **{"records[0]": "2", "fields[0]": "record_id", "fields[1]": "name"}).text
    assert "Bob" in chosen
    assert "Ada" not in chosen
    assert "scan_uid" not in chosen
    assert "Bob" not in api.post(**form, returnMetadataOnly="true").text


@pytest.mark.parametrize("odm", ["<ODM", "<html/>", '<!DOCTYPE x [<!ENTITY e "x">]><ODM/>', "text"])
def test_what_is_no_odm_makes_no_project(api: Api, odm: str) -> None:
    if not api.super_token:
        pytest.skip("needs REDCAP_SUPER_TOKEN")
    data = '[{"project_title": "contract test of nothing", "purpose": 0}]'
    answer = api.post(token=api.super_token, content="project", format="json", data=data, odm=odm)
    assert answer.status_code == 400
    assert refusal(answer)


def test_a_small_dictionary_comes_as_xml_data_too(api: Api) -> None:
    if not api.super_token:
        pytest.skip("needs REDCAP_SUPER_TOKEN")
    data = "<item><project_title>contract test of XML</project_title><purpose>0</purpose></item>"
    answer = api.post(token=api.super_token, content="project", format="xml", data=data)
    project = Project(api.url, answer.text[-32:])
    assert project.export_project_info()["project_title"] == "contract test of XML"
    assert project.import_metadata([dict(one) for one in VISITS]) == len(VISITS)
