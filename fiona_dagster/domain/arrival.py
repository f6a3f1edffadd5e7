"""When is a study complete: quiet for long enough, and no open Association carries it. Never a guess from folders."""

from __future__ import annotations

from dataclasses import dataclass

from fiona_dagster.domain.identifiers import StudyKey


@dataclass(frozen=True)
class StudyActivity:
    """What the ledger knows of a study whose newest instances belong to no revision yet.

    Times in seconds since the epoch; `instance_count` counts distinct instances, `arrived_count` those that the
    newest revision covers.
    """

    key: StudyKey
    site: str
    revision: int
    instance_count: int
    arrived_count: int
    last_received_at: float
    open_associations: int


@dataclass(frozen=True)
class ArrivedStudy:
    """A study as it stood when it fell quiet. `expected` is what its source says it should have, None if unknown."""

    key: StudyKey
    site: str
    revision: int
    instance_count: int
    expected: int | None = None

    @property
    def is_late_addition(self) -> bool:
        """Whether an earlier revision of the study went through before."""
        return self.revision > 1

    @property
    def missing(self) -> int:
        """How many instances the source has that we do not; 0 when nobody could tell."""
        return max(0, (self.expected or 0) - self.instance_count)


def waits_for(activity: StudyActivity, *, now: float, quiet_seconds: float) -> str | None:
    """Why the study is not complete yet, or None when it has arrived.

    A clock that was set back gives a negative age, which counts as not quiet.
    """
    if activity.instance_count <= activity.arrived_count:
        return "no instance since the last revision"
    if activity.open_associations:
        return f"{activity.open_associations} open Association(s) carry it"
    quiet = now - activity.last_received_at
    if quiet < quiet_seconds:
        return f"quiet for {max(quiet, 0):.0f} s of {quiet_seconds:.0f} s"
    return None
