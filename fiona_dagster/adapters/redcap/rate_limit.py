"""One allowance of calls for all processes of the gateway: REDCap bans an address that calls too often.

A token bucket in a small file, changed under a file lock. Half a minute's calls at most in a burst, and in no minute
more than the limit.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from fiona_dagster.domain.errors import Transient

_LOCK_SECONDS = 30.0


class RateLimit:
    """Calls of `acquire` return when one more call is allowed."""

    def __init__(
        self, state_file: Path, calls_per_minute: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state_file
        state_file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{state_file}.lock")
        # What lies in the full bucket and what drips into it within a minute are the limit together.
        self._burst = max(1.0, calls_per_minute // 4)
        self._per_second = max(calls_per_minute - self._burst, 1.0) / 60.0
        self._clock = clock
        self._never = threading.Event()

    def acquire(self) -> float:
        """Wait for the next allowed call; returns the seconds waited.

        Raises:
            Transient: another process holds the state file.
        """
        wait = self.reserve()
        if wait > 0:
            self._never.wait(wait)
        return wait

    def reserve(self) -> float:
        """Take one call out of the bucket, which may owe; returns the seconds until it is allowed."""
        try:
            with self._lock.acquire(timeout=_LOCK_SECONDS):
                now = self._clock()
                left, at = self._read(now)
                left = min(self._burst, left + (now - at) * self._per_second) - 1.0
                # Not durable on purpose: a lost state costs a burst, syncing would cost every call.
                self._state.write_text(json.dumps([left, now]), encoding="ascii")
        except Timeout as error:
            raise Transient("REDCap's rate limit is held by another process") from error
        return max(0.0, -left / self._per_second)

    def _read(self, now: float) -> tuple[float, float]:
        """Calls left and when; the clock begins anew with the machine, so a later time means an older boot."""
        try:
            left, at = json.loads(self._state.read_text(encoding="ascii"))
            return (float(left), float(at)) if at <= now else (self._burst, now)
        except (OSError, ValueError, TypeError):
            return self._burst, now
