"""What any REDCap tells of a project's structure, asked through PyCap (redcap-contract 1.2, 1.3)."""

from __future__ import annotations

import json

import pytest

from fiona_dagster.domain.dictionaries import ROLES, role_dictionary
from tests.contract.api import VISITS, Api, field, refusal


@pytest.mark.parametrize("role", ROLES)
def test_our_dictionaries_come_back_as_they_went(api: Api, role: str) -> None:
    dictionary = role_dictionary(role)
    project = api.project(dictionary.fields, repeating=dictionary.repeating, events=dictionary.events)
    assert project.export_metadata() == list(dictionary.fields)
    assert project.def_field == dictionary.record_id_field


def test_importing_a_dictionary_replaces_all_of_it(api: Api) -> None:
    project = api.project()
    assert project.import_metadata([field("record_id", "one"), field("two", "one")]) == 2
    assert [row["field_name"] for row in project.export_metadata()] == ["record_id", "two"]
    assert [row["instrument_name"] for row in project.export_instruments()] == ["one"]


@pytest.mark.parametrize(
    "rows",
    [
        [field("Record", "one")],
        [field("record_id", "one"), field("record_id", "one")],
        [field("record_id", "one"), field("x", "one", "wishful")],
        [field("record_id", "one"), field("x", "one", "radio")],
        [field("record_id", "one"), field("x", "two"), field("y", "one")],
        [field("record_id", "one", "radio", select_choices_or_calculations="1, A")],
        [],
    ],
)
def test_a_dictionary_that_makes_no_sense_is_refused_whole(api: Api, rows: list[dict[str, str]]) -> None:
    project = api.project()
    answer = api.post(token=project.token, content="metadata", format="json", data=json.dumps(rows))
    assert answer.status_code == 400
    assert len(project.export_metadata()) == len(VISITS)


def test_metadata_can_be_asked_for_by_field_and_form(api: Api) -> None:
    project = api.project()
    assert [row["field_name"] for row in project.export_metadata(fields=["age"])] == ["age"]
    assert [row["field_name"] for row in project.export_metadata(forms=["scans"])] == [
        "scan_uid",
        "scan_count",
    ]


def test_export_field_names_expand_boxes_and_omit_files_and_descriptions(api: Api) -> None:
    rows = api.project().export_field_names()
    names = [row["export_field_name"] for row in rows]
    assert {"original_field_name": "drugs", "choice_value": "-2", "export_field_name": "drugs____2"} in rows
    assert "score" in names
    assert "scans_complete" in names
    assert not {"picture", "advice"} & set(names)


def test_a_classic_project_has_no_events(api: Api) -> None:
    project = api.project()
    for content, what in (("arm", "arms"), ("event", "events"), ("formEventMapping", "form/event mappings")):
        answer = api.post(token=project.token, content=content, format="json")
        assert answer.status_code == 400
        assert refusal(answer) == f"You cannot export {what} for classic projects"
    assert not project.is_longitudinal


def test_event_names_are_made_unique_as_redcap_makes_them(api: Api) -> None:
    project = api.project(events=("Baseline and then some", "Follow-up 2"))
    events = project.export_events()
    assert [one["unique_event_name"] for one in events] == ["baseline_and_then_arm_1", "followup_2_arm_1"]
    assert all(isinstance(one["event_id"], int) and one["arm_num"] == 1 for one in events)
    assert project.is_longitudinal


def test_a_second_event_of_the_same_name_gets_a_letter(api: Api) -> None:
    project = api.project(events=("Visit",))
    project.import_events([{"event_name": "Visit", "arm_num": 1}])
    assert [one["unique_event_name"] for one in project.export_events()] == ["visit_arm_1", "visit_arm_1b"]


