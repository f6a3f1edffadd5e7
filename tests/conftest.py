"""What every test may use. Peers and data that a machine may lack are asked for by name: the test then skips,
saying what it needs; in CI, where everything is installed, such a skip is a failure.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fiona_dagster.domain.layout import Layout

SHARED = Path(__file__).resolve().parents[2] / "shared"
NEEDS = "needs "

# the same examples every time, and no verdict on how busy the machine is
settings.register_profile(
    "fiona", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fiona")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: half of the time a test waits for a peer or a process that it started."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The journeys take minutes: they go first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("journey") is None)


def need_program(*names: str) -> str:
    """Path of the first of `names` that is installed; skips the test, by name, where none is."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
        if found:
            return found
    pytest.skip(f"{NEEDS}the program {' or '.join(names)}")


def need_shared(*parts: str) -> Path:
    """A file or folder of the shared test data, which is not part of the repository."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{NEEDS}the shared test data {'/'.join(parts)}")
    return path


def free_port() -> int:
    """A TCP port that is free now, for peers that cannot be told to choose one themselves.

    Not of those that the kernel gives to clients: another test's connection would have it before the peer starts.
    """
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("CI") == "true" and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2])
        if NEEDS in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: in CI everything is installed, yet this test {reason}"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """FIONA's folders in an empty data directory."""
    made = Layout(tmp_path / "data")
    made.ensure()
    return made


@pytest.fixture(autouse=True)
def _no_settings_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("FIONA_")]:
        monkeypatch.delenv(name)
