"""What `fiona redcap check` finds on a live server."""

from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.adapters.redcap.check import Finding, check
from fiona_dagster.adapters.redcap.provision import provision_project
from fiona_dagster.domain.dictionaries import GATEWAY_ROLES
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.embedded.redcap import rights
from tests.adapters.redcap.conftest import Hospital


def findings(hospital: Hospital, role: str) -> dict[str, Finding]:
    return {one.subject: one for one in check(hospital.registry(), [role]) if one.role == role}


def findings_with(hospital: Hospital, numbers: dict[str, int], role: str) -> dict[str, Finding]:
    return {one.subject: one for one in check(hospital.registry(numbers), [role]) if one.role == role}


def limit(hospital: Hospital, role: str, **given: Any) -> None:
    pid = int(hospital.client(role).info["project_id"])
    with hospital.server.database.transaction(write=True) as connection:
        rights.set_rights(connection, pid, rights.ADMINISTRATOR, given)


def test_a_provisioned_server_lacks_nothing(hospital: Hospital) -> None:
    found = check(hospital.registry(), GATEWAY_ROLES)
    assert {one.state for one in found if one.subject != "project_id"} == {"ok"}
    assert {one.role for one in found} == set(GATEWAY_ROLES)


def test_the_numbers_that_settings_should_have_are_said(hospital: Hospital) -> None:
    numbers = {role: int(hospital.client(role).info["project_id"]) for role in ("Incoming", "Routing")}
    found = findings(hospital, "Incoming")["project_id"]
    assert (found.state, found.remedy.split(" to ")[0]) == (
        "unknown",
        f'add "Incoming": {numbers["Incoming"]}',
    )
    told = findings_with(hospital, numbers, "Incoming")
    assert told["project_id"].state == "ok"
    swapped = {"Incoming": numbers["Routing"] + 100, "AutoID": numbers["Incoming"]}
    refused = findings_with(hospital, swapped, "Incoming")["access"]
    assert refused.state == "missing"
    assert f"belongs to project {numbers['Incoming']}" in refused.detail
    assert "which REDCAP.project_ids has as AutoID" in refused.detail
    assert "REDCAP.tokens.Incoming" in refused.remedy


def test_two_projects_of_one_role_are_told_apart_by_their_number(hospital: Hospital) -> None:
    """A test's and production's Incoming have the same fields: only the number tells."""
    number = int(hospital.client("Incoming").info["project_id"])
    made = provision_project(
        hospital.server.url, hospital.server.super_token, hospital.folder / "test-tokens", hospital.limit,
        role="Incoming", title="Incoming",
    )  # fmt: skip
    (hospital.tokens / "Incoming.token").write_text(made.token_file.read_text())
    assert hospital.registry().client("Incoming").info["project_id"] == made.project_id
    registry = hospital.registry(project_ids={"Incoming": number})
    with pytest.raises(ConfigurationError, match=f"Incoming: the token belongs to project {made.project_id}"):
        registry.client("Incoming")


def test_needed_roles_without_a_token_are_missing(hospital: Hospital) -> None:
    found = check(hospital.registry(), ["Incoming"])
    assert {one.role for one in found if one.state == "missing"} == {
        "CouplingList",
        "Routing",
        "DataTransferProjects",
    }


def test_missing_fields_and_choices_are_named(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    rows = [dict(row) for row in client.metadata if row["field_name"] != "transfer_key"]
    for row in rows:
        if row["field_name"] == "transfer_error":
            row["select_choices_or_calculations"] = "1, One | 2, Two"
    client.import_metadata(rows)
    found = findings(hospital, "Incoming")
    assert found["fields"].detail == "transfer_key"
    assert found["choices"].detail == "transfer_error lacks the codes 3"


def test_an_instrument_that_does_not_repeat_is_named(hospital: Hospital) -> None:
    hospital.client("Incoming").import_repeating_instruments_events(
        [{"form_name": "series", "custom_form_label": ""}]
    )
    assert findings(hospital, "Incoming")["repeating"] == Finding(
        "Incoming", "repeating", "missing", "transfers", "enable repeating instruments in Project Setup"
    )


def test_limited_export_rights_are_noticed(hospital: Hospital) -> None:
    limit(hospital, "Incoming", forms_export={"incoming_studies": rights.IDENTIFIERS_REMOVED})
    one = findings(hospital, "Incoming")["export right"]
    assert one.state == "missing"
    assert "study_patient_id" in one.detail


@pytest.mark.parametrize(
    ("right", "subject", "state"),
    [
        ("api_import", "import right", "missing"),
        ("design", "repeating", "unknown"),
        ("api_export", "access", "missing"),
    ],
)
def test_missing_rights_are_noticed(hospital: Hospital, right: str, subject: str, state: str) -> None:
    limit(hospital, "Incoming", **{right: 0})
    assert findings(hospital, "Incoming")[subject].state == state


def test_a_server_that_is_down_is_a_finding(hospital: Hospital) -> None:
    registry = hospital.registry()
    hospital.server.stop()
    found = check(registry, ["Incoming"])
    assert [one.state for one in found if one.role == "Incoming"] == ["missing"]
