"""PyCap as it is released, method by method."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests
from redcap.project import Project

from tests.contract.api import VISITS, Api, allow_switching, report_number

EVENT = "visit_1_arm_1"
PERSON = {
    "record_id": "1",
    "redcap_event_name": EVENT,
    "name": "Ada",
    "age": "36",
    "sex": "0",
    "drugs___1": "1",
}


def person(project: Project, record: str = "1") -> None:
    assert project.import_records([{**PERSON, "record_id": record}]) == {"count": 1}


def records(project: Project, _: Api) -> None:
    person(project)
    columns = {
        "fields": ["record_id", "name", "sex"],
        "forms": ["lifestyle"],
        "records": ["1"],
        "events": [EVENT],
    }
    row = project.export_records(**columns, raw_or_label="label")[0]
    assert (row["name"], row["sex"], row["lifestyle_complete"]) == ("Ada", "Female", "Incomplete")
    frame = project.export_records(format_type="df", raw_or_label_headers="raw")
    assert frame.loc[(1, EVENT), "age"] == 36
    assert "The name" in project.export_records(format_type="csv", raw_or_label_headers="label")
    since = datetime.now() - timedelta(days=1)  # noqa: DTZ005 — REDCap compares with the server's local time
    assert project.export_records(
        record_type="eav", filter_logic="[age] = 36", date_begin=since, export_survey_fields=True,
        export_data_access_groups=True, decimal_character=",", export_blank_for_gray_form_status=True,
    )  # fmt: skip
    assert project.delete_records(["1"]) == 1
    assert project.generate_next_record_name() == "1"


def structure(project: Project, _: Api) -> None:
    assert project.def_field == "record_id"
    assert set(project.forms) == {"baseline", "scans", "lifestyle"}
    assert len(project.metadata) == len(project.field_names) == len(VISITS)
    text = project.export_metadata(format_type="csv")
    assert project.import_metadata(text, import_format="csv") == len(VISITS)
    assert project.export_metadata(format_type="df").index.name == "field_name"
    assert list(project.export_field_names(format_type="df").columns) == ["choice_value", "export_field_name"]
    assert [one["instrument_name"] for one in project.export_instruments()] == [
        "baseline",
        "scans",
        "lifestyle",
    ]


def events(project: Project, _: Api) -> None:
    assert project.is_longitudinal
    assert project.import_arms([{"arm_num": 2, "name": "Second"}]) == 1
    assert project.import_events([{"event_name": "Late", "arm_num": "2"}]) == 1
    assert [one["name"] for one in project.export_arms(arms=["2"])] == ["Second"]
    assert [one["unique_event_name"] for one in project.export_events(arms=["2"])] == ["late_arm_2"]
    mapping = project.export_instrument_event_mappings()
    assert project.import_instrument_event_mappings(mapping) == len(mapping) == 3
    assert project.delete_events(["late_arm_2"]) == 1
    assert project.delete_arms(["2"]) == 1


def repeating(project: Project, _: Api) -> None:
    for kind in ("json", "csv", "xml", "df"):
        found = project.export_repeating_instruments_events(format_type=kind)
        assert project.import_repeating_instruments_events(found, import_format=kind) == 1


def project_itself(project: Project, api: Api) -> None:
    assert (project.url, len(project.token)) == (api.url, 32)
    assert project.export_project_info()["is_longitudinal"] == 1
    assert project.export_version() == project.redcap_version
    assert any("manage" in row["action"].lower() for row in project.export_logging(log_type="manage"))
    content, _ = project.export_pdf(compact_display=True)
    assert content.startswith(b"%PDF-")


def files(project: Project, _: Api) -> None:
    person(project)
    assert project.import_file("1", "picture", "å.txt", io.BytesIO(b"test\n"), event=EVENT) == [{}]
    content, told = project.export_file("1", "picture", event=EVENT)
    assert content == b"test\n"
    assert told["charset"] == "UTF-8"
    assert told["name"].endswith(".txt")
    assert project.delete_file("1", "picture", event=EVENT) == [{}]
    with pytest.raises(requests.RequestException, match="There is no file to download"):
        project.export_file("1", "picture", event=EVENT)


def repository(project: Project, _: Api) -> None:
    folder = project.create_folder_in_repository("results")[0]["folder_id"]
    assert project.import_file_into_repository("a.txt", io.BytesIO(b"hello"), folder_id=folder) == [{}]
    assert [one["name"] for one in project.export_file_repository()] == ["results"]
    document = project.export_file_repository(folder_id=folder)[0]
    assert project.export_file_from_repository(document["doc_id"])[0] == b"hello"
    assert project.delete_file_from_repository(document["doc_id"]) == [{}]
    assert project.export_file_repository(folder_id=folder) == []


def users(project: Project, _: Api) -> None:
    new = [{"username": "contract_tester", "design": 0, "forms": {"baseline": 3}}]
    assert project.import_users(new) == 1
    found = {one["username"]: one for one in project.export_users()}
    assert (found["contract_tester"]["design"], found["contract_tester"]["forms"]["baseline"]) == (0, 3)
    assert project.delete_users(["contract_tester"], return_format_type="xml") == "1"


def roles(project: Project, _: Api) -> None:
    project.import_users([{"username": "contract_tester"}])
    assert project.import_user_roles([{"role_label": "Reader", "logging": "1"}]) == 1
    role = project.export_user_roles()[0]
    assert (role["role_label"], role["logging"], role["design"]) == ("Reader", "1", "0")
    given = [{"username": "contract_tester", "unique_role_name": role["unique_role_name"]}]
    assert project.import_user_role_assignment(given) == 1
    assigned = {one["username"]: one["unique_role_name"] for one in project.export_user_role_assignment()}
    assert assigned["contract_tester"] == role["unique_role_name"]
    assert project.delete_user_roles([role["unique_role_name"]]) == 1


def groups(project: Project, _: Api) -> None:
    assert (
        project.import_dags([{"data_access_group_name": "Integration test DAG", "unique_group_name": ""}])
        == 1
    )
    assert [one["unique_group_name"] for one in project.export_dags()] == ["integration_test_d", "test_site"]
    project.import_users([{"username": "contract_tester"}])
    given = [{"username": "contract_tester", "redcap_data_access_group": "test_site"}]
    assert project.import_user_dag_assignment(given) == 1
    found = {one["username"]: one["redcap_data_access_group"] for one in project.export_user_dag_assignment()}
    assert found["contract_tester"] == "test_site"
    assert project.delete_dags(["integration_test_d"]) == 1


def switching(project: Project, api: Api) -> None:
    allow_switching(api, project, "test_site")
    assert project.switch_dag("test_site") == "1"


def report(project: Project, api: Api) -> None:
    number = report_number(api, project)
    person(project)
    assert project.import_records([{**PERSON, "record_id": "2", "age": "20"}]) == {"count": 1}
    assert [(row["record_id"], row["age"]) for row in project.export_report(str(number))] == [("1", "36")]


def surveys(project: Project, _: Api) -> None:
    person(project)
    place = {"record": "1", "instrument": "lifestyle", "event": EVENT}
    assert "/surveys/?s=" in project.export_survey_link(**place)
    assert "/surveys/?sq=" in project.export_survey_queue_link("1")
    assert len(project.export_survey_access_code(**place)) == 9
    assert len(project.export_survey_return_code(**place)) == 8
    assert len(project.export_survey_participant_list("lifestyle", event=EVENT)) == 1


CHECKS: dict[Callable[[Project, Api], None], tuple[str, ...]] = {
    records: ("export_records", "import_records", "delete_records", "generate_next_record_name"),
    structure: ("export_metadata", "import_metadata", "export_field_names", "export_instruments", "metadata",
                "forms", "field_names", "def_field"),
    events: ("export_arms", "import_arms", "delete_arms", "export_events", "import_events", "delete_events",
             "export_instrument_event_mappings", "import_instrument_event_mappings", "is_longitudinal"),
    repeating: ("export_repeating_instruments_events", "import_repeating_instruments_events"),
    project_itself: ("url", "token", "export_project_info", "export_version", "redcap_version",
                     "export_logging", "export_pdf"),
    files: ("export_file", "import_file", "delete_file"),
    repository: ("create_folder_in_repository", "export_file_repository", "export_file_from_repository",
                 "import_file_into_repository", "delete_file_from_repository"),
    users: ("export_users", "import_users", "delete_users"),
    roles: ("export_user_roles", "import_user_roles", "delete_user_roles", "export_user_role_assignment",
            "import_user_role_assignment"),
    groups: ("export_dags", "import_dags", "delete_dags", "export_user_dag_assignment",
             "import_user_dag_assignment"),
    switching: ("switch_dag",),
    report: ("export_report",),
    surveys: ("export_survey_link", "export_survey_queue_link", "export_survey_access_code",
              "export_survey_return_code", "export_survey_participant_list"),
}  # fmt: skip
"""Each check and the methods of PyCap that it is for."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_client_gets_what_it_expects(api: Api, check: Callable[[Project, Api], None]) -> None:
    check(Project(api.url, api.survey_project()), api)


def test_no_public_method_is_left_out() -> None:
    public: set[Any] = {name for name in dir(Project) if not name.startswith("_")}
    assert public == {name for names in CHECKS.values() for name in names}
