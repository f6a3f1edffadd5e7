"""How a listener fares, in `<DATADIR>/logs/receiver.json` for `fiona status`: what a crash left, who died, who hung.

A file, and not the ledger: it must be told, too, when the ledger is what does not work.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any

from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.domain.layout import Layout
from scp_listener.log import LOG
from scp_listener.recovery import Recovered

FILE = "receiver.json"


class Standing:
    """Written on every change; a disk that takes no file costs the telling alone."""

    def __init__(self, layout: Layout, *, workers: int) -> None:
        self._path = layout.logs / FILE
        self._facts: dict[str, Any] = {
            "pid": os.getpid(), "started_at": time.time(), "running": True, "workers": workers, "at_work": workers,
            "deaths": 0, "last_death": "", "last_death_at": None, "next_start_at": None, "hung": 0,
            "found_at_start": {}, "ports": [],
        }  # fmt: skip

    def recovered(self, found: Recovered) -> None:
        """What a crash, an earlier one or a worker's, left."""
        before = self._facts["found_at_start"]
        self._facts["found_at_start"] = {
            name: count + before.get(name, 0) for name, count in asdict(found).items()
        }
        self._write()

    def listens(self, *ports: int) -> None:
        """Connections are taken on these."""
        self._facts["ports"] = list(ports)
        self._write()

    def died(self, how: str, *, pause_seconds: float) -> None:
        """A worker died, or could not be started; another try after the pause."""
        now = time.time()
        self._facts["deaths"] += 1
        self._facts["at_work"] = max(0, self._facts["at_work"] - 1)
        self._facts.update(last_death=how, last_death_at=now, next_start_at=now + pause_seconds)
        self._write()

    def at_work(self, count: int) -> None:
        """So many workers take Associations now."""
        self._facts.update(at_work=count, next_start_at=None)
        self._write()

    def hung(self) -> None:
        """A worker hung and is being replaced."""
        self._facts["hung"] += 1
        self._write()

    def stopped(self) -> None:
        """It was asked to end, and did."""
        self._facts.update(running=False, at_work=0, next_start_at=None)
        self._write()

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json_durably(self._path, self._facts)
        except OSError as error:
            LOG.warning("the listener's standing was not written: %s", error.strerror)
