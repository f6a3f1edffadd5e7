"""`fiona doctor`: what it tries, in health and in every kind of trouble."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fiona_dagster.cli.doctor import Finding, examine
from fiona_dagster.cli.main import fiona
from fiona_dagster.settings import Settings, load_settings
from tests.conftest import free_port
from tests.gateway import Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("hospital")) as made:
        yield made


def changed(gateway: Gateway, **content: Any) -> Path:
    """config.json with the port that the receiver really has, and other changes."""
    file = gateway.folder / "changed.json"
    original = json.loads(gateway.config_file.read_text())
    file.write_text(json.dumps({**original, "DICOMPORT": gateway.port, **content}))
    return file


def findings(settings: Settings) -> dict[str, Finding]:
    return {one.subject: one for one in examine(settings)}


def test_in_health_everything_is_tried_and_nothing_found(gateway: Gateway, tmp_path: Path) -> None:
    found = findings(load_settings(changed(gateway), {}))
    assert {name: one.problem for name, one in found.items() if one.problem} == {}
    assert {
        "receiver of site ABCD", "data directory of site ABCD", "research PACS", "classification rules", "keyring",
        "ledger", "projects", "BRAINAGE: destination lab", "REDCap project Incoming", "REDCap project CouplingList",
    } <= set(found)  # fmt: skip
    assert list((gateway.folder / "sftp" / "incoming").iterdir()) == [], "what was tried is taken away again"


def test_the_command_shows_a_table_and_its_exit_status_tells(gateway: Gateway, tmp_path: Path) -> None:
    well = CliRunner().invoke(fiona, ["doctor", "--config", str(changed(gateway))])
    assert well.exit_code == 0, well.output
    ill = CliRunner().invoke(fiona, ["doctor", "--config", str(changed(gateway, DICOMPORT=free_port()))])
    assert ill.exit_code == 1
    assert "✗" in ill.output


def test_each_trouble_is_found_alone_and_says_what_to_do(gateway: Gateway, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text("[{]")
    token = tmp_path / "token"
    token.write_text("B" * 32)
    original = json.loads(gateway.config_file.read_text())
    redcap = {**original["REDCAP"], "tokens": {**original["REDCAP"]["tokens"], "Routing": f"file:{token}"}}
    closed = {"AETITLE": "PACS", "IP": "127.0.0.1", "PORT": free_port()}
    troubles: list[tuple[dict[str, Any], str]] = [
        ({"DICOMPORT": free_port()}, "receiver of site ABCD"),
        ({"RESEARCHPACS": closed}, "research PACS"),
        ({"RESEARCHPACS": None}, "research PACS"),
        ({"CLASSIFYRULES": str(rules)}, "classification rules"),
        ({"REDCAP": redcap}, "REDCap project Routing"),
        ({"LEDGER": f"postgresql://fiona@127.0.0.1:{free_port()}/x"}, "ledger"),
    ]
    for content, subject in troubles:
        settings = load_settings(changed(gateway, **content), {})
        if "REDCAP" in content:  # one registry a process and gateway: another gateway for another token
            settings = replace(
                settings,
                sites=(replace(settings.default_site, layout=type(settings.layout)(tmp_path / "d")),),
            )
            settings.layout.ensure()
        problems = {name: one.problem for name, one in findings(settings).items() if one.problem}
        assert set(problems) == {subject}, content
        assert "B" * 32 not in problems[subject]


def test_a_routing_rule_that_cannot_be_understood_is_listed(gateway: Gateway) -> None:
    registry = gateway.resource.registry
    assert registry is not None
    client = registry.client("Routing")
    client.write_rows([{"record_id": "77", "routing_active": "1", "routing_dest_project": "HEART",
                        "routing_incoming_aetitle": "X", "routing_allowed_patientid": "H(1"}])  # fmt: skip
    try:
        found = findings(load_settings(changed(gateway), {}))["REDCap project Routing"]
    finally:
        client.delete_records(["77"])
    assert "Routing 77: routing_allowed_patientid is not a regular expression" in found.problem
    assert "H(1" not in found.problem


def test_a_key_that_nothing_reads_is_told_and_is_no_failure(tmp_path: Path) -> None:
    settings = load_settings(changed_keys(tmp_path), {})
    assert findings(settings)["config.json"].detail.endswith("did you mean QUIETSECONDS?")
    assert findings(settings)["config.json"].problem == ""


def changed_keys(folder: Path) -> Path:
    file = folder / "config.json"
    file.write_text(
        json.dumps(
            {
                "DATADIR": str(folder / "data"),
                "QUIETSECOND": 3,
                "DICOMIP": "127.0.0.1",
                "DICOMPORT": free_port(),
            }
        )
    )
    return file


def test_a_destination_that_is_down_is_named_with_its_project(gateway: Gateway, tmp_path: Path) -> None:
    projects = tmp_path / "projects.yaml"
    projects.write_text(
        "projects:\n  - project_name: SHELF\n    destinations:\n"
        f"      - {{dest_name: gone, dest_url: 'sftp://x@127.0.0.1:{free_port()}/in', "
        "dest_secret_ref: 'env:NOT_SET'}\n"
    )
    found = findings(load_settings(changed(gateway, REDCAP=None, PROJECTS=str(projects)), {}))
    assert found["REDCap"].problem == ""
    assert "NOT_SET is not set" in found["SHELF: destination gone"].problem


def test_before_the_first_start_everything_else_is_examined(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"DATADIR": str(tmp_path / "data"), "DICOMPORT": free_port(), "DICOMIP": "127.0.0.1"})
    )
    found = findings(load_settings(file, {}))
    assert found["ledger"] == Finding("ledger", "there is none yet: `fiona up` makes it")
    assert "cannot be written to" in found["data directory of site ABCD"].problem
    assert "there is none" in found["projects"].problem
    assert not (tmp_path / "data" / "ledger.sqlite").exists()
