"""How much time has passed, whatever was done to the clock meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

SKEW_SECONDS = 60.0
"""Clocks of two machines may differ by so much; what differs more was set."""


@dataclass(frozen=True)
class Moment:
    """`at`: seconds since the epoch. `uptime`: seconds since the machine's start, which no setting of the clock
    changes; `boot` names that start, '' where the machine does not tell."""

    at: float
    boot: str = ""
    uptime: float = 0.0

    def before(self, seconds: float) -> Moment:
        """The moment `seconds` earlier."""
        return Moment(self.at - seconds, self.boot, self.uptime - seconds)


def elapsed(since: Moment, now: Moment) -> float:
    """Seconds that have passed for certain between two moments; never negative.

    Within one start of the machine by its uptime alone. Otherwise by the clock, and not more than the machine is up:
    before that, nobody looked at the clock. A clock that was set back over a restart leaves the uptime.
    """
    if since.boot and since.boot == now.boot:
        return max(0.0, now.uptime - since.uptime)
    by_clock = now.at - since.at
    if not now.boot:
        return max(0.0, by_clock)
    if by_clock < -SKEW_SECONDS:
        return max(0.0, now.uptime)
    return max(0.0, min(by_clock, now.uptime))
