"""`fiona up`: the gateway for real."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import click

from fiona_dagster.cli.gateway_services import start_gateway
from fiona_dagster.cli.opening import config_option
from fiona_dagster.cli.processes import Supervisor
from fiona_dagster.settings import configuration_file, load_settings

WATCH_SECONDS = 2.0
PRIVATE_UMASK = 0o027
"""What the gateway writes is for its user and group: ledger, logs and archive hold patient data."""


@click.command()
@click.option(
    "--web-host", default="127.0.0.1", show_default=True, help="Dagster has no login: keep it on loopback."
)
@click.option("--web-port", default=3000, show_default=True, help="Port of Dagster's pages; 0 picks one.")
@click.option(
    "--workers", default=1, show_default=True, help="Receiver processes a site; at most one a core."
)
@config_option
def up(web_host: str, web_port: int, workers: int, config_file: Path | None) -> None:
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
        _tell(f"the gateway is up; pages on {running.webserver}; Ctrl-C stops it")
        while not stop.wait(WATCH_SECONDS):
            supervisor.restart_the_dead()
        _tell("stopping; open Associations are finished first")


def _tell(text: str) -> None:
    click.echo(text, err=True)
