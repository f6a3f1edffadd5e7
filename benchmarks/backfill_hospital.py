"""The gateway and the hospital around it for a backfill: processes of their own, as in a hospital, on loopback."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.backfill_studies import Study
from benchmarks.process_tree import TreeCpu, cpu_of
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.cli.demo_hospital import start_redcap, start_research_pacs, start_sftp
from fiona_dagster.cli.gateway_services import receiver_name, start_gateway
from fiona_dagster.cli.processes import Supervisor
from fiona_dagster.embedded.redcap.hospital import prepare_hospital
from fiona_dagster.settings import DicomPeer, Settings, load_settings

PROJECT = "BACKFILL"
HOSPITAL = ("redcap", "research-pacs", "sftp")


@dataclass(frozen=True)
class Backfilled:
    """Everything that runs. `packages` is what the SFTP server shows, `archive` what the research PACS keeps."""

    settings: Settings
    ledger: Ledger
    supervisor: Supervisor
    pages: str
    packages: Path
    archive: Path

    @property
    def receiver(self) -> DicomPeer:
        """Where studies are sent to."""
        site = self.settings.default_site
        return DicomPeer(site.ae_title, "127.0.0.1", site.port)

    @property
    def services(self) -> dict[str, int]:
        """Names and process ids: the gateway's, then the hospital's."""
        gateway = (receiver_name(self.settings.default_site.name), "code-server", "daemon", "webserver")
        return {name: self.supervisor.pid(name) for name in (*gateway, *HOSPITAL)}

    def cpu(self) -> dict[str, TreeCpu]:
        """What each service has used until now."""
        return {name: cpu_of(pid) for name, pid in self.services.items()}


@contextmanager
def gateway_in_a_hospital(folder: Path, studies: Sequence[Study]) -> Iterator[Backfilled]:
    """Start everything below `folder`, with a coupling entry for each study; stopped at the end."""
    secret = folder / "secrets"
    secret.mkdir(parents=True)
    with Supervisor(folder / "logs") as supervisor:
        api = start_redcap(folder, secret, supervisor)
        pacs = start_research_pacs(folder, supervisor)
        packages, destination = start_sftp(folder, secret, supervisor)
        redcap = prepare_hospital(
            api, (secret / "super-token").read_text().strip(), secret / "tokens",
            projects=[{"project_name": PROJECT, "project_patient_naming": r"BF-\d{6}", "destinations": [destination]}],
            coupling=[
                {"cl_accessionnumber": one.accession_number, "cl_projectname": PROJECT, "cl_eventname": "Baseline",
                 "cl_subjectid": one.accession_number.replace("BF", "BF-"), "cl_date": time.strftime("%Y-%m-%d 00:01")}
                for one in studies
            ],
        )  # fmt: skip
        config = folder / "data" / "config" / "config.json"
        config.parent.mkdir(parents=True)
        # how often REDCap may be called is the hospital's affair: not measured here
        config.write_text(
            json.dumps(
                {
                    "DATADIR": str(folder / "data"), "DICOMIP": "127.0.0.1", "DICOMPORT": _free_port(),
                    "QUIETSECONDS": 1,
                    "REDCAP": {"url": api, "tokens": redcap.tokens, "calls_per_minute": 60_000},
                    "RESEARCHPACS": {"AETITLE": pacs.ae_title, "IP": pacs.host, "PORT": pacs.port},
                }
            )
        )  # fmt: skip
        settings = load_settings(config, {})
        running = start_gateway(supervisor, settings, config, web_port=0, tell=lambda _text: None)
        ledger = Ledger(settings.ledger_url)
        try:
            yield Backfilled(
                settings, ledger, supervisor, running.webserver, packages, folder / "research-pacs"
            )
        finally:
            ledger.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
