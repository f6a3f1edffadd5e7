"""Runs are forked from a process that has everything loaded: what it must not carry into them, and how they end."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc.server import DagsterApiServer

from fiona_dagster.cli.code_server import with_context
from fiona_dagster.cli.run_server import end_with

PROMISES = """
import json, os, sys, threading
import fiona_dagster.cli.run_server_start
from fiona_dagster.cli.run_server import LOADED_BY_STAGES
from fiona_dagster.resources import gateway

opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
print(json.dumps({
    "not loaded": [name for name in (*LOADED_BY_STAGES, "fiona_dagster.definitions") if name not in sys.modules],
    "threads": threading.active_count(),
    "opened": [one for one in opened if one.endswith((".db", ".sqlite", ".log", ".json")) or "socket:" in one],
    "read": [gateway._settings.cache_info().currsize, gateway._ledger.cache_info().currsize],
}))
"""


def test_what_runs_are_forked_from_has_everything_loaded_and_nothing_open(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "DAGSTER_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROMISES],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"not loaded": [], "threads": 1, "opened": [], "read": [0, 0]}
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))


@pytest.mark.usefixtures("no_instance")
def test_dagsters_server_makes_its_runs_as_it_is_told() -> None:
    context = multiprocessing.get_context("forkserver")
    with FuturesAwareThreadPoolExecutor(max_workers=1) as pool:
        end = threading.Event()
        server = with_context(DagsterApiServer, context)(end, logging.getLogger("test"), pool)
        end.set()
        server.cleanup()
    assert server._mp_ctx is context


def test_a_dagster_that_starts_runs_in_another_way_is_left_to_do_so(caplog: pytest.LogCaptureFixture) -> None:
    class Another:
        pass

    made = with_context(Another, multiprocessing.get_context("forkserver"))()
    assert not hasattr(made, "_mp_ctx")
    assert "runs are not forked" in caplog.text


def test_a_run_ends_with_the_process_that_it_was_forked_from() -> None:
    script = (
        "import os, signal, time\n"
        "from fiona_dagster.cli.run_server import end_with\n"
        "server = os.getpid()\n"
        "os.register_at_fork(after_in_child=lambda: end_with(server))\n"
        "run = os.fork()\n"
        "if run == 0:\n"
        "    print('run', flush=True)\n"  # it holds the pipe open as long as it lives
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "run\n"
        server.send_signal(signal.SIGKILL)
        assert server.stdout.read() == ""  # at its end only


def test_what_a_run_starts_itself_does_not_end_with_the_run_server() -> None:
    end_with(os.getppid() + 1)
