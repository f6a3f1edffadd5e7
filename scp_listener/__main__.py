"""`python -m scp_listener`: the SCP alone, needing nothing but the data directory."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    from scp_listener import slim  # noqa: F401  before anything that imports pydicom

from fiona_dagster.domain.errors import ConfigurationError, FionaError
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.domain.reception import is_enabled
from fiona_dagster.settings import Site, load_settings, standalone_site
from scp_listener import log
from scp_listener.log import LOG

if TYPE_CHECKING:
    from scp_listener.stow_server import StowEntrance

_SWITCH_SECONDS = 0.001
"""How long a thread that records may keep one that receives waiting."""
_AFTER_GRACE_SECONDS = 40.0
"""Workers whose parent was killed finish by themselves: beyond the grace they record what waits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a listener until SIGTERM or SIGINT; returns the exit code (0 only if everything is recorded)."""
    options = _parser().parse_args(arguments)
    sys.setswitchinterval(_SWITCH_SECONDS)
    os.umask(0o027)  # what is received is for the gateway's user and group
    log.configure()
    try:
        site, ledger_url = _chosen(options)
        return _serve(site, ledger_url, options)
    except FionaError as error:
        LOG.error("%s", error)
    except OSError as error:
        LOG.error("cannot listen or write: %s", error.strerror or error)
    return 1


def _serve(site: Site, ledger_url: str, options: argparse.Namespace) -> int:
    from scp_listener.manner import Manner, control_file
    from scp_listener.supervisor import Supervisor
    from scp_listener.workers import run_alone

    site.layout.ensure()
    if not is_enabled(control_file(site.layout.enabled)):
        raise ConfigurationError(
            "the receiver is switched off",
            place=str(site.layout.enabled),
            remedy="write 1 as its first character",
        )
    workers = options.workers or (site.receiver.workers if options.site else 1)
    lock = _only_listener(site.layout.incoming, wait_seconds=options.grace + _AFTER_GRACE_SECONDS)
    try:
        manner = Manner(
            streamed=(options.data_phase or site.receiver.data_phase) == "streamed",
            durable=not options.unsafe_no_sync,
            stow=_second_door(site, options),
        )
        if workers > 1 or options.site or options.supervised:
            supervisor = Supervisor(
                site,
                ledger_url,
                count=workers,
                grace_seconds=options.grace,
                manner=manner,
                hang_seconds=options.hang,
            )
            return 0 if supervisor.run() else 1
        return 0 if run_alone(site, ledger_url, grace_seconds=options.grace, manner=manner) else 1
    finally:
        os.close(lock)


def _second_door(site: Site, options: argparse.Namespace) -> StowEntrance | None:
    if site.stow is None:
        return None
    from scp_listener.stow_server import StowEntrance

    return StowEntrance.open(site.stow, load_settings(options.config).secret)


def _chosen(options: argparse.Namespace) -> tuple[Site, str]:
    """The site and the ledger's URL."""
    if options.site:
        settings = load_settings(options.config)
        for warning in settings.warnings:
            LOG.warning("%s", warning)
        site = settings.site(options.site)
        if options.port is not None:
            site = replace(site, port=options.port)
        return site, options.ledger or settings.ledger_url
    if options.data_dir is None:
        raise ConfigurationError("no data directory", remedy="give --data-dir, or --site with a config.json")
    site = standalone_site(
        options.data_dir,
        host=options.host,
        port=11112 if options.port is None else options.port,
        ae_title=options.ae_title,
    )
    own = site.layout.config / "config.json"
    settings = load_settings(own if own.exists() else None)
    if own.exists() and (
        settings.default_site.receiver != ReceiverSettings() or settings.default_site.stow is not None
    ):
        raise ConfigurationError(
            "it restricts its receiver, which --data-dir alone would leave open",
            place=str(own),
            remedy=f"run --site {settings.default_site.name} --config {own}",
        )
    chosen = settings.environment.get("FIONA_LEDGER_URL") or (settings.ledger_url if own.exists() else "")
    return site, options.ledger or chosen or f"sqlite:///{site.layout.ledger}"


def _only_listener(folder: Path, *, wait_seconds: float) -> int:
    """Hold the data directory for this listener and its workers; a predecessor may need time to finish."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline, told = time.monotonic() + wait_seconds, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ConfigurationError(
                    "another listener works in this data directory",
                    place=str(folder),
                    remedy="stop it first, or use --workers for more processes",
                ) from None
            if not told:
                LOG.info(
                    "another listener works in this data directory: it is waited for, for %.0f s",
                    wait_seconds,
                )
                told = True
            time.sleep(0.2)  # there is no event for a lock that another process gives back
        else:
            return descriptor


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scp_listener", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104
    parser.add_argument("--port", type=int, help="TCP port; 0 picks one (default: 11112, or the site's)")
    parser.add_argument("--ae-title", default="FIONA", help="our AE title; peers may call any")
    parser.add_argument("--data-dir", type=Path, help="data directory of a listener without configuration")
    parser.add_argument("--site", help="run this site of config.json instead")
    parser.add_argument("--config", type=Path, help="config.json (with --site)")
    parser.add_argument(
        "--ledger", help="SQLAlchemy URL of the ledger (default: SQLite in the data directory)"
    )
    parser.add_argument(
        "--workers", type=int, help="processes that share the port (default: 1, or the site's WORKERS)"
    )
    parser.add_argument(
        "--grace", type=float, default=60.0, help="seconds that open Associations get to finish at a stop"
    )
    parser.add_argument(
        "--data-phase",
        choices=("streamed", "stock"),
        help="who reads data sets from the network: the listener, or pynetdicom's code (default: the site's DATAPHASE)",
    )
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="a parent watches even a single process (always with --site)",
    )
    parser.add_argument("--hang", type=float, default=60.0, help=argparse.SUPPRESS)
    parser.add_argument("--unsafe-no-sync", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
