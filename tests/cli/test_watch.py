"""A receiver that is silent three times in a row is told to end and started again; whoever waits, waits for nobody."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from fiona_dagster.cli.processes import Service, Supervisor
from fiona_dagster.cli.up import tell_systemd
from fiona_dagster.cli.watch import SILENT_TIMES, Watch
from fiona_dagster.settings import DicomPeer
from tests.scp_listener.conftest import wait_for

HANGS = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


def settle(watch: Watch) -> None:
    if watch._asking is not None:
        watch._asking.join(10)


def test_a_silent_receiver_is_restarted_after_three_times_and_an_answer_forgives() -> None:
    restarted: list[str] = []
    replies = iter([False, False, True, *[False] * SILENT_TIMES, True])
    watch = Watch(
        {"r": DicomPeer("A", "h", 1)}, restarted.append, ask=lambda _: next(replies), every_seconds=0.0
    )
    for _ in range(3 + SILENT_TIMES):
        watch.look()
        settle(watch)
        assert not restarted
    watch.look()
    settle(watch)
    assert restarted == ["r"]


def test_what_hangs_is_asked_to_end_then_killed_and_started_again(tmp_path: Path) -> None:
    events: list[str] = []
    with Supervisor(tmp_path / "logs", events.append, restart_pause_seconds=0.05) as supervisor:
        supervisor.start(Service("r", [sys.executable, "-c", HANGS], "ready", stop_seconds=0.1))
        hanging = supervisor.pid("r")
        supervisor.end("r")
        supervisor.end("r")
        wait_for(lambda: "r" in supervisor.restart_the_dead(), 20, lambda: str(events))
        assert supervisor.pid("r") != hanging
        wait_for(lambda: supervisor.is_ready("r"), 20, lambda: "it is not ready")
        os.kill(supervisor.pid("r"), signal.SIGKILL)
    assert events == [
        "r does not answer; it is told to end, and started again",
        "r ended with -9; starting it again",
    ]


def test_the_service_manager_is_told_that_everything_is_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        tell_systemd(str(tmp_path / "notify"), "READY=1")
        assert manager.recv(100) == b"READY=1"
    tell_systemd("", "READY=1")
    tell_systemd(str(tmp_path / "nobody"), "READY=1")
