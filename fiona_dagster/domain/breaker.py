"""When is a destination left alone: after it failed, for a time that doubles, so that a dead one costs nobody time.

Closed: everything goes there. Open: nothing does until `retry_at`. Then one attempt is let through: its success closes
the breaker, its failure opens it for longer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

FIRST_SECONDS, LONGEST_SECONDS = 15.0, 1800.0
TOLERATED_FAILURES = 3
"""So many of an attempt that came through to the destination; one that found nobody there opens it at once."""
PROBE_SECONDS = 900.0
"""As long nobody else tries while one attempt does; a run that was killed meanwhile keeps it closed no longer."""


@dataclass(frozen=True)
class Breaker:
    """A destination's failures without a success between them. `retry_at` in seconds since the epoch, 0: closed."""

    failures: int = 0
    retry_at: float = 0.0
    reason: str = ""

    def admits(self, now: float) -> bool:
        """Whether an attempt may be made now."""
        return now >= self.retry_at


def after_failure(
    breaker: Breaker, destination: str, *, now: float, unreachable: bool, reason: str
) -> Breaker:
    """The breaker after an attempt failed for now.

    Args:
        breaker: as it was.
        destination: spreads the waits of several.
        now: seconds since the epoch.
        unreachable: nobody answered at all.
        reason: of the failure, without patient data.
    """
    failures = breaker.failures + 1
    opened = failures if unreachable else failures - TOLERATED_FAILURES + 1
    retry_at = now + back_off(opened, destination) if opened > 0 else 0.0
    return Breaker(failures, retry_at, reason)


def probing(breaker: Breaker, *, now: float) -> Breaker:
    """The breaker while an attempt is under way that may close it."""
    return Breaker(breaker.failures, now + PROBE_SECONDS, breaker.reason) if breaker.retry_at else breaker


def back_off(attempt: int, name: str) -> float:
    """Seconds to wait after the first, second ... failure: doubled each time, and spread by a quarter either way.

    The spread follows from the name and the attempt, so that the same question has the same answer.
    """
    wait = min(FIRST_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 16), LONGEST_SECONDS)
    return wait * (0.75 + 0.5 * spread(f"{name}:{attempt}"))


def spread(name: str) -> float:
    """A number from 0 to 1 that follows from `name` alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 0xFFFFFFFF
