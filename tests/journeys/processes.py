"""The gateway as it runs in a hospital, as processes of its own, and the servers around it: real ones or embedded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.cli.gateway_services import start_gateway
from fiona_dagster.cli.processes import Supervisor
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.redcap.hospital import prepare_hospital
from fiona_dagster.embedded.redcap.server import RedcapServer
from fiona_dagster.embedded.sftp import EmbeddedSftp
from fiona_dagster.settings import DicomPeer, Settings, load_settings
from tests.conftest import free_port
from tests.gateway import TODAY
from tests.peers import orthanc
from tests.sshd import running_sshd

PASSWORD = "correct horse battery"
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Destinations:
    """Where the gateway delivers to. `pacs_files` reads every file that the research PACS has, by its own answer;
    `packages` is the folder that the SFTP server shows; `fields` describe it to REDCap.
    """

    research_pacs: DicomPeer
    pacs_files: Callable[[], list[bytes]]
    packages: Path
    fields: Mapping[str, str]


@contextmanager
def embedded_destinations(folder: Path) -> Iterator[Destinations]:
    """Our own research PACS and SFTP server."""
    packages = folder / "sftp" / "incoming"
    packages.mkdir(parents=True)
    with (
        EmbeddedPacs(folder / "pacs") as pacs,
        EmbeddedSftp(folder / "sftp", users={"lab": PASSWORD}) as sftp,
    ):
        yield Destinations(
            DicomPeer(pacs.ae_title, "127.0.0.1", pacs.port),
            lambda: [path.read_bytes() for path in sorted((folder / "pacs").rglob("*.dcm"))],
            packages,
            _fields(folder, f"lab@127.0.0.1:{sftp.port}", PASSWORD, sftp.known_hosts),
        )


@contextmanager
def real_destinations(folder: Path) -> Iterator[Destinations]:
    """Orthanc and OpenSSH; skips where one of them is not installed."""
    with orthanc(folder / "orthanc") as pacs, running_sshd(folder / "sshd") as sshd:

        def download() -> list[bytes]:
            return [_body(f"{pacs.url}/instances/{one}/file") for one in pacs.get("/instances")]

        packages = sshd.root / "incoming"
        packages.mkdir()
        server = f"{sshd.user}@{sshd.host}:{sshd.port}"
        yield Destinations(pacs.peer, download, packages, _fields(folder, server, sshd.key, sshd.known_hosts))


def _body(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 — our own loopback
        return bytes(answer.read())


def _fields(folder: Path, server: str, secret: str, known_hosts: str) -> dict[str, str]:
    (folder / "sftp-secret").write_text(secret)
    (folder / "known_hosts").write_text(known_hosts + "\n")
    return {
        "dest_name": "lab", "dest_type": "3", "dest_url": f"sftp://{server}/incoming",
        "dest_secret_ref": f"file:{folder / 'sftp-secret'}", "dest_known_hosts": str(folder / "known_hosts"),
    }  # fmt: skip


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that is up. Its ledger is read from outside, as an operator would."""

    settings: Settings
    config_file: Path
    supervisor: Supervisor
    ledger: Ledger
    destinations: Destinations
    tokens: Mapping[str, Path]
    events: list[str]

    @property
    def receiver(self) -> DicomPeer:
        site = self.settings.default_site
        return DicomPeer(site.ae_title, "127.0.0.1", site.port)

    def fiona(self, *arguments: str) -> str:
        """What `fiona ...` prints."""
        command = [
            str(Path(sys.executable).with_name("fiona")),
            *arguments,
            "--config",
            str(self.config_file),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def incoming(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """REDCap's rows of a study."""
        redcap = self.settings.redcap
        assert redcap is not None
        token = self.tokens["Incoming"].read_text().strip()
        limit = RateLimit(self.config_file.with_name(".calls"), 6000)
        return list(RedcapProject(redcap.url, token, limit).rows(records=[study_instance_uid]))

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        """Poll the ledger, which processes of the gateway write, and keep them alive meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what()}; {self.events}"
            self.supervisor.restart_the_dead()
            time.sleep(POLL_SECONDS)


@contextmanager
def running_processes(
    folder: Path,
    destinations: Destinations,
    *,
    projects: Sequence[Mapping[str, Any]],
    coupling: Sequence[Mapping[str, Any]],
    routing: Sequence[Mapping[str, Any]] = (),
    pages: bool = True,
    restart_pause_seconds: float = 0.2,
    **config: Any,
) -> Iterator[RunningGateway]:
    """Start REDCap and the gateway; everything is stopped at the end."""
    events: list[str] = []
    with (
        RedcapServer(folder / "redcap" / "redcap.sqlite") as redcap,
        Supervisor(folder / "logs", events.append, restart_pause_seconds=restart_pause_seconds) as supervisor,
    ):
        hospital = prepare_hospital(
            redcap.url, redcap.super_token, folder / "tokens",
            projects=[{**project, "destinations": [destinations.fields]} for project in projects],
            coupling=[{"cl_eventname": "Baseline", "cl_date": TODAY, **row} for row in coupling],
            routing=routing,
        )  # fmt: skip
        pacs = destinations.research_pacs
        config_file = folder / "data" / "config" / "config.json"
        content = {
            "DATADIR": str(folder / "data"), "DICOMIP": "127.0.0.1", "DICOMPORT": free_port(), "QUIETSECONDS": 1,
            "REDCAP": {"url": redcap.url, "tokens": hospital.tokens, "calls_per_minute": 6000},
            "RESEARCHPACS": {"AETITLE": pacs.ae_title, "IP": pacs.host, "PORT": pacs.port}, **config,
        }  # fmt: skip
        config_file.parent.mkdir(parents=True)
        config_file.write_text(json.dumps(content))
        settings = load_settings(config_file, {})
        start_gateway(supervisor, settings, config_file, web_port=0, pages=pages, tell=events.append)
        ledger = Ledger(settings.ledger_url)
        try:
            yield RunningGateway(
                settings, config_file, supervisor, ledger, destinations, hospital.token_files, events
            )
        finally:
            ledger.close()
