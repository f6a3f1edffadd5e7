"""What the gateway needs and whether it answers now: quick questions, and no answer is an answer too."""

from __future__ import annotations

import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fiona_dagster.settings import DicomPeer, Settings

SECONDS = 2.0
"""How long a service may take for each step of its answer."""
HEARTBEAT_SECONDS = 300.0
"""Dagster calls a daemon alive that was heard of within five minutes."""
RECEIVER = "receiver "
ANSWERS, SILENT, ABSENT = "answers", "does not answer", "is not configured"


def services(settings: Settings) -> dict[str, str]:
    """Every service by name and what became of asking it; nothing is raised."""
    from fiona_dagster.adapters.receivers import stow_answers

    found = {f"{RECEIVER}{site.name}": _echo(site.peer) for site in settings.sites}
    for site in settings.sites:
        if site.stow is not None:
            heard = stow_answers(site.stow, seconds=SECONDS) == ANSWERS
            found[f"{RECEIVER}{site.name} STOW"] = ANSWERS if heard else SILENT
    found["research PACS"] = _echo(settings.research_pacs) if settings.research_pacs else ABSENT
    found["REDCap"] = _connects(settings.redcap.url) if settings.redcap else ABSENT
    home = Path(settings.environment.get("DAGSTER_HOME") or settings.layout.dagster_home)
    found["Dagster daemon"] = daemon_heartbeat(home, now=time.time())
    return found


def _echo(peer: DicomPeer) -> str:
    from fiona_dagster.adapters.dicom_scu import Timeouts, echo
    from fiona_dagster.domain.errors import FionaError

    try:
        echo(peer, "STATUS", timeouts=Timeouts(connect=SECONDS, acse=SECONDS, dimse=SECONDS))
    except FionaError:
        return SILENT
    return ANSWERS


def _connects(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), SECONDS).close()
    except OSError:
        return SILENT
    return ANSWERS


def daemon_heartbeat(home: Path, *, now: float) -> str:
    """When Dagster's daemon was heard of last, by its own table in `home`: loading Dagster would take seconds.

    Args:
        now: seconds since the epoch.
    """
    runs = home / "history" / "runs.db"
    if not home.is_dir():
        return "was never started"
    if not runs.is_file():
        return "not known here: Dagster keeps its records elsewhere"
    query = "SELECT max(strftime('%s', timestamp)) FROM daemon_heartbeats"
    try:
        with closing(sqlite3.connect(f"file:{runs}?mode=ro", uri=True, timeout=SECONDS)) as connection:
            (last,) = connection.execute(query).fetchone()
    except sqlite3.Error as error:
        return f"not known: Dagster's records cannot be read ({type(error).__name__})"
    if last is None:
        return "was never heard of"
    age = max(0.0, now - float(last))
    return f"{'alive' if age < HEARTBEAT_SECONDS else 'silent'}, heard of {age:.0f} s ago"
