"""Files of records and of the repository, over the wire (redcap-contract 1.3)."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from redcap.project import Project

from tests.contract.api import Api, field, refusal, validated

PLACE = {"content": "file", "record": "1", "field": "picture"}
REPEATING_FILE = (field("record_id", "one"), field("scan_uid", "scans"), field("scan_file", "scans", "file"))


def with_record(api: Api, **options: Any) -> Project:
    project = api.project(**options)
    project.import_records([{"record_id": "1"}])
    return project


def test_a_file_comes_back_with_name_and_character_set_in_its_content_type(api: Api) -> None:
    token = with_record(api).token
    answer = api.upload(b"\x00\xff", "a b.bin", token=token, action="import", **PLACE)
    assert (answer.status_code, answer.text) == (200, "")
    got = api.post(token=token, action="export", **PLACE)
    assert got.content == b"\x00\xff"
    assert 'name="a b.bin"' in got.headers["content-type"]
    assert got.headers["content-type"].lower().endswith("charset=utf-8")


def test_an_export_of_records_shows_the_name_of_the_file_in_either_shape(api: Api) -> None:
    project = with_record(api)
    api.upload(b"x", "a.txt", token=project.token, action="import", **PLACE)
    api.upload(b"y", "b.txt", token=project.token, action="import", **PLACE)
    assert project.export_records(fields=["picture"])[0]["picture"] == "b.txt"
    rows = project.export_records(record_type="eav", fields=["picture"])
    assert {row["value"] for row in rows if row["field_name"] == "picture"} == {"b.txt"}


def test_a_round_trip_of_records_leaves_the_file_alone(api: Api) -> None:
    project = with_record(api)
    api.upload(b"x", "a.txt", token=project.token, action="import", **PLACE)
    project.import_records(project.export_records(), overwrite="overwrite")
    assert api.post(token=project.token, action="export", **PLACE).content == b"x"


def test_instances_have_files_of_their_own(api: Api) -> None:
    project = with_record(api, fields=REPEATING_FILE)
    rows = [{"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": n, "scan_uid": "1"}
            for n in (1, 2)]  # fmt: skip
    project.import_records(rows)
    place = {**PLACE, "field": "scan_file"}
    for number in (1, 2):
        form = {"token": project.token, "action": "import", "repeat_instance": str(number), **place}
        assert api.upload(str(number).encode(), f"{number}.txt", **form).status_code == 200
    got = api.post(token=project.token, action="export", repeat_instance="2", **place)
    assert got.content == b"2"
    assert api.post(token=project.token, action="delete", repeat_instance="1", **place).status_code == 200
    names = [
        row["scan_file"] for row in project.export_records(forms=["scans"]) if row["redcap_repeat_instance"]
    ]
    assert names == ["", "2.txt"]


def test_a_deleted_record_takes_its_file_along(api: Api) -> None:
    project = with_record(api)
    api.upload(b"x", "a.txt", token=project.token, action="import", **PLACE)
    project.delete_records(["1"])
    project.import_records([{"record_id": "1"}])
    answer = api.post(token=project.token, action="export", returnFormat="json", **PLACE)
    assert (answer.status_code, refusal(answer)) == (400, "There is no file to download for this record")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"field": "name"}, "The field 'name' does not exist or is not a 'file' field"),
        ({"field": "nothing"}, "The field 'nothing' does not exist or is not a 'file' field"),
        ({"record": "2"}, "does not exist"),
        ({}, "There is no file to download for this record"),
    ],
)
def test_a_file_that_is_not_there_is_refused(api: Api, changes: dict[str, str], message: str) -> None:
    token = with_record(api).token
    answer = api.post(token=token, action="export", returnFormat="json", **{**PLACE, **changes})
    assert answer.status_code == 400
    assert message in refusal(answer)


def test_an_import_needs_a_file_and_a_record(api: Api) -> None:
    token = with_record(api).token
    form = {"token": token, "action": "import", "returnFormat": "json"}
    assert api.post(**form, **PLACE).status_code == 400
    assert api.upload(b"x", "a.txt", **form, **{**PLACE, "record": "2"}).status_code == 400


def test_a_signature_cannot_be_imported(api: Api) -> None:
    fields = (field("record_id", "one"), field("signed", "one", "file", **validated("signature")))
    token = with_record(api, fields=fields, repeating=()).token
    form = {"token": token, "action": "import", "returnFormat": "json", **PLACE, "field": "signed"}
    assert "signature" in refusal(api.upload(b"x", "a.png", **form)).lower()


def test_the_repository_lists_folders_first_and_refuses_what_is_not_there(api: Api) -> None:
    name = f"zebra {uuid4()}"
    form = {"token": api.project(repeating=()).token, "content": "fileRepository", "format": "json"}
    folder = api.post(**form, action="createFolder", name=name).json()[0]["folder_id"]
    api.upload(b"x", "contract.txt", **form, action="import")
    listed = api.post(**form, action="list").json()
    names = [one["name"] for one in listed]
    assert names.index(name) < names.index("contract.txt")
    assert all(("folder_id" in one) != ("doc_id" in one) for one in listed)
    assert isinstance(folder, int)
    for action, place in (("list", {"folder_id": "999999999"}), ("export", {"doc_id": "999999999"}),
                          ("delete", {"doc_id": "0"})):  # fmt: skip
        assert api.post(**form, action=action, **place).status_code == 400


def test_a_pdf_of_a_record_that_is_not_there_is_refused(api: Api) -> None:
    project = with_record(api)
    form = {"token": project.token, "content": "pdf", "returnFormat": "json"}
    got = api.post(**form, record="1", instrument="baseline")
    assert got.content.startswith(b"%PDF-")
    assert "application/pdf" in got.headers["content-type"]
    assert api.post(**form, allRecords="true").content.startswith(b"%PDF-")
    assert api.post(**form, instrument="nothing").status_code == 400
    assert json.loads(api.post(**form, record="2").text)["error"]
