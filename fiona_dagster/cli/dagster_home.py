"""Dagster's home for the embedded default, and its processes. Reasons and figures: docs/adr/0003."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from fiona_dagster.cli.processes import Service, kill_group
from fiona_dagster.domain.errors import Transient

LOCATION = "fiona"
_DAGSTER = (sys.executable, "-m", "fiona_dagster.cli.dagster_process")


def instance_configuration(*, cores: int) -> dict[str, Any]:
    """dagster.yaml with SQLite storage; the one for PostgreSQL is deploy/dagster.yaml."""
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {
                "dequeue_interval_seconds": 1,
                "dequeue_use_threads": True,
                "dequeue_num_workers": 4,
                "max_user_code_failure_retries": 5,
                "user_code_failure_retry_delay": 10,
            },
        },
        "concurrency": {"runs": {"max_concurrent_runs": max(2, 2 * cores)}},
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": 120,  # a daemon killed while it launches leaves a run STARTING
            "max_runtime_seconds": 14400,
            "free_slots_after_run_end_seconds": 60,
        },
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 2},
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 1, "success": 30, "failure": 90, "started": 30}},
            "schedule": {"purge_after_days": 90},
        },
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",  # nothing of a library's output on disk where it could name a patient
        },
    }


def prepare_home(home: Path) -> None:
    """Write dagster.yaml unless the site has its own."""
    home.mkdir(parents=True, exist_ok=True)
    target = home / "dagster.yaml"
    if not target.exists():
        target.write_text(yaml.safe_dump(instance_configuration(cores=os.cpu_count() or 2), sort_keys=False))


def end_lost_runs(home: Path) -> int:
    """Close runs that a crash left unfinished: their processes died with the code server (dagster.md B7).

    Call it while no code server and none of its runs is alive. Returns how many there were.

    Raises:
        Transient: Dagster's storage does not answer.
    """
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
    from sqlalchemy.exc import SQLAlchemyError

    lost = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING]
    try:
        with DagsterInstance.from_config(str(home)) as instance:
            runs = instance.get_runs(RunsFilter(statuses=lost))
            for run in runs:
                instance.report_run_failed(run, "its process was lost in a crash")
            return len(runs)
    except SQLAlchemyError as error:
        raise Transient(f"Dagster's storage does not answer ({type(error).__name__})") from None


def _end_what_it_ran(home: Path, group: int) -> None:
    """Before a dead code server is replaced: its runs may go on as orphans, of whose end nobody would hear, and the
    sensors would wait for them for ever.
    """
    kill_group(group)
    end_lost_runs(home)


def code_server(home: Path, environment: Mapping[str, str], *, port: int) -> Service:
    """One code server for webserver and daemon; it runs the runs."""
    command = [sys.executable, "-m", "fiona_dagster.cli.code_server", "--port", str(port)]
    return Service(
        "code-server",
        command,
        r"Started Dagster code server",
        _environment(home, environment),
        port,
        before_restart=partial(_end_what_it_ran, home),
    )


def daemon(home: Path, environment: Mapping[str, str]) -> Service:
    """Sensors, schedules and the run queue."""
    command = [*_DAGSTER, "dagster._daemon", "run", "--workspace", str(home / "workspace.yaml")]
    return Service(
        "daemon",
        command,
        r"Instance is configured with the following daemons",
        _environment(home, environment),
    )


def webserver(
    home: Path, environment: Mapping[str, str], *, host: str, port: int, read_only: bool
) -> Service:
    """Dagster's pages. Open-source Dagster has no login: the writing one belongs on loopback."""
    command = [*_DAGSTER, "dagster_webserver", "--host", host, "--port", str(port),
               "--workspace", str(home / "workspace.yaml"), *(["--read-only"] if read_only else [])]  # fmt: skip
    return Service(
        "webserver",
        command,
        r"Serving dagster-webserver on http://[^:]+:(\d+)",
        _environment(home, environment),
    )


def write_workspace(home: Path, *, code_server_port: int) -> None:
    """Point webserver and daemon at the code server."""
    entry = {"grpc_server": {"host": "127.0.0.1", "port": code_server_port, "location_name": LOCATION}}
    (home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [entry]}))


def _environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
