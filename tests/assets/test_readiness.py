"""Transfers of a project that cannot be used wait, and no other's with them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fiona_dagster.assets.readiness import ready
from fiona_dagster.domain.errors import Transient
from fiona_dagster.resources.gateway import GatewayResource


@pytest.fixture
def gateway(tmp_path: Path) -> GatewayResource:
    (tmp_path / "config.json").write_text(json.dumps({"DATADIR": str(tmp_path)}))
    made = GatewayResource(config_file=str(tmp_path / "config.json"))
    made.settings.projects_file.parent.mkdir(parents=True, exist_ok=True)
    return made


def transfers(*projects: str) -> list[Any]:
    return [SimpleNamespace(project=one) for one in projects]


def test_a_project_with_a_mistake_waits_and_one_that_is_gone_is_told(gateway: GatewayResource) -> None:
    gateway.settings.projects_file.write_text(
        "projects:\n- project_name: BRAIN\n- {project_name: HEART, deid_datemode: 1}\n"
    )
    now, waiting = ready(gateway, transfers("BRAIN", "HEART", "LIVER"))
    assert [one.project for one in now] == ["BRAIN", "LIVER"]
    assert ["project HEART waits" in one for one in waiting] == [True]


def test_a_file_that_is_no_yaml_lets_every_study_wait(gateway: GatewayResource) -> None:
    gateway.settings.projects_file.write_text("projects: [")
    assert ready(gateway, transfers("BRAIN"))[0] == []
    with pytest.raises(Transient, match="BRAIN waits until this is mended"):
        gateway.project("BRAIN")
