"""The demo's REDCap, filled through the API alone."""

from __future__ import annotations

from pathlib import Path

from redcap.project import Project

from fiona_dagster.embedded.redcap.hospital import prepare_hospital
from tests.contract.api import Api

PROJECT = {
    "project_name": "BRAIN1", "project_patient_naming": r"B\d{3}",
    "destinations": [{"dest_name": "out", "dest_url": "file:///out", "dest_default": "1"}],
}  # fmt: skip
COUPLING = {"cl_accessionnumber": "ACC1", "cl_projectname": "BRAIN1", "cl_subjectid": "B001"}
RULE = {"record_id": "mr", "routing_dest_project": "BRAIN1", "routing_incoming_aetitle": "BRAIN"}


def test_a_hospital_is_prepared_and_again_changes_nothing(own: Api, tmp_path: Path) -> None:
    for _ in range(2):
        hospital = prepare_hospital(
            own.url, own.super_token, tmp_path, projects=[PROJECT], coupling=[COUPLING], routing=[RULE],
            research_projects=["BRAIN1"],
        )  # fmt: skip
    projects = {
        name: Project(own.url, path.read_text().strip()) for name, path in hospital.token_files.items()
    }
    assert [row["cl_subjectid"] for row in projects["CouplingList"].export_records()] == ["B001"]
    assert projects["Routing"].export_records()[0]["routing_active"] == "1"
    rows = projects["DataTransferProjects"].export_records()
    assert [row["redcap_repeat_instrument"] for row in rows] == ["", "destinations"]
    assert rows[1]["dest_active"] == "1"
    assert projects["BRAIN1"].is_longitudinal
    assert hospital.tokens["Incoming"] == f"file:{tmp_path / 'Incoming.token'}"
    assert hospital.project_ids["Incoming"] == 1
    log = projects["CouplingList"].export_logging(log_type="record")
    assert len(log) == 1
