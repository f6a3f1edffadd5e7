"""What a token may do, which only our own server lets a test change."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from redcap.project import Project

from fiona_dagster.embedded.redcap import rights, settings
from fiona_dagster.embedded.redcap.model import load_model
from tests.contract.api import Api, field, refusal

ROWS = [{"record_id": "1", "name": "Ada", "age": "36", "born": "1815-12-10", "remark": "free", "smoker": "1"}]


def pid_of(project: Project) -> int:
    return int(project.export_project_info()["project_id"])


def user_token(api: Api, project: Project, **given: Any) -> str:
    """Token of another user of the project."""
    assert api.server is not None
    with api.server.database.transaction(write=True) as connection:
        return rights.add_user(connection, pid_of(project), "service", given)


@pytest.mark.parametrize(
    ("right", "form", "message"),
    [
        ("api_export", {"content": "record"}, "You do not have API Export privileges"),
        ("api_import", {"content": "record", "data": "[]"}, "You do not have API Import/Update privileges"),
        ("record_delete", {"content": "record", "action": "delete", "records": "1"},
         "You do not have Delete Record privileges"),
        ("logging", {"content": "log"}, "You do not have Logging privileges"),
        ("design", {"content": "metadata", "data": "[]"}, "You do not have Project Design privileges"),
        ("record_create", {"content": "record", "data": '[{"record_id":"2"}]'},
         "You do not have Create Record privileges"),
    ],
)  # fmt: skip
def test_a_missing_right_is_named(own: Api, right: str, form: dict[str, str], message: str) -> None:
    token = user_token(own, own.project(), **{right: 0})
    answer = own.post(token=token, format="json", **form)
    assert (answer.status_code, refusal(answer)) == (403, message)


@pytest.mark.parametrize(
    ("right", "visible"),
    [
        (rights.FULL, {"name", "age", "born", "remark"}),
        (rights.IDENTIFIERS_REMOVED, {"age", "born", "remark"}),
        (rights.DEIDENTIFIED, {"age"}),
        (rights.NO_ACCESS, set()),
    ],
)
def test_fields_vanish_silently_with_limited_export_rights(own: Api, right: int, visible: set[str]) -> None:
    project = own.project()
    project.import_records(ROWS)
    limited = Project(own.url, user_token(own, project, forms_export={"baseline": right}))
    row = limited.export_records()[0]
    assert visible == {"name", "age", "born", "remark"} & set(row)
    assert row["record_id"] == "1"
    assert row["smoker"] == "1"


def test_in_production_the_structure_does_not_change_but_records_do(own: Api) -> None:
    project = own.project()
    assert own.server is not None
    with own.server.database.transaction(write=True) as connection:
        settings.set_production(connection, load_model(connection, pid_of(project)), "2026-01-01 10:00:00")
    answer = own.post(
        token=project.token, content="metadata", format="json", data=json.dumps(project.export_metadata())
    )
    assert answer.status_code == 403
    assert project.import_records(ROWS) == {"count": 1}
    assert project.export_project_info()["in_production"] == 1


def test_a_super_token_only_makes_projects(own: Api) -> None:
    for form in ({"content": "project"}, {"content": "record"}, {"content": "metadata", "data": "[]"}):
        assert own.post(token=own.super_token, format="json", **form).status_code == 403


def test_tokens_are_nowhere_in_the_file(own: Api) -> None:
    project = own.project()
    assert own.server is not None
    own.server.stop()
    sqlite3.connect(own.server.database.path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = own.server.database.path.read_bytes()
    assert project.token.encode() not in content
    assert own.super_token.encode() not in content
    assert own.server.database.path.stat().st_mode & 0o777 == 0o600


def test_a_project_does_not_see_another(own: Api) -> None:
    one, other = own.project(), own.project()
    one.import_records(ROWS)
    assert other.export_records() == []


def in_group(own: Api, project: Project) -> Project:
    """The project as a user of the group `site_a` sees it."""
    project.import_dags([{"data_access_group_name": "Site A", "unique_group_name": ""}])
    token = user_token(own, project)
    project.import_user_dag_assignment([{"username": "service", "redcap_data_access_group": "site_a"}])
    return Project(own.url, token)


class TestDataAccessGroups:
    def test_a_member_sees_and_changes_only_the_groups_records(self, own: Api) -> None:
        project = own.project()
        member = in_group(own, project)
        project.import_records(
            [*ROWS, {"record_id": "2", "redcap_data_access_group": "site_a", "name": "Bob"}]
        )
        rows = member.export_records(export_data_access_groups=True)
        assert [row["record_id"] for row in rows] == ["2"]
        assert "redcap_data_access_group" not in rows[0]
        form = {"token": member.token, "content": "record", "format": "json"}
        answer = own.post(**form, data='[{"record_id": "1", "name": "Eve"}]')
        assert "does not belong to your Data Access Group" in refusal(answer)
        assert own.post(**form, action="delete", records="1").status_code == 400
        assert own.post(**form, action="rename", record="1", new_record_name="9").status_code == 400
        assert project.export_records(records=["1"])[0]["name"] == "Ada"

    def test_new_records_of_a_member_belong_to_the_group_and_are_numbered_in_it(self, own: Api) -> None:
        project = own.project(record_autonumbering_enabled=1)
        member = in_group(own, project)
        number = member.export_dags()[0]["data_access_group_id"]
        name = member.generate_next_record_name()
        assert name == f"{number}-1"
        member.import_records([{"record_id": "a", "name": "x"}], force_auto_number=True)
        assert member.generate_next_record_name() == f"{number}-2"
        rows = project.export_records(export_data_access_groups=True)
        assert [(row["record_id"], row["redcap_data_access_group"]) for row in rows] == [(name, "site_a")]

    def test_a_member_cannot_reach_files_surveys_or_other_groups(self, own: Api) -> None:
        project = own.project()
        member = in_group(own, project)
        project.import_records(ROWS)
        form = {"token": member.token, "record": "1", "returnFormat": "json"}
        answer = own.post(**form, content="file", action="export", field="picture")
        assert refusal(answer) == 'The record "1" does not exist'
        assert own.post(**form, content="pdf").status_code == 400
        row = [{"record_id": "3", "redcap_data_access_group": "site_b"}]
        answer = own.post(token=member.token, content="record", format="json", data=json.dumps(row))
        assert "cannot assign records to another one" in refusal(answer)


def test_a_role_replaces_the_users_own_rights(own: Api) -> None:
    project = own.project()
    service = Project(own.url, user_token(own, project))
    project.import_user_roles([{"role_label": "Reader", "api_export": 1, "forms_export": {"baseline": 3}}])
    role = project.export_user_roles()[0]["unique_role_name"]
    project.import_user_role_assignment([{"username": "service", "unique_role_name": role}])
    project.import_records(ROWS)
    assert "name" not in service.export_records()[0]
    answer = own.post(token=service.token, content="record", format="json", data="[]")
    assert refusal(answer) == "You do not have API Import/Update privileges"
    project.delete_user_roles([role])
    assert "name" in service.export_records()[0]


def test_the_file_of_an_identifier_needs_full_export_rights(own: Api) -> None:
    fields = [field("record_id", "baseline"), field("consent", "baseline", "file", identifier="y")]
    project = own.project(fields, repeating=())
    project.import_records([{"record_id": "1"}])
    place = {"content": "file", "record": "1", "field": "consent"}
    own.upload(b"x", "a.txt", token=project.token, action="import", **place)
    limited = user_token(own, project, forms_export={"baseline": rights.IDENTIFIERS_REMOVED})
    assert own.post(token=limited, action="export", returnFormat="json", **place).status_code == 403


def test_a_folder_of_one_group_is_hidden_from_another(own: Api) -> None:
    project = own.project()
    member = in_group(own, project)
    project.import_dags([{"data_access_group_name": "Site B", "unique_group_name": ""}])
    numbers = {one["unique_group_name"]: one["data_access_group_id"] for one in project.export_dags()}
    for name in ("site_a", "site_b"):
        project.create_folder_in_repository(name, dag_id=numbers[name])
    assert [one["name"] for one in member.export_file_repository()] == ["site_a"]
    assert [one["name"] for one in project.export_file_repository()] == ["site_a", "site_b"]
