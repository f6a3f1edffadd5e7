"""A listener as a process of its own, as it runs in a hospital."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.layout import Layout
from tests.scp_listener.forking import ForkedListener


@dataclass
class Running:
    """A listener that is up."""

    process: ForkedListener
    port: int
    layout: Layout
    log: Path

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Rows of the ledger."""
        ledger = Ledger(f"sqlite:///{self.layout.ledger}")
        try:
            with ledger.begin() as connection:
                return [tuple(row) for row in connection.execute(text(sql))]
        finally:
            ledger.close()

    def eventually(self, sql: str, expected: list[tuple[object, ...]], seconds: float = 20.0) -> None:
        """The ledger lags behind reception: wait until a query has the expected answer."""
        wait_for(lambda: self.query(sql) == expected, seconds, lambda: f"{sql}: {self.query(sql)}")

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, as a power cut or the kernel's memory killer would."""
        self.process.kill()
        self.process.wait(10)


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Poll another process's work, which has no event to wait for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


Start = Callable[..., Running]


@contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """What starts listeners, in `folder` unless told otherwise; all are gone at the end of the block."""
    running: list[Running] = []

    def run(*arguments: str, data_dir: Path | None = None) -> Running:
        data = data_dir or folder / "data"
        log = folder / f"stderr-{len(running)}"
        where = () if "--site" in arguments else ("--host", "127.0.0.1", "--data-dir", str(data))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FIONA_")}
        process = ForkedListener((*where, "--port", "0", *arguments), environment, log)
        line = process.stdout.readline()
        assert line.startswith("listening on "), log.read_text()
        found = Running(process, int(line.rpartition(":")[2]), Layout(data), log)
        running.append(found)
        return found

    try:
        yield run
    finally:
        for one in running:
            if one.process.poll() is None:
                os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait(10)
            one.process.stdout.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start listeners; all are gone at the end of the test."""
    with starting(tmp_path) as run:
        yield run


@pytest.fixture(params=["streamed", "stock"])
def listener(start: Start, request: pytest.FixtureRequest) -> Running:
    """One listener on an empty data directory, in either data phase."""
    return start("--data-phase", request.param)
