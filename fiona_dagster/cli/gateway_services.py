"""The gateway's own services: a receiver a site, and Dagster's three processes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.cli import dagster_home
from fiona_dagster.cli.processes import Service, Supervisor
from fiona_dagster.settings import Settings

RECEIVER_STOP_SECONDS = 100.0
"""Longer than a receiver lets open Associations finish at a stop."""


@dataclass(frozen=True)
class Running:
    """Where the gateway's services can be reached; `webserver` is empty where none was started."""

    receivers: dict[str, int]
    webserver: str


def start_gateway(
    supervisor: Supervisor,
    settings: Settings,
    config_file: Path,
    *,
    web_host: str = "127.0.0.1",
    web_port: int = 3000,
    pages: bool = True,
    workers: int | None = None,
    tell: Callable[[str], None],
) -> Running:
    """Start receivers, code server, daemon and (with `pages`) webserver under `supervisor`.

    Reception comes first: it needs nothing of the others, and images must never wait for them.
    """
    environment = {"FIONA_CONFIG": str(config_file)}
    receivers = {}
    for site in settings.sites:
        site.layout.ensure()
        receivers[site.name] = supervisor.start(
            receiver(site.name, config_file, environment, workers=workers or site.receiver.workers)
        )
        tell(f"receiver {site.ae_title} listens on port {receivers[site.name]}")
    home = settings.layout.dagster_home
    dagster_home.prepare_home(home)
    lost = dagster_home.end_lost_runs(home)
    if lost:
        tell(f"{lost} run(s) lost in a crash were closed; their work is asked for again")
    port = _free_port()
    supervisor.start(dagster_home.code_server(home, environment, port=port))
    dagster_home.write_workspace(home, code_server_port=port)
    supervisor.start(dagster_home.daemon(home, environment))
    if not pages:
        return Running(receivers, "")
    web = supervisor.start(
        dagster_home.webserver(
            home, environment, host=web_host, port=web_port or _free_port(), read_only=False
        )
    )
    return Running(receivers, f"http://{web_host}:{web}")


def receiver_name(site: str) -> str:
    """Name of a site's receiver among the services."""
    return f"receiver-{site}"


def receiver(site: str, config_file: Path, environment: dict[str, str], *, workers: int = 1) -> Service:
    """The listener of one site."""
    command = [sys.executable, "-m", "scp_listener", "--site", site, "--config", str(config_file),
               "--workers", str(workers)]  # fmt: skip
    return Service(
        receiver_name(site),
        command,
        r"listening on .*:(\d+)$",
        environment,
        stop_seconds=RECEIVER_STOP_SECONDS,
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
