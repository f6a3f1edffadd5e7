"""`fiona up`: the gateway for real."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from fiona_dagster.cli.gateway_services import receiver_name, start_gateway
from fiona_dagster.cli.opening import config_option
from fiona_dagster.cli.processes import Supervisor
from fiona_dagster.cli.watch import Watch
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.settings import Settings, configuration_file, load_settings

WATCH_SECONDS = 2.0
PRIVATE_UMASK = 0o027
"""What the gateway writes is for its user and group: ledger, logs and archive hold patient data."""


@click.command()
@click.option(
    "--web-host", default="127.0.0.1", show_default=True, help="Dagster has no login: keep it on loopback."
)
@click.option("--web-port", default=3000, show_default=True, help="Port of Dagster's pages; 0 picks one.")
@click.option(
    "--workers",
    type=int,
    help="Receiver processes a site (default: WORKERS of the site); at most one a core.",
)
@config_option
def up(web_host: str, web_port: int, workers: int | None, config_file: Path | None) -> None:
    """Run the gateway until Ctrl-C or SIGTERM: receivers, Dagster's code server, daemon and webserver."""
    config = configuration_file(config_file)
    settings = load_settings(config)
    os.umask(PRIVATE_UMASK)
    for warning in settings.warnings:
        _tell(f"warning: {warning}")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Supervisor(settings.layout.logs, on_event=_tell) as supervisor:
        running = start_gateway(
            supervisor, settings, config, web_host=web_host, web_port=web_port, workers=workers, tell=_tell
        )
        for problem in _project_problems(settings):
            _tell(f"warning: a project cannot be used: {problem}")
        _tell(f"the gateway is up; pages on {running.webserver}; Ctrl-C stops it")
        watch = Watch(
            {
                receiver_name(site.name): replace(site.peer, port=running.receivers[site.name])
                for site in settings.sites
            },
            restart=supervisor.end,
        )
        notify = settings.environment.get("NOTIFY_SOCKET", "")
        tell_systemd(notify, "READY=1")
        while not stop.wait(WATCH_SECONDS):
            supervisor.restart_the_dead()
            watch.look()
            tell_systemd(notify, "WATCHDOG=1")
        tell_systemd(notify, "STOPPING=1")
        _tell("stopping; open Associations are finished first")


def _project_problems(settings: Settings) -> tuple[str, ...]:
    """What is wrong with single projects: their studies wait, those of all others go on."""
    from fiona_dagster.adapters.configuration import project_catalogue, registry
    from fiona_dagster.adapters.ledger import Ledger

    try:
        return project_catalogue(settings, Ledger(settings.ledger_url), registry(settings)).problems
    except FionaError as error:
        return (str(error),)


def tell_systemd(address: str, state: str) -> None:
    """sd_notify(3): `READY=1`, `WATCHDOG=1` or `STOPPING=1` to the service manager that gave `address`, if any did."""
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendto(state.encode("ascii"), "\0" + address[1:] if address.startswith("@") else address)


def _tell(text: str) -> None:
    click.echo(text, err=True)
