"""redcaplite as it is released, method by method. Unlike PyCap it sends true for True, and frames as CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from redcap.project import Project
from redcaplite import RedcapClient
from redcaplite.http.error import APIException

from tests.contract.api import VISITS, Api, allow_switching, report_number

EVENT = "visit_1_arm_1"
PERSON = {"record_id": "1", "redcap_event_name": EVENT, "name": "Ada", "age": "36"}


def records(client: RedcapClient, _: Api, __: Path) -> None:
    assert client.import_records([PERSON]) == ["1"]
    assert client.import_records(pd.DataFrame([{**PERSON, "record_id": "2"}])) == ["2"]
    frame = client.export_records(fields=["record_id", "name"], records=["1"], filterLogic="[age] = '36'")
    assert frame["name"].tolist() == ["Ada"]
    assert client.generate_next_record_name() == 3
    assert client.rename_record("2", "9") == 1
    assert client.delete_records(["9"]) == 1
    with pytest.raises(APIException, match="do not exist in the project"):
        client.delete_records(["9"])


def structure(client: RedcapClient, _: Api, __: Path) -> None:
    frame = client.get_metadata()
    assert frame["field_name"].tolist() == [one["field_name"] for one in VISITS]
    assert int(client.import_metadata(frame.fillna(""))) == len(VISITS)
    assert client.get_field_names(field="age")[0]["export_field_name"] == "age"
    assert [one["instrument_name"] for one in client.get_instruments()] == ["baseline", "scans", "lifestyle"]


def events(client: RedcapClient, _: Api, __: Path) -> None:
    assert client.import_arms([{"arm_num": 2, "name": "Second"}]) == 1
    assert client.import_events([{"event_name": "Late", "arm_num": 2}]) == 1
    assert [one["arm_num"] for one in client.get_arms()] == [1, 2]
    assert [one["unique_event_name"] for one in client.get_events(arms=[2])] == ["late_arm_2"]
    mapping = client.get_form_event_mappings()
    assert client.import_form_event_mappings(mapping) == len(mapping)
    found = client.get_repeating_forms_events()
    assert client.import_repeating_forms_events(found) == len(found) == 1
    assert client.delete_events(["late_arm_2"]) == 1
    assert client.delete_arms([2]) == 1


def project_itself(client: RedcapClient, api: Api, folder: Path) -> None:
    assert client.get_project()["is_longitudinal"] == 1
    assert int(client.import_project_settings({"project_notes": "a note"})) == 1
    assert client.get_project()["project_notes"] == "a note"
    assert "<ODM" in client.get_project_xml(returnMetadataOnly=True)
    assert client.get_version().count(".") == 2
    assert not client.get_logs().empty
    client.export_pdf(file_dictionary=str(folder))
    assert next(folder.glob("*.pdf")).read_bytes().startswith(b"%PDF-")
    if not api.super_token:
        pytest.skip("needs REDCAP_SUPER_TOKEN")
    # The answer is the bare token, which this client reads as JSON and cannot.
    with pytest.raises(ValueError, match=r"Extra data|Expecting value"):
        RedcapClient(api.url, api.super_token).create_project(
            {"project_title": "contract test", "purpose": 0}
        )


def files(client: RedcapClient, _: Api, folder: Path) -> None:
    client.import_records([PERSON])
    (folder / "a.txt").write_bytes(b"test\n")
    client.import_file(str(folder / "a.txt"), "1", "picture", event=EVENT)
    (folder / "got").mkdir()
    client.get_file("1", "picture", event=EVENT, file_dictionary=str(folder / "got"))
    assert (folder / "got" / "a.txt").read_bytes() == b"test\n"
    number = client.create_folder_file_repository("results")[0]["folder_id"]
    client.import_file_repository(str(folder / "a.txt"), folder_id=number)
    document = client.list_file_repository(folder_id=number)[0]
    (folder / "a.txt").unlink()
    client.export_file_repository(document["doc_id"], file_dictionary=str(folder))
    assert (folder / "a.txt").read_bytes() == b"test\n"


def deletions(client: RedcapClient, _: Api, folder: Path) -> None:
    """Their answers are empty, which this client reads as JSON and cannot: the server has carried them out."""
    client.import_records([PERSON])
    (folder / "a.txt").write_bytes(b"test\n")
    client.import_file(str(folder / "a.txt"), "1", "picture", event=EVENT)
    client.import_file_repository(str(folder / "a.txt"))
    with pytest.raises(ValueError, match="Expecting value"):
        client.delete_file("1", "picture", event=EVENT)
    with pytest.raises(APIException, match="There is no file to download"):
        client.get_file("1", "picture", event=EVENT)
    with pytest.raises(ValueError, match="Expecting value"):
        client.delete_file_repository(client.list_file_repository()[0]["doc_id"])
    assert client.list_file_repository() == []


def people(client: RedcapClient, _: Api, __: Path) -> None:
    assert client.import_users([{"username": "contract_tester"}]) == 1
    assert "contract_tester" in {one["username"] for one in client.get_users()}
    assert client.import_user_roles([{"role_label": "Reader"}]) == 1
    role = client.get_user_roles()[0]["unique_role_name"]
    assert client.import_user_role_mappings([{"username": "contract_tester", "unique_role_name": role}]) == 1
    assert role in {one["unique_role_name"] for one in client.get_user_role_mappings()}
    assert client.import_dags([{"data_access_group_name": "Other", "unique_group_name": ""}]) == 1
    given = [{"username": "contract_tester", "redcap_data_access_group": "other"}]
    assert client.import_user_dag_mappings(given) == 1
    assert "other" in {one["redcap_data_access_group"] for one in client.get_user_dag_mappings()}
    assert [one["unique_group_name"] for one in client.get_dags()] == ["other", "test_site"]
    assert client.delete_dags(["other"]) == 1
    assert client.delete_user_roles([role]) == 1
    assert client.delete_users(["contract_tester"]) == 1


def switching(client: RedcapClient, api: Api, __: Path) -> None:
    allow_switching(api, Project(client.url, client.token), "test_site")
    assert client.switch_dag("test_site") == "1"


def report(client: RedcapClient, api: Api, __: Path) -> None:
    number = report_number(api, Project(client.url, client.token))
    client.import_records([PERSON])
    assert client.get_report(number)["age"].tolist() == [36]


def surveys(client: RedcapClient, _: Api, __: Path) -> None:
    client.import_records([PERSON])
    assert "/surveys/?s=" in client.get_survey_link("1", "lifestyle", event=EVENT)
    assert "/surveys/?sq=" in client.get_survey_queue_link("1")
    assert len(client.get_survey_return_code("1", "lifestyle", event=EVENT)) == 8
    assert client.get_participant_list("lifestyle", event=EVENT)["record"].tolist() == [1]


CHECKS: dict[Callable[[RedcapClient, Api, Path], None], tuple[str, ...]] = {
    records: ("export_records", "import_records", "delete_records", "rename_record", "generate_next_record_name"),
    structure: ("get_metadata", "import_metadata", "get_field_names", "get_instruments"),
    events: ("get_arms", "import_arms", "delete_arms", "get_events", "import_events", "delete_events",
             "get_form_event_mappings", "import_form_event_mappings", "get_repeating_forms_events",
             "import_repeating_forms_events"),
    project_itself: ("create_project", "get_project", "import_project_settings", "get_project_xml",
                     "get_version", "get_logs", "export_pdf"),
    files: ("get_file", "import_file", "create_folder_file_repository", "list_file_repository",
            "export_file_repository", "import_file_repository"),
    deletions: ("delete_file", "delete_file_repository"),
    people: ("get_users", "import_users", "delete_users", "get_user_roles", "import_user_roles",
             "delete_user_roles", "get_user_role_mappings", "import_user_role_mappings", "get_dags",
             "import_dags", "delete_dags", "get_user_dag_mappings", "import_user_dag_mappings"),
    switching: ("switch_dag",),
    report: ("get_report",),
    surveys: ("get_survey_link", "get_survey_queue_link", "get_survey_return_code", "get_participant_list"),
}  # fmt: skip
"""Each check and the methods of redcaplite that it is for."""
TRANSPORT = {"post", "text_api", "file_download_api", "file_upload_api"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_client_gets_what_it_expects(
    api: Api, tmp_path: Path, check: Callable[[RedcapClient, Api, Path], None]
) -> None:
    check(RedcapClient(api.url, api.survey_project()), api, tmp_path)


def test_no_public_method_is_left_out() -> None:
    public: set[Any] = {name for name in dir(RedcapClient) if not name.startswith("_")} - TRANSPORT
    assert public == {name for names in CHECKS.values() for name in names}
