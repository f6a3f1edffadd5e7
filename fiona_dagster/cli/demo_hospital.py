"""The hospital in a box: REDCap, research PACS, SFTP server and scanner, all real protocols on loopback."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.cli.processes import Service, Supervisor
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.scanner import EmbeddedScanner
from fiona_dagster.settings import DicomPeer

QUIET_SECONDS = 5
CLEAN_PIXELS = "HEART"
BRAIN = "BRAINAGE"


@dataclass(frozen=True)
class Hospital:
    """Where everything is. `config_file` is the gateway's configuration for it."""

    config_file: Path
    redcap_page: str
    research_pacs: DicomPeer
    sftp_folder: Path
    samples: tuple[SampleStudy, ...]
    scanner: EmbeddedScanner


def build_hospital(folder: Path, supervisor: Supervisor, tell: Callable[[str], None]) -> Hospital:
    """Start the servers under `supervisor`, fill REDCap through its API and write the gateway's config.json."""
    from fiona_dagster.embedded.redcap.hospital import prepare_hospital

    secrets_folder = folder / "secrets"
    secrets_folder.mkdir(parents=True, mode=0o700)
    samples = write_samples(folder / "scanner" / "studies")
    api = start_redcap(folder, secrets_folder, supervisor)
    tell(f"REDCap answers at {api}")
    pacs = start_research_pacs(folder, supervisor)
    tell(f"research PACS answers at {pacs}")
    sftp_folder, destination = start_sftp(folder, secrets_folder, supervisor)
    tell(f"SFTP server at {destination['dest_url']}")
    redcap = prepare_hospital(
        api,
        (secrets_folder / "super-token").read_text().strip(),
        secrets_folder / "tokens",
        projects=_projects(destination),
        coupling=_coupling(samples),
    )
    scanner = EmbeddedScanner(folder / "scanner" / "index", samples)
    scanner.start()
    config_file = folder / "config" / "config.json"
    config_file.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(json.dumps(_config(folder, api, redcap.tokens, pacs, scanner), indent=2))
    return Hospital(config_file, api.removesuffix("api/"), pacs, sftp_folder, samples, scanner)


def start_redcap(folder: Path, secrets_folder: Path, supervisor: Supervisor) -> str:
    """The embedded REDCap; returns its API. The super token is in `secrets_folder`."""
    super_token = secrets_folder / "super-token"
    command = [sys.executable, "-m", "fiona_dagster.embedded.redcap", "--port", "{port}",
               "--data", str(folder / "redcap" / "redcap.sqlite"), "--super-token-file", str(super_token)]  # fmt: skip
    (folder / "redcap").mkdir(parents=True)
    port = supervisor.start(Service("redcap", command, r"http://[^:]+:(\d+)/api/"))
    return f"http://127.0.0.1:{port}/api/"


def start_research_pacs(folder: Path, supervisor: Supervisor) -> DicomPeer:
    """The embedded research PACS; returns where it answers."""
    command = [sys.executable, "-m", "fiona_dagster.embedded.pacs", "--folder", str(folder / "research-pacs"),
               "--port", "{port}", "--ae-title", "RESEARCHPACS"]  # fmt: skip
    port = supervisor.start(Service("research-pacs", command, r"listening on .*:(\d+)"))
    return DicomPeer("RESEARCHPACS", "127.0.0.1", port)


def start_sftp(folder: Path, secrets_folder: Path, supervisor: Supervisor) -> tuple[Path, dict[str, str]]:
    """The embedded SFTP server; returns the folder that it shows, and its fields as a destination in REDCap."""
    root, password, host_key = folder / "sftp", secrets_folder / "sftp-password", folder / "sftp-host-key"
    (root / "incoming").mkdir(parents=True)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    command = [sys.executable, "-m", "fiona_dagster.embedded.sftp", "--root", str(root), "--port", "{port}",
               "--user", "researcher", "--password-file", str(password), "--host-key", str(host_key)]  # fmt: skip
    port = supervisor.start(Service("sftp", command, r"listening on .*:(\d+)"))
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(_known_hosts(host_key, port))
    return root / "incoming", {
        "dest_name": "research-server",
        "dest_type": "3",
        "dest_url": f"sftp://researcher@127.0.0.1:{port}/incoming",
        "dest_secret_ref": f"file:{password}",
        "dest_known_hosts": str(known_hosts),
        "dest_default": "1",
        "dest_active": "1",
    }


def _known_hosts(host_key: Path, port: int) -> str:
    from paramiko import PKey

    key = PKey.from_path(host_key)
    return f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"


def _projects(destination: dict[str, str]) -> list[dict[str, object]]:
    """Two projects; in one the researchers vouch that ultrasound carries no text (FIONA's feature 1)."""
    rule = {BRAIN: r"BA-\d{3}", CLEAN_PIXELS: r"HEART-\d{2}"}
    return [
        {
            "record_id": name,
            "project_name": name,
            "project_patient_naming": pattern,
            "project_active": "1",
            "project_type": "0",
            "project_features___1": "1" if name == CLEAN_PIXELS else "0",
            "destinations": [destination],
        }
        for name, pattern in rule.items()
    ]


def _coupling(samples: tuple[SampleStudy, ...]) -> list[dict[str, str]]:
    """An entry for every sample that is to be coupled; the participants say nothing of the patients."""
    rows = []
    for number, sample in enumerate((one for one in samples if one.coupled), start=1):
        heart = sample.modality == "US"
        rows.append(
            {
                "cl_accessionnumber": sample.accession_number,
                "cl_projectname": CLEAN_PIXELS if heart else BRAIN,
                "cl_subjectid": f"HEART-{number:02d}" if heart else f"BA-{number:03d}",
                "cl_eventname": "Baseline",
                "cl_date": time.strftime("%Y-%m-%d %H:%M"),
            }
        )
    return rows


def _config(
    folder: Path, api: str, tokens: dict[str, str], pacs: DicomPeer, scanner: EmbeddedScanner
) -> dict[str, object]:
    return {
        "DATADIR": str(folder),
        "DICOMIP": "127.0.0.1",
        "DICOMPORT": _free_port(),
        "DICOMAETITLE": "FIONA",
        "QUIETSECONDS": QUIET_SECONDS,
        "INCOMPLETESECONDS": 0,  # late images are part of the story
        "SCANNERIP": "127.0.0.1",
        "SCANNERPORT": scanner.port,
        "SCANNERAETITLE": scanner.ae_title,
        "REDCAP": {"url": api, "tokens": tokens},
        "RESEARCHPACS": {"AETITLE": pacs.ae_title, "IP": pacs.host, "PORT": pacs.port},
    }


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
