"""Dagster's home: its configuration, and the runs that a crash leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from fiona_dagster.cli import dagster_home

LOST = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    dagster_home.prepare_home(tmp_path)
    with DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def statuses(instance: DagsterInstance) -> dict[str, str]:
    return {run.job_name: run.status.value for run in instance.get_runs()}


def test_a_dead_code_servers_runs_are_ended_and_closed_and_others_stay(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    for status in (*LOST, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.SUCCESS):
        instance.add_run(DagsterRun(job_name=status.value, status=status))
    before = statuses(instance)
    service = dagster_home.code_server(tmp_path, {}, port=0)
    assert service.before_restart is not None
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(command, start_new_session=True) as orphan:
        service.before_restart(orphan.pid)
        assert orphan.wait(10) == -9
    assert statuses(instance) == before | {status.value: "FAILURE" for status in LOST}


def test_closing_lost_runs_again_finds_none(instance: DagsterInstance, tmp_path: Path) -> None:
    instance.add_run(DagsterRun(job_name="intake", status=DagsterRunStatus.STARTED))
    assert dagster_home.end_lost_runs(tmp_path) == 1
    assert dagster_home.end_lost_runs(tmp_path) == 0


def test_a_sites_own_dagster_yaml_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    dagster_home.prepare_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
