"""`fiona demo`: real studies from a scanner to the research PACS and into delivered packages, in front of your eyes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import click

from fiona_dagster.domain.errors import ConfigurationError

LIMIT_SECONDS = 1200.0
POLL_SECONDS = 1.0


@click.command()
@click.option(
    "--once", is_flag=True, help="End when everything is settled: status 0 only if all is as it should be."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=Path(".demo"), show_default=True,
              help="Everything of the demo lies here; it is emptied first.")  # fmt: skip
@click.option("--web-port", default=0, help="Port of Dagster's pages (default: a free one).")
def demo(once: bool, folder: Path, web_port: int) -> None:
    """Start a hospital in a box and the gateway, send sample studies, and show where every instance goes.

    Stays up until Ctrl-C, so that Dagster's pages and REDCap can be looked at.
    """
    from rich.console import Console

    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.cli.demo_hospital import build_hospital
    from fiona_dagster.cli.demo_story import Story
    from fiona_dagster.cli.gateway_services import start_gateway
    from fiona_dagster.cli.processes import Supervisor
    from fiona_dagster.cli.up import PRIVATE_UMASK
    from fiona_dagster.settings import load_settings

    console = Console() if sys.stdout.isatty() else Console(width=150)
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    os.umask(PRIVATE_UMASK)
    folder = _emptied(folder.absolute())

    def tell(text: str) -> None:
        console.print(f"[dim]{text}[/dim]", highlight=False)

    with Supervisor(folder / "logs", on_event=tell) as supervisor:
        hospital = build_hospital(folder, supervisor, tell)
        try:
            os.environ["FIONA_CONFIG"] = str(hospital.config_file)
            settings = load_settings(hospital.config_file)
            running = start_gateway(supervisor, settings, hospital.config_file, web_port=web_port, tell=tell)
            tell(f"Dagster's pages: {running.webserver}   REDCap: {hospital.redcap_page}")
            story = Story(hospital, settings, Ledger(settings.ledger_url), console)
            deadline = time.monotonic() + LIMIT_SECONDS
            with story.shown():
                while not stop.wait(POLL_SECONDS) and not story.settled and time.monotonic() < deadline:
                    supervisor.restart_the_dead()
                    story.go_on()
            problems = (
                story.problems() if not stop.is_set() else ["interrupted before everything was settled"]
            )
            story.conclude(problems, webserver="" if once else running.webserver)
            if once:
                raise SystemExit(1 if problems else 0)
            if not stop.is_set():
                console.print("The gateway stays up. Ctrl-C stops it and everything else.")
            while not stop.wait(POLL_SECONDS):
                supervisor.restart_the_dead()
        finally:
            hospital.scanner.stop()


def _emptied(folder: Path) -> Path:
    """The demo's folder, empty. A folder that is not a demo's is never emptied."""
    mark = folder / ".fiona-demo"
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise ConfigurationError(
                f"{folder} is not empty and no demo's", remedy="name another with --folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return folder
