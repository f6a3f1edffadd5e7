"""A clock that is put back while a listener runs must not hide from recovery what was placed afterwards.

Recovery opens only study folders that changed since everything was known to be recorded, by the time of day that their
times are in as well. Everything else in reception waits and counts by a clock that nobody can set.
"""

from __future__ import annotations

import time

from fiona_dagster.adapters.spool import Spool
from scp_listener.log import LOG
from scp_listener.recovery import MARGIN_SECONDS

_TOLERANCE_SECONDS = MARGIN_SECONDS / 4


class ClockSteps:
    """Compares the time of day with a clock that nobody can set, from the start of a process on."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._ahead = time.time() - time.monotonic()

    def look(self) -> None:
        """Where the clock was put back, have the next start look that much further back. Call it now and then.

        Raises:
            OSError: it could not be noted; the next look tries again.
        """
        now = time.time()
        ahead = now - time.monotonic()
        if self._ahead - ahead <= _TOLERANCE_SECONDS:
            return
        self._spool.mark_recorded(min(self._spool.recorded_until(), now))
        self._ahead = ahead
        LOG.warning("the clock was put back: the next start looks for unrecorded files from there on")
