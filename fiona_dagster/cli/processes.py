"""The gateway's processes: started in order, watched, restarted when they die, stopped in reverse order."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from fiona_dagster.domain.errors import FionaError, Permanent

START_SECONDS = 120.0
STOP_SECONDS = 20.0
RESTART_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


@dataclass(frozen=True)
class Service:
    """A process to run. It is ready when a line of its output matches `ready`; the first group is its port.

    `{port}` in the command is replaced by the port that an earlier start had, so that a restarted service is found
    where its peers expect it; 0 lets it choose one the first time. `before_restart` puts in order what a dead process
    left behind; it is given its process group, and raises a `FionaError` to be called again later.
    """

    name: str
    command: Sequence[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    before_restart: Callable[[int], None] | None = None
    stop_seconds: float | None = None
    """How long it may take to end when asked; default `STOP_SECONDS`."""


class Supervisor:
    """Runs services; use as a context manager. Output goes to `<logs>/<name>.log`.

    Start services from one thread only: children are told to end when the thread that made them ends.
    """

    def __init__(
        self,
        logs: Path,
        on_event: Callable[[str], None] = lambda _text: None,
        *,
        restart_pause_seconds: float = RESTART_PAUSE_SECONDS,
    ) -> None:
        self._logs = logs
        self._on_event = on_event
        self._pause_seconds = restart_pause_seconds
        self._running: dict[str, _Running] = {}
        self._restarts: dict[str, _Restart] = {}

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> int:
        """Start `service`, wait until it is ready, return its port (0 when it told none).

        Raises:
            Permanent: it ended, or did not become ready in time; the message names its log.
        """
        running = _Running(service, self._logs / f"{service.name}.log")
        self._running[service.name] = running
        running.wait_until_ready()
        return running.port

    def pid(self, name: str) -> int:
        """Process id of a service."""
        return self._running[name].process.pid

    def is_ready(self, name: str) -> bool:
        """Whether a service runs and said so."""
        running = self._running[name]
        return running.became_ready and running.process.poll() is None

    def end(self, name: str) -> None:
        """Ask a service to end, because it does not answer; `restart_the_dead` kills it when its time is over, and
        starts it again."""
        running = self._running[name]
        if running.process.poll() is None and running.killed_at is None:
            self._on_event(f"{name} does not answer; it is told to end, and started again")
            running.killed_at = time.monotonic() + running.stop_seconds
            running.process.terminate()

    def restart_the_dead(self) -> list[str]:
        """Start again what ended by itself; returns the names. Call it now and then.

        It does not wait until they are ready, so that reception never waits for a slower service. What ends again
        before it is ready is tried less and less often, for ever.
        """
        for one in self._running.values():
            if one.killed_at is not None and time.monotonic() >= one.killed_at and one.process.poll() is None:
                kill_group(one.process.pid)
        dead = [(name, one) for name, one in self._running.items() if one.process.poll() is not None]
        return [name for name, running in dead if self._restart(name, running)]

    def _restart(self, name: str, dead: _Running) -> bool:
        before = self._restarts.get(name)
        if before is None or before.of is not dead:
            pause = self._pause_seconds
            if before is not None and not dead.became_ready:
                pause = min(before.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
            before = self._restarts[name] = _Restart(dead, time.monotonic() + pause, pause)
        if time.monotonic() < before.due_at:
            return False
        try:
            if dead.service.before_restart is not None:
                dead.service.before_restart(dead.process.pid)
        except FionaError as error:
            self._on_event(f"{name} ended and cannot be started yet: {error}")
            before.due_at = time.monotonic() + self._pause_seconds
            return False
        self._on_event(f"{name} ended with {dead.process.returncode}; starting it again")
        self._running[name] = _Running(replace(dead.service, port=dead.port), dead.log)
        return True

    def stop(self) -> None:
        """Ask every service to end, last started first; kill what does not."""
        for name in reversed(list(self._running)):
            self._running.pop(name).stop()


@dataclass
class _Restart:
    """When the dead process `of` is started again (by the monotonic clock, in seconds)."""

    of: _Running
    due_at: float
    pause_seconds: float


class _Running:
    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.port = service.port
        self.log = log
        self.became_ready = False
        self.killed_at: float | None = None
        """When it is killed unless it has ended (monotonic clock)."""
        self.stop_seconds = STOP_SECONDS if service.stop_seconds is None else service.stop_seconds
        self._ready = threading.Event()
        command = [part.replace("{port}", str(service.port)) for part in service.command]
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **service.environment},
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 — one prctl call, made before any thread of the child exists
        )
        self._reader = threading.Thread(target=self._read, name=f"log of {service.name}", daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        self._ready.wait(START_SECONDS)
        if not self.became_ready or self.process.poll() is not None:
            self.stop()
            raise Permanent(f"{self.service.name} did not start: see {self.log}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                kill_group(self.process.pid)
                self.process.wait()
        kill_group(self.process.pid)  # its own children, where it died without ending them
        self._reader.join(timeout=STOP_SECONDS)

    def _read(self) -> None:
        pattern = re.compile(self.service.ready)
        stream: IO[str] | None = self.process.stdout
        assert stream is not None  # noqa: S101 — Popen was given a pipe
        with self.log.open("a", encoding="utf-8") as log, stream:
            for line in stream:
                log.write(line)
                log.flush()
                found = None if self._ready.is_set() else pattern.search(line)
                if found:
                    self.port = int(found.group(1)) if found.groups() else self.port
                    self.became_ready = True
                    self._ready.set()
        self._ready.set()  # it ended: whoever waits must see that


def kill_group(group: int) -> None:
    """Kill what is left of a service's process group; nothing is no error.

    The system gives no new process the number of a group that still has members.
    """
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
