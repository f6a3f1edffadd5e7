"""What a token may do, which only our own server lets a test change."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from redcap.project import Project

from fiona_dagster.embedded.redcap import rights, settings
from fiona_dagster.embedded.redcap.model import load_model
from tests.embedded.redcap.api import Api, refusal

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
