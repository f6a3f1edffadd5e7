"""One allowance of calls for all processes of the gateway: REDCap bans an address that calls too often.

A token bucket in a small file, changed under a file lock. Half a minute's calls at most in a burst, and in no minute
more than the limit.
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from fiona_dagster.domain.errors import Transient

_LOCK_SECONDS = 30.0
_STATE = struct.Struct("<dd")
"""Calls left, which may be negative, and the clock's seconds."""


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
                # Opened without truncation: ext4 flushes a truncated file, which costs 4 ms a call. Not synced on
                # purpose: a lost state costs one burst.
                descriptor = os.open(self._state, os.O_RDWR | os.O_CREAT, 0o640)
                try:
                    now = self._clock()
                    left, at = self._stored(os.pread(descriptor, _STATE.size, 0), now)
                    left = min(self._burst, left + (now - at) * self._per_second) - 1.0
                    os.pwrite(descriptor, _STATE.pack(left, now), 0)
                finally:
                    os.close(descriptor)
        except Timeout as error:
            raise Transient("REDCap's rate limit is held by another process") from error
        return max(0.0, -left / self._per_second)

    def _stored(self, state: bytes, now: float) -> tuple[float, float]:
        """Calls left and when; the clock begins anew with the machine, so a later time means an older boot."""
        if len(state) != _STATE.size:
            return self._burst, now
        left, at = _STATE.unpack(state)
        usable = at <= now and math.isfinite(left)
        return (left, at) if usable else (self._burst, now)
