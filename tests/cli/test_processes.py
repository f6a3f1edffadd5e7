"""The supervisor: ready lines, restarts, the order of the end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fiona_dagster.cli.processes import Service, Supervisor
from fiona_dagster.domain.errors import Permanent, Transient
from tests.conftest import free_port
from tests.scp_listener.conftest import wait_for

LISTENS = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    while True:
        server.accept()[0].close()
"""
IGNORES_TERM = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
signal.pause()
"""
LEAVES_A_CHILD = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
signal.pause()
"""
NOTES_ITS_END = """
import pathlib, signal, sys
def end(*_):
    with pathlib.Path(sys.argv[1]).open("a") as log:
        log.write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""
READY_ON_THE_SECOND_START = """
import pathlib, signal, sys
mark = pathlib.Path(sys.argv[1])
if mark.exists():
    print("ready", flush=True)
    signal.pause()
mark.touch()
sys.exit(3)
"""


def service(name: str, program: str, *arguments: str, ready: str = "ready", **options: object) -> Service:
    return Service(name, [sys.executable, "-c", program, *arguments], ready, **options)  # type: ignore[arg-type]


def listener(name: str = "listener", *, port: int = 0) -> Service:
    return service(name, LISTENS, "{port}", ready=r"listening on .*:(\d+)$", port=port)


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, events: list[str]) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", events.append, restart_pause_seconds=0.05) as made:
        yield made


def kill(supervisor: Supervisor, name: str) -> int:
    """Kill a service as the kernel would; returns its process id."""
    pid = supervisor.pid(name)
    os.kill(pid, signal.SIGKILL)
    return pid


def restarted(supervisor: Supervisor, name: str) -> bool:
    return name in supervisor.restart_the_dead()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which its new parent has not reaped yet, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def child_of(log: Path) -> int:
    return int(log.read_text().split()[1])


def test_a_service_is_started_when_it_said_so_and_its_port_is_the_one_it_told(supervisor: Supervisor) -> None:
    port = supervisor.start(listener())
    assert port > 0
    assert answers(port)


def test_what_it_says_stands_in_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    port = supervisor.start(listener("one"))
    assert (tmp_path / "logs" / "one.log").read_text() == f"listening on 127.0.0.1:{port}\n"


def test_nothing_that_runs_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start(listener())
    pid = supervisor.pid("listener")
    assert supervisor.restart_the_dead() == []
    assert supervisor.pid("listener") == pid


def test_what_was_killed_comes_back_on_the_same_port_and_its_neighbour_is_left_alone(
    supervisor: Supervisor, events: list[str]
) -> None:
    port = supervisor.start(listener())
    supervisor.start(listener("neighbour"))
    neighbour = supervisor.pid("neighbour")
    for _ in range(2):
        old = kill(supervisor, "listener")
        wait_for(lambda: restarted(supervisor, "listener"), 10, lambda: "it was not restarted")
        assert supervisor.pid("listener") != old
        wait_for(lambda: answers(port), 10, lambda: "it does not answer")
    assert supervisor.pid("neighbour") == neighbour
    assert events == ["listener ended with -9; starting it again"] * 2


def test_a_restart_waits_for_nobody(supervisor: Supervisor) -> None:
    """A slow service must not keep a receiver down."""
    supervisor.start(service("silent", "import signal; print('ready', flush=True); signal.pause()"))
    supervisor._running["silent"].service = service("silent", "import signal; signal.pause()")
    port = supervisor.start(listener())
    for name in ("silent", "listener"):
        kill(supervisor, name)
    names: list[str] = []
    wait_for(
        lambda: bool(names.extend(supervisor.restart_the_dead()) or len(names) == 2), 10, lambda: str(names)
    )
    wait_for(lambda: answers(port), 10, lambda: "it does not answer")


def test_what_fails_at_a_restart_is_tried_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(service("shaky", "import signal; print('ready', flush=True); signal.pause()"))
    supervisor._running["shaky"].service = service("shaky", READY_ON_THE_SECOND_START, str(tmp_path / "mark"))
    kill(supervisor, "shaky")
    for _ in range(2):
        wait_for(lambda: restarted(supervisor, "shaky"), 10, lambda: "it was given up")
    wait_for(lambda: supervisor._running["shaky"].became_ready, 10, lambda: "it is not ready")


def test_what_a_dead_service_left_is_put_in_order_before_it_is_started_again(
    supervisor: Supervisor, events: list[str]
) -> None:
    groups: list[int] = []

    def put_in_order(group: int) -> None:
        groups.append(group)
        if len(groups) == 1:
            raise Transient("the storage does not answer")

    supervisor.start(service("server", NOTES_ITS_END, os.devnull, "x", before_restart=put_in_order))
    old = kill(supervisor, "server")
    wait_for(lambda: restarted(supervisor, "server"), 10, lambda: "it was not restarted")
    assert groups == [old, old]
    assert events == [
        "server ended and cannot be started yet: the storage does not answer",
        "server ended with -9; starting it again",
    ]


def test_a_start_that_fails_names_the_log(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(Permanent) as raised:
        supervisor.start(service("broken", "raise SystemExit('no configuration')"))
    log = tmp_path / "logs" / "broken.log"
    assert str(log) in str(raised.value)
    assert log.read_text() == "no configuration\n"


def test_a_port_that_is_taken_is_a_failed_start(supervisor: Supervisor) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Permanent, match="did not start"):
        supervisor.start(listener(port=port))


def test_services_end_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Supervisor(tmp_path / "logs") as supervisor:
        for name in ("first", "second", "third"):
            supervisor.start(service(name, NOTES_ITS_END, str(order), name))
    assert order.read_text().split() == ["third", "second", "first"]


def test_what_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fiona_dagster.cli.processes.STOP_SECONDS", 0.2)
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(service("stubborn", IGNORES_TERM, ready=r"child"))
        pid = supervisor.pid("stubborn")
        child = child_of(tmp_path / "logs" / "stubborn.log")
        assert alive(child)
    wait_for(lambda: not alive(pid) and not alive(child), 10, lambda: "something is left running")


def test_children_of_a_service_that_died_do_not_outlive_the_gateway(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(service("parent", LEAVES_A_CHILD, ready=r"child"))
        child = child_of(tmp_path / "logs" / "parent.log")
        os.kill(supervisor.pid("parent"), signal.SIGKILL)
    wait_for(lambda: not alive(child), 10, lambda: "a child is left running")