def test_arms_without_events_are_not_shown(api: Api) -> None:
    project = api.project(events=("Visit",))
    project.import_arms([{"arm_num": 2, "name": "Second"}])
    assert [arm["arm_num"] for arm in project.export_arms()] == [1]
    project.import_events([{"event_name": "Late", "arm_num": 2}])
    assert [arm["name"] for arm in project.export_arms(arms=["2"])] == ["Second"]
    assert project.delete_arms(["2"]) == 1
    assert [one["unique_event_name"] for one in project.export_events()] == ["visit_arm_1"]


def test_a_mapping_replaces_all_mappings(api: Api) -> None:
    project = api.project(events=("One", "Two"))
    wanted = [{"arm_num": 1, "unique_event_name": "two_arm_1", "form": "scans"}]
    assert project.import_instrument_event_mappings(wanted) == 1
    assert project.export_instrument_event_mappings() == wanted


def test_what_repeats_is_told_with_and_without_events(api: Api) -> None:
    assert api.project().export_repeating_instruments_events() == [
        {"form_name": "scans", "custom_form_label": ""}
    ]
    rows = api.project(events=("One",)).export_repeating_instruments_events()
    assert rows == [{"event_name": "one_arm_1", "form_name": "scans", "custom_form_label": ""}]


def test_a_project_describes_itself_as_one_object(api: Api) -> None:
    info = api.project(title="contract test of a title").export_project_info()
    assert info["project_title"] == "contract test of a title"
    assert (info["in_production"], info["is_longitudinal"], info["has_repeating_instruments_or_events"]) == (
        0,
        0,
        1,
    )
    assert isinstance(info["project_id"], int)


def test_a_project_needs_title_and_purpose(api: Api) -> None:
    if not api.super_token:
        pytest.skip("needs REDCAP_SUPER_TOKEN")
    answer = api.post(
        token=api.super_token, content="project", format="json", data='[{"project_title": "x"}]'
    )
    assert answer.status_code == 400


def test_the_version_is_bare_text(api: Api) -> None:
    version = api.project().export_version()
    assert version is not None
    assert version.major >= 8


def test_the_log_tells_newest_first_who_did_what(api: Api) -> None:
    project = api.project()
    project.import_records([{"record_id": "1", "name": "Ada"}])
    project.import_records([{"record_id": "1", "name": "Bob"}])
    project.import_records([{"record_id": "1", "name": "Bob"}])
    project.delete_records(["1"])
    rows = project.export_logging(log_type="record")
    assert [row["action"].replace(" (API)", "") for row in rows[:3]] == [
        "Delete record 1", "Update record 1", "Create record 1",
    ]  # fmt: skip
    assert "name = 'Bob'" in rows[1]["details"]
    assert list(rows[0]) == ["timestamp", "username", "action", "details", "record"]
    assert any(row["action"] == "Manage/Design " for row in project.export_logging(log_type="manage"))


def test_a_user_is_told_with_rights_by_form(api: Api) -> None:
    user = next(one for one in api.project().export_users() if one["api_import"] == 1)
    assert user["api_export"] == 1
    assert set(user["forms_export"]) == {"baseline", "scans", "lifestyle"}


def test_unknown_content_is_refused(api: Api) -> None:
    answer = api.post(token=api.create(), content="wishes", format="json")
    assert answer.status_code == 400
    assert refusal(answer) == 'The value of the parameter "content" is not valid'


@pytest.mark.parametrize("token", ["", "short", "0" * 32, "0" * 64])
def test_an_unknown_token_is_refused(api: Api, token: str) -> None:
    answer = api.post(token=token, content="version", format="json")
    assert answer.status_code == 403
    assert refusal(answer) == "You do not have permissions to use the API"


def test_errors_follow_the_return_format(api: Api) -> None:
    form = {"token": "0" * 32, "content": "version"}
    assert api.post(**form, format="csv").text.startswith("ERROR: You do not have")
    assert "<hash><error>You do not have" in api.post(**form).text
    assert "error" in api.post(**form, format="csv", returnFormat="json").json()


def test_other_methods_are_not_implemented(api: Api) -> None:
    import requests

    assert requests.get(api.url, timeout=30).status_code == 501
