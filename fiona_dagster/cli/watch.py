"""Does a receiver answer, and what is done when it does not (FIONA's heartbeat.sh): asked once a minute.

It is restarted only when it was silent several times in a row, and by SIGTERM: open Associations are finished first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fiona_dagster.domain.errors import FionaError
from fiona_dagster.settings import DicomPeer

EVERY_SECONDS = 60.0
SILENT_TIMES = 3
ANSWER_SECONDS = 20.0
"""As FIONA's echoscu."""


def answers(peer: DicomPeer) -> bool:
    """Whether `peer` answers C-ECHO within FIONA's time."""
    from fiona_dagster.adapters.dicom_scu import Timeouts, echo

    try:
        echo(peer, "WATCH", timeouts=Timeouts(ANSWER_SECONDS, ANSWER_SECONDS, ANSWER_SECONDS))
    except FionaError:
        return False
    return True


@dataclass
class Watch:
    """Asks on a thread of its own, so that nobody waits for a receiver that hangs.

    `ask` a peer; `restart` a service by name, called from the thread that calls `look`.
    """

    peers: Mapping[str, DicomPeer]
    restart: Callable[[str], None]
    ask: Callable[[DicomPeer], bool] = answers
    every_seconds: float = EVERY_SECONDS

    def __post_init__(self) -> None:
        self._silent = dict.fromkeys(self.peers, 0)
        self._due = time.monotonic() + self.every_seconds
        self._asking: threading.Thread | None = None

    def look(self) -> None:
        """Ask where it is time, and restart who was silent too often. Returns at once."""
        if self._asking is not None and self._asking.is_alive():
            return
        for name, times in self._silent.items():
            if times >= SILENT_TIMES:
                self._silent[name] = 0
                self.restart(name)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self.every_seconds
            self._asking = threading.Thread(target=self._ask, name="watch", daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        for name, peer in self.peers.items():
            self._silent[name] = 0 if self.ask(peer) else self._silent[name] + 1
