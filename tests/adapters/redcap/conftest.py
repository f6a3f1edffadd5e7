from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.provision import provision
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.embedded.redcap.server import RedcapServer
from fiona_dagster.settings import RedcapSettings

PLENTY = 100_000


def follow(reference: str) -> str:
    """The secret behind `file:/path`."""
    return Path(reference.removeprefix("file:")).read_text(encoding="ascii").strip()


@dataclass
class Hospital:
    """A provisioned REDCap of one test, its switches, and ways to talk to it."""

    server: RedcapServer
    folder: Path

    @property
    def limit(self) -> RateLimit:
        return RateLimit(self.folder / ".redcap-calls", PLENTY)

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    def settings(self, *, timeout_seconds: tuple[float, float] = (5.0, 30.0)) -> RedcapSettings:
        tokens = {path.stem: f"file:{path}" for path in self.tokens.glob("*.token")}
        return RedcapSettings(
            self.server.url, tokens, calls_per_minute=PLENTY, timeout_seconds=timeout_seconds
        )

    def registry(self, project_ids: Mapping[str, int] | None = None) -> RedcapRegistry:
        settings = replace(self.settings(), project_ids=project_ids or {})
        return RedcapRegistry(settings, follow, self.folder / ".redcap-calls", first_wait_seconds=0.01)

    def client(self, role: str, *, timeout_seconds: tuple[float, float] = (5.0, 30.0)) -> RedcapProject:
        """A client that repeats without long waits."""
        token = follow(f"file:{self.tokens / role}.token")
        return RedcapProject(
            self.server.url, token, self.limit, timeout_seconds=timeout_seconds, first_wait_seconds=0.01
        )


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a REDCap that has the gateway's projects, made once and copied for each test."""
    folder = tmp_path_factory.mktemp("provisioned")
    with RedcapServer(folder / "redcap.sqlite") as server:
        provision(server.url, server.super_token, folder / "tokens", RateLimit(folder / ".calls", PLENTY))
    return folder


@pytest.fixture
def hospital(provisioned: Path, tmp_path: Path) -> Iterator[Hospital]:
    shutil.copytree(provisioned, tmp_path / "hospital")
    with RedcapServer(tmp_path / "hospital" / "redcap.sqlite") as server:
        yield Hospital(server, tmp_path / "hospital")


@pytest.fixture
def record_actions(hospital: Hospital) -> Callable[[str], int]:
    """How many changes of records a project's log has."""
    return lambda role: len(hospital.client(role).export_logging(log_type="record"))
