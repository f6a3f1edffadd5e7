"""When is the next run of a study due: one run a study and phase, again with back-off while there is work left.

The question is asked of the ledger at every tick, never of events, so that a run lost in a crash, a daemon that was
down or a run that failed on a sleeping server all end the same way: the work is still there, and is asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fiona_dagster.domain.identifiers import StudyKey


class Phase(StrEnum):
    """The three jobs on the chain, cut where a study may have to wait for a person."""

    INTAKE = "intake"  # arrival, classification, registration
    TRANSFER = "transfer"  # routing, de-identification, verification, forwarding
    EXPORT = "export"  # packaging, delivery


PASSAGE = "passage"
"""The job of a new study: all three phases in one run, as far as they go without a person. What it leaves undone
is asked for phase by phase (docs/adr/0026)."""

BACK_OFF_SECONDS = (15.0, 60.0, 300.0, 900.0, 3600.0)
"""Wait after the first, second ... run that left the work undone; then hourly for ever: nothing is given up."""


@dataclass(frozen=True)
class Due:
    """Work that the ledger shows. `work` names the revision and generation, so that new work has new runs."""

    key: StudyKey
    phase: Phase
    work: str
    is_first: bool = False
    """Whether nothing was made of the study before, so that no other work on it can be asked for meanwhile."""

    @property
    def tags(self) -> dict[str, str]:
        """Run tags; by them earlier runs for the same work are found."""
        return {"fiona/study": self.key, "fiona/phase": self.phase.value, "fiona/work": self.work}


@dataclass(frozen=True)
class EarlierRun:
    """A run for the same work: when it ended (seconds since the epoch), None while it goes on."""

    ended_at: float | None


def attempt_due(earlier: Sequence[EarlierRun], *, now: float) -> int | None:
    """Number of the attempt that is due now (0 is the first), or None when it is not yet time."""
    ends = [run.ended_at for run in earlier]
    finished = [end for end in ends if end is not None]
    if len(finished) < len(ends):
        return None
    if not finished:
        return 0
    wait = BACK_OFF_SECONDS[min(len(finished), len(BACK_OFF_SECONDS)) - 1]
    return len(finished) if now - max(finished) >= wait else None


def job_of(due: Due) -> str:
    """The job that does it: of a new study everything that follows by itself, else the phase alone."""
    return PASSAGE if due.phase is Phase.INTAKE and due.is_first else due.phase.value


def run_key(due: Due, attempt: int) -> str:
    """Dagster launches at most one run a key, also when a tick is repeated after a crash."""
    return f"{due.key}:{due.phase.value}:{due.work}:{attempt}"
