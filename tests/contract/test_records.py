"""What any REDCap does with records, asked through PyCap (redcap-contract 1.3 to 1.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redcap.project import Project

from tests.contract.api import Api, field, refusal, validated

PERSON = {"record_id": "1", "name": "Ada", "age": "36", "born": "1815-12-10", "sex": "0", "drugs___1": "1"}


def scan(record: str, instance: int | str, uid: str, **more: str) -> dict[str, Any]:
    place = {"record_id": record, "redcap_repeat_instrument": "scans", "redcap_repeat_instance": instance}
    return {**place, "scan_uid": uid, **more}


def imported(project: Project, rows: Any, **options: Any) -> Any:
    form = {
        "token": project.token,
        "content": "record",
        "format": "json",
        "type": "flat",
        "data": json.dumps(rows),
    }
    return Api(project.url, "").post(**form, **options)


def test_an_export_has_one_base_row_a_record_then_one_row_an_instance(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2"), scan("1", 2, "1.3"), {"record_id": "2"}])
    rows = project.export_records()
    places = [(r["record_id"], r["redcap_repeat_instrument"], r["redcap_repeat_instance"]) for r in rows]
    assert places == [("1", "", ""), ("1", "scans", 1), ("1", "scans", 2), ("2", "", "")]
    assert rows[0]["name"] == "Ada"
    assert rows[0]["scan_uid"] == rows[1]["name"] == ""
    assert rows[0]["baseline_complete"] == "0"
    assert rows[1]["baseline_complete"] == ""
    assert rows[1]["scans_complete"] == "0"


def test_columns_follow_the_dictionary_and_each_instrument_ends_in_its_complete(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON])
    assert list(project.export_records()[0]) == [
        "record_id", "redcap_repeat_instrument", "redcap_repeat_instance", "name", "age", "born", "sex",
        "drugs___1", "drugs____2", "drugs___a", "remark", "score", "picture", "baseline_complete",
        "scan_uid", "scan_count", "scans_complete", "smoker", "lifestyle_complete",
    ]  # fmt: skip


def test_boxes_that_cannot_be_ticked_on_a_row_are_blank(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2")])
    base, instance = project.export_records(fields=["drugs", "scan_uid"])
    assert (base["drugs___1"], base["drugs____2"]) == ("1", "0")
    assert (instance["drugs___1"], instance["drugs____2"]) == ("", "")


def test_labels_replace_codes(api: Api) -> None:
    project = api.project()
    project.import_records([{**PERSON, "smoker": "1"}])
    row = project.export_records(raw_or_label="label")[0]
    assert (row["sex"], row["drugs___1"], row["drugs____2"]) == ("Female", "Checked", "Unchecked")
    assert (row["smoker"], row["baseline_complete"]) == ("Yes", "Incomplete")
    assert (
        project.export_records(raw_or_label="label", export_checkbox_labels=True)[0]["drugs___1"] == "Aspirin"
    )


def test_records_sort_as_numbers(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": str(number), "name": "x"} for number in (10, 9, 100)])
    assert [row["record_id"] for row in project.export_records(fields=["name"])] == ["9", "10", "100"]


def test_csv_quotes_values_with_white_space(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": "1", "name": 'Ada "A" L', "age": "36"}])
    text = project.export_records(format_type="csv", fields=["record_id", "name", "age"])
    assert text == 'record_id,name,age\n1,"Ada ""A"" L",36\n'


def test_xml_holds_what_json_holds(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": "1", "name": "a<b&c"}])
    text = project.export_records(format_type="xml", fields=["record_id", "name"])
    assert "a&lt;b&amp;c" in text or "<![CDATA[a<b&c]]>" in text
    rows = f"<records><item><record_id>2</record_id><name>{'é' * 3}</name></item></records>"
    assert project.import_records(rows, import_format="xml") == {"count": 1}
    assert project.export_records(records=["2"])[0]["name"] == "ééé"


def test_csv_is_imported(api: Api) -> None:
    project = api.project()
    text = 'record_id,name\n1,"Ada, Countess"\n2,Bob\n'
    assert project.import_records(text, import_format="csv", return_content="ids") == ["1", "2"]
    assert project.export_records(records=["1"])[0]["name"] == "Ada, Countess"


def test_eav_has_one_row_a_value_and_a_round_trip_changes_nothing(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2")])
    rows = project.export_records(record_type="eav")
    assert {"record": "1", "redcap_repeat_instrument": "", "redcap_repeat_instance": "", "field_name": "drugs",
            "value": "1"} in rows  # fmt: skip
    assert {"record": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": 1,
            "field_name": "scan_uid", "value": "1.2"} in rows  # fmt: skip
    assert all(row["value"] for row in rows)
    before = project.export_records()
    answer = api.post(token=project.token, content="record", format="json", type="eav", data=json.dumps(rows))
    assert answer.json() == {"count": 1}
    assert project.export_records() == before


def test_a_round_trip_of_a_flat_export_is_accepted(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2")])
    before = project.export_records()
    assert project.import_records(before, overwrite="overwrite") == {"count": 1}
    assert project.export_records() == before


def test_an_import_counts_records_not_rows(api: Api) -> None:
    project = api.project()
    rows = [PERSON, scan("1", 1, "1.2"), scan("2", 1, "1.3")]
    assert project.import_records(rows) == {"count": 2}
    assert project.import_records(rows, return_content="ids") == ["1", "2"]
    assert project.import_records(rows, return_content="nothing") == [{}]
    form = {"token": project.token, "content": "record", "format": "json", "data": json.dumps(rows)}
    assert api.post(**form, returnFormat="csv").text == "2"
    assert api.post(**form, returnFormat="xml").text.endswith("<count>2</count>")


def test_a_lone_object_counts_as_nothing(api: Api) -> None:
    project = api.project()
    assert imported(project, PERSON).json() == {"count": 0}
    assert project.export_records() == []


def test_blanks_erase_only_when_overwriting(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON])
    blank = {"record_id": "1", "name": "", "drugs___1": ""}
    project.import_records([blank])
    assert project.export_records()[0]["name"] == "Ada"
    project.import_records([blank], overwrite="overwrite")
    row = project.export_records()[0]
    assert (row["name"], row["drugs___1"], row["age"]) == ("", "0", "36")


def test_a_zero_unticks_a_box(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON])
    project.import_records([{"record_id": "1", "drugs___1": "0"}])
    assert project.export_records()[0]["drugs___1"] == "0"


def test_new_takes_the_next_instance(api: Api) -> None:
    project = api.project()
    project.import_records([scan("1", 3, "1.3")])
    project.import_records([scan("1", "new", "1.4")])
    found = {
        row["redcap_repeat_instance"]: row["scan_uid"] for row in project.export_records(forms=["scans"])
    }
    assert {3: "1.3", 4: "1.4"}.items() <= found.items()


def test_calculated_and_file_values_are_passed_over(api: Api) -> None:
    project = api.project()
    assert project.import_records([{**PERSON, "score": "99", "picture": "x.png"}]) == {"count": 1}
    assert project.export_records()[0]["picture"] == ""


def test_dates_are_stored_year_first_however_they_are_written(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": "1", "born": "10/12/1815"}], date_format="DMY")
    project.import_records([{"record_id": "2", "born": "12/10/1815"}], date_format="MDY")
    assert [row["born"] for row in project.export_records(fields=["born"])] == ["1815-12-10", "1815-12-10"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"record_id": "1", "sex": "2"}, '"1","sex","2","The value is not a valid category for sex"'),
        ({"record_id": "1", "sex": "Male"}, '"1","sex","Male","The value is not a valid category for sex"'),
        ({"record_id": "1", "drugs___1": "2"}, '"1","drugs___1","2","The value is not a valid category'),
        ({"record_id": "1", "age": "3.5"}, '"1","age","3.5","The value you provided could not be validated'),
        ({"record_id": "1", "born": "1815-02-30"}, '"1","born","1815-02-30","The value you provided could not be'),
        ({"record_id": "1", "nothing": "x"}, "were not found in the project as real data fields: nothing"),
        ({"record_id": "1", "redcap_event_name": "e"}, "real data fields: redcap_event_name"),
        ({"record_id": "1", "scan_uid": "1.2"},
         "This field ('scan_uid') exists on a Repeating Instrument named 'scans'"),
        (scan("1", 0, "1.2"), "redcap_repeat_instance"),
        ({"record_id": "1", "redcap_repeat_instrument": "lifestyle", "redcap_repeat_instance": 1, "smoker": "1"},
         "redcap_repeat_instrument must be the unique form name of a Repeating Instrument"),
        ({"record_id": "1", "redcap_repeat_instance": 1, "name": "x"},
         "redcap_repeat_instance cannot have a value since this instrument or event is not a repeating"),
        ({"record_id": "", "name": "x"}, "record_id"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_in_redcaps_words(api: Api, row: dict[str, Any], message: str) -> None:
    answer = imported(api.project(), [row])
    assert answer.status_code == 400
    assert message in refusal(answer)


def test_one_bad_row_refuses_all_and_every_problem_is_named(api: Api) -> None:
    project = api.project()
    answer = imported(project, [PERSON, {"record_id": "2", "sex": "9"}, {"record_id": "3", "age": "old"}])
    lines = refusal(answer).splitlines()
    assert [line.split(",")[0] for line in lines] == ['"2"', '"3"']
    assert project.export_records() == []


@pytest.mark.parametrize("data", ["[", '"text"', "[1]", '[{"record_id": {"a": 1}}]'])
def test_malformed_data_is_refused(api: Api, data: str) -> None:
    project = api.project()
    answer = api.post(token=project.token, content="record", format="json", data=data)
    assert answer.status_code in {400, 406}
    assert "error" in answer.json()


def test_missing_data_codes_fit_any_field(api: Api) -> None:
    project = api.project(missing_data_codes="-999, not asked")
    project.import_records([{"record_id": "1", "sex": "-999", "age": "-999"}])
    assert project.export_records()[0]["sex"] == "-999"


def test_forced_numbers_come_back_with_the_given_ones(api: Api) -> None:
    project = api.project(repeating=(), record_autonumbering_enabled=1)
    project.import_records([{"record_id": "7", "name": "x"}])
    rows = [{"record_id": "a", "name": "y"}, {"record_id": "a", "age": "1"}, {"record_id": "b", "name": "z"}]
    answer = project.import_records(rows, force_auto_number=True, return_content="auto_ids")
    assert answer == ["8,a", "9,b"]
    assert project.export_records(records=["8"])[0]["age"] == "1"


def test_the_next_record_name_is_one_more_than_the_highest(api: Api) -> None:
    project = api.project(repeating=())
    assert project.generate_next_record_name() == "1"
    project.import_records([{"record_id": "41", "name": "x"}])
    assert project.generate_next_record_name() == "42"


def test_deleting_takes_records_or_one_instance(api: Api) -> None:
    project = api.project()
    project.import_records(
        [PERSON, scan("1", 1, "1.2"), scan("1", 2, "1.3"), {"record_id": "2", "name": "x"}]
    )
    assert project.delete_records(["1"], instrument="scans", repeat_instance=1) == 1
    assert [r["scan_uid"] for r in project.export_records() if r["redcap_repeat_instrument"]] == ["1.3"]
    assert project.delete_records(["2"]) == 1
    assert {row["record_id"] for row in project.export_records()} == {"1"}


def test_deleting_what_is_not_there_is_refused(api: Api) -> None:
    project = api.project()
    form = {"token": project.token, "content": "record", "action": "delete", "returnFormat": "json"}
    message = refusal(api.post(**form, **{"records[0]": "1"}))
    assert message == (
        "One or more of the records provided cannot be deleted because they do not exist in the project. "
        "The following records do not exist: 1"
    )


def test_a_record_is_renamed(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2")])
    form = {"token": project.token, "content": "record", "action": "rename", "returnFormat": "json"}
    assert api.post(**form, record="1", new_record_name="X-1").text == "1"
    assert {row["record_id"] for row in project.export_records()} == {"X-1"}


def test_arrays_come_in_two_notations(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": name, "age": "1"} for name in "abc"])
    form = {"token": project.token, "content": "record", "format": "json", "fields": "record_id,age"}
    one = api.post(**form, **{"records[0]": "a", "records[1]": "c"}).json()
    other = api.post(**form, records="a,c").json()
    assert one == other == [{"record_id": "a", "age": "1"}, {"record_id": "c", "age": "1"}]


def test_wrong_parameter_names_are_ignored(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{"record_id": name, "age": "1"} for name in "abc"])
    answer = api.post(
        token=project.token, content="record", format="json", **{"record[0]": "a", "field[0]": "age"}
    )
    assert len(answer.json()) == 3


def test_fields_do_not_bring_the_record_id_but_forms_bring_their_complete(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([PERSON])
    form = {"token": project.token, "content": "record", "format": "json"}
    assert api.post(**form, fields="age").json() == [{"age": "36"}]
    assert api.post(**form, forms="lifestyle").json() == [{"smoker": "", "lifestyle_complete": "0"}]


@pytest.mark.parametrize("name", ["nothing", "redcap_event_name", "redcap_repeat_instance"])
def test_fields_that_do_not_exist_are_refused(api: Api, name: str) -> None:
    project = api.project()
    answer = api.post(token=project.token, content="record", format="json", fields=name)
    assert answer.status_code == 400
    assert refusal(answer) == f"The following values in the parameter \"fields\" are not valid: '{name}'"


@pytest.mark.parametrize(
    ("logic", "records"),
    [
        ("[age] > 36", ["2"]),
        ("[age] >= 36 AND [sex] = '0'", ["1"]),
        ("[sex] <> '1' or [age] = 40", ["1", "2", "3"]),
        ("not ([sex] = '1')", ["1", "3"]),
        ("[drugs(1)] = '1'", ["1"]),
        ("[age] = ''", ["3"]),
        ("[born] < '1900-01-01'", ["1", "3"]),
        ("contains([name], 'AD')", ["1"]),
        ("[age] + 4 = 40", ["1"]),
    ],
)
def test_filter_logic_chooses_records(api: Api, logic: str, records: list[str]) -> None:
    project = api.project(repeating=())
    project.import_records([PERSON, {"record_id": "2", "age": "40", "sex": "1", "born": "1950-01-01"},
                            {"record_id": "3", "name": "Bob"}])  # fmt: skip
    assert [row["record_id"] for row in project.export_records(filter_logic=logic)] == records


@pytest.mark.parametrize("logic", ["[age] >", "age = 1", "[nothing] = 1", "system('x')", "[age] = 'x"])
def test_logic_that_cannot_be_understood_is_an_error(api: Api, logic: str) -> None:
    project = api.project(repeating=())
    answer = api.post(token=project.token, content="record", format="json", filterLogic=logic)
    assert answer.status_code == 400


def test_a_condition_on_a_repeating_instrument_chooses_instances(api: Api) -> None:
    project = api.project()
    project.import_records([PERSON, scan("1", 1, "1.2", scan_count="5"), scan("1", 2, "1.3", scan_count="6")])
    rows = project.export_records(filter_logic="[scan_count] = 6 and [name] = 'Ada'")
    assert [row["scan_uid"] for row in rows if row["redcap_repeat_instrument"]] == ["1.3"]


def test_a_date_range_chooses_what_changed(api: Api) -> None:
    from datetime import datetime, timedelta

    project = api.project(repeating=())
    project.import_records([PERSON])
    now = datetime.now()  # noqa: DTZ005 — REDCap compares with the server's local time
    assert len(project.export_records(date_begin=now - timedelta(hours=1))) == 1
    assert project.export_records(date_end=now - timedelta(hours=1)) == []


def test_a_longitudinal_export_has_a_row_an_event(api: Api) -> None:
    project = api.project(events=("Visit 1", "Visit 2"))
    rows = [
        {"record_id": "1", "redcap_event_name": "visit_1_arm_1", "name": "Ada"},
        {"record_id": "1", "redcap_event_name": "visit_2_arm_1", "age": "37"},
        {**scan("1", 1, "1.2"), "redcap_event_name": "visit_2_arm_1"},
    ]
    assert project.import_records(rows) == {"count": 1}
    found = project.export_records(fields=["record_id", "name", "age", "scan_uid"])
    assert list(found[0])[:4] == [
        "record_id", "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance",
    ]  # fmt: skip
    assert [(row["redcap_event_name"], row["redcap_repeat_instance"]) for row in found] == [
        ("visit_1_arm_1", ""), ("visit_2_arm_1", ""), ("visit_2_arm_1", 1),
    ]  # fmt: skip
    only = project.export_records(events=["visit_1_arm_1"])
    assert [row["name"] for row in only] == ["Ada"]
    assert project.export_records(raw_or_label="label")[0]["redcap_event_name"] == "Visit 1"
    named = project.export_records(filter_logic="[visit_1_arm_1][name] = 'Ada'", fields=["age"])
    assert [row["redcap_event_name"] for row in named] == ["visit_1_arm_1", "visit_2_arm_1"]
    assert project.delete_records(["1"], event="visit_2_arm_1") == 1
    assert {row["redcap_event_name"] for row in project.export_records()} == {"visit_1_arm_1"}


def test_a_field_must_belong_to_the_event(api: Api) -> None:
    project = api.project(events=("Visit 1",))
    form = {"arm_num": 1, "unique_event_name": "visit_1_arm_1", "form": "baseline"}
    project.import_instrument_event_mappings([form])
    row = {"record_id": "1", "redcap_event_name": "visit_1_arm_1", "smoker": "1"}
    assert refusal(imported(project, [row])) == (
        '"1","smoker","1","This field (\'smoker\') exists on an instrument that is not designated for the event named '
        "'Visit 1 (Arm 1: Arm 1)'. You are not allowed to import data for this field into this event.\""
    )
    blank = {"record_id": "1", "redcap_event_name": "", "name": "x"}
    assert "redcap_event_name" in refusal(imported(project, [blank]))


def test_a_repeating_event_leaves_the_instrument_blank(api: Api) -> None:
    project = api.project(events=("Visit",), repeating=())
    project.import_repeating_instruments_events(
        [{"event_name": "visit_arm_1", "form_name": "", "custom_form_label": ""}]
    )
    place = {"record_id": "1", "redcap_event_name": "visit_arm_1", "redcap_repeat_instrument": ""}
    project.import_records([{**place, "redcap_repeat_instance": n, "age": str(n)} for n in (1, 2)])
    rows = project.export_records(fields=["age"])
    assert [(row["redcap_repeat_instrument"], row["redcap_repeat_instance"], row["age"]) for row in rows] == [
        ("", 1, "1"), ("", 2, "2"),
    ]  # fmt: skip


def test_ticked_boxes_are_combined_when_asked(api: Api) -> None:
    project = api.project(repeating=())
    project.import_records([{**PERSON, "drugs____2": "1"}, {"record_id": "2"}])
    form = {"token": project.token, "content": "record", "format": "json", "fields": "record_id,drugs"}
    rows = api.post(**form, combineCheckboxOptions="true").json()
    assert rows == [{"record_id": "1", "drugs": "1,-2"}, {"record_id": "2", "drugs": ""}]
    labelled = api.post(**form, combineCheckboxOptions="true", rawOrLabel="label").json()
    assert labelled[0]["drugs"] == "Aspirin,None, really"


def test_numbers_take_the_decimal_character_asked_for(api: Api) -> None:
    fields = [field("record_id", "one"), field("dose", "one", **validated("number")), field("text", "one")]
    project = api.project(fields, repeating=())
    project.import_records([{"record_id": "1", "dose": "1.5", "text": "2.5"}])
    row = project.export_records(decimal_character=",")[0]
    assert (row["dose"], row["text"]) == ("1,5", "2.5")


def test_rows_without_an_event_go_to_the_first_one(api: Api) -> None:
    project = api.project(events=("Visit 1", "Visit 2"))
    project.import_records([{"record_id": "1", "name": "Ada"}])
    assert project.export_records()[0]["redcap_event_name"] == "visit_1_arm_1"


def test_an_import_in_the_background_says_that_it_was_taken(api: Api) -> None:
    project = api.project()
    answer = imported(project, [PERSON], backgroundProcess="true")
    assert answer.json() == {"success": True}


@pytest.mark.parametrize(
    ("logic", "records"),
    [
        ("age_at_date([born], '2000-12-09') = 184", ["1"]),
        ("isblankormissingcode([age])", ["2", "3"]),
        ("isblanknotmissingcode([age])", ["3"]),
        ("ismissingcode([age])", ["2"]),
        ("hasmissingcode([age], [sex])", ["2"]),
        ("dayoftheweek([born]) = dayoftheweek('2024-01-07')", ["1"]),
        ("concat_ws('-', [record_id], [sex]) = '1-0'", ["1"]),
        ("datediff([born], '1815-12-20', 'd') = 10", ["1"]),
        ("if([age] = '36', 'yes', 'no') = 'yes'", ["1"]),
        ("mean([age], 38) = 37", ["1"]),
    ],
)
def test_functions_of_filter_logic(api: Api, logic: str, records: list[str]) -> None:
    project = api.project(repeating=(), missing_data_codes="-999, not asked")
    project.import_records([PERSON, {"record_id": "2", "age": "-999"}, {"record_id": "3", "name": "Bob"}])
    assert [row["record_id"] for row in project.export_records(filter_logic=logic)] == records
