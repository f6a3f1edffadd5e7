"""Users, roles and data access groups, over the wire."""

from __future__ import annotations

import json
from typing import Any

from redcap.project import Project

from tests.contract.api import Api, refusal


def posted(api: Api, project: Project, content: str, rows: Any = None, **form: Any) -> Any:
    data = {} if rows is None else {"data": json.dumps(rows)}
    return api.post(token=project.token, content=content, format="json", **data, **form)


def with_group(api: Api) -> Project:
    project = api.project()
    posted(
        api, project, "dag", [{"data_access_group_name": "Site A", "unique_group_name": ""}], action="import"
    )
    return project


def test_records_are_put_into_groups_and_shown_with_them_when_asked(api: Api) -> None:
    project = with_group(api)
    project.import_records([{"record_id": "1", "redcap_data_access_group": "site_a"}, {"record_id": "2"}])
    rows = project.export_records(fields=["age"], export_data_access_groups=True)
    assert [row["redcap_data_access_group"] for row in rows] == ["site_a", ""]
    assert list(rows[0])[:4] == [
        "record_id", "redcap_repeat_instrument", "redcap_repeat_instance", "redcap_data_access_group",
    ]  # fmt: skip
    labelled = project.export_records(fields=["age"], export_data_access_groups=True, raw_or_label="label")
    assert labelled[0]["redcap_data_access_group"] == "Site A"
    assert "redcap_data_access_group" not in project.export_records()[0]
    project.import_records([{"record_id": "1", "redcap_data_access_group": ""}])
    assert project.export_records(export_data_access_groups=True)[0]["redcap_data_access_group"] == "site_a"


def test_a_group_that_does_not_exist_is_refused(api: Api) -> None:
    project = with_group(api)
    answer = posted(api, project, "record", [{"record_id": "1", "redcap_data_access_group": "nowhere"}])
    assert answer.status_code == 400
    assert refusal(answer).startswith('"1","redcap_data_access_group","nowhere"')
    assert project.export_records() == []


def test_without_groups_their_column_is_no_field(api: Api) -> None:
    answer = posted(api, api.project(), "record", [{"record_id": "1", "redcap_data_access_group": "x"}])
    assert "not found in the project as real data fields: redcap_data_access_group" in refusal(answer)


def test_a_group_keeps_its_unique_name_when_renamed(api: Api) -> None:
    project = with_group(api)
    renamed = [{"data_access_group_name": "Site B", "unique_group_name": "site_a"}]
    assert posted(api, project, "dag", renamed, action="import").json() == 1
    group = posted(api, project, "dag").json()[0]
    assert (group["data_access_group_name"], group["unique_group_name"]) == ("Site B", "site_a")
    wrong = [{"data_access_group_name": "X", "unique_group_name": "nowhere"}]
    assert posted(api, project, "dag", wrong, action="import").status_code == 400


def test_switching_needs_an_administrators_permission(api: Api) -> None:
    assert posted(api, with_group(api), "dag", action="switch", dag="site_a").status_code in {400, 403}


def test_rights_come_in_json_csv_and_xml(api: Api) -> None:
    project = api.project()
    line = 'username,design,forms\ncontract_tester,0,"baseline:2,scans:0"\n'
    form = {"token": project.token, "content": "user", "returnFormat": "json"}
    assert api.post(**form, format="csv", data=line).json() == 1
    user = next(one for one in project.export_users() if one["username"] == "contract_tester")
    assert (user["forms"]["baseline"], user["forms"]["scans"]) == (2, 0)
    assert '"baseline:2,scans:0' in project.export_users(format_type="csv") or (
        "baseline:2,scans:0" in project.export_users(format_type="csv")
    )
    text = "<users><item><username>contract_tester</username><forms><scans>1</scans></forms></item></users>"
    assert api.post(**form, format="xml", data=text).json() == 1
    user = next(one for one in project.export_users() if one["username"] == "contract_tester")
    assert (user["forms"]["baseline"], user["forms"]["scans"], user["design"]) == (2, 1, 0)


def test_rights_that_make_no_sense_are_refused(api: Api) -> None:
    project = api.project()
    for row in (
        {"design": "1"},
        {"username": "x", "forms": {"nothing": 1}},
        {"username": "x", "design": "much"},
    ):
        assert posted(api, project, "user", [row]).status_code == 400
    assert posted(api, project, "user", action="delete", **{"users[0]": "nobody"}).status_code == 400
    assert "x" not in {one["username"] for one in project.export_users()}


def test_a_role_that_does_not_exist_is_given_to_nobody(api: Api) -> None:
    project = api.project()
    me = project.export_users()[0]["username"]
    rows = [{"username": me, "unique_role_name": "U-NOTHING000"}]
    assert posted(api, project, "userRoleMapping", rows, action="import").status_code == 400
    assert posted(api, project, "userRole", [{"unique_role_name": "U-NOTHING000"}]).status_code == 400
    assert project.export_user_role_assignment()[0]["unique_role_name"] == ""
