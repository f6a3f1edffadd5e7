"""When is a study complete: what was announced is here, or nothing comes any more. Never a guess from folders.

A study that is known to be incomplete waits for the rest, and at last goes on marked as such. Time is what has passed
for certain (`moments`): a clock that is set neither completes a study nor holds it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.moments import Moment, elapsed

PATIENCE_SECONDS = 86_400.0
"""FIONA gives a study up after a day (fiona-behaviour 2.9)."""


@dataclass(frozen=True)
class Shortfall:
    """A series, or with `modality` '' a whole study, of which not everything came. Nothing of the patient."""

    modality: str
    expected: int
    received: int

    @property
    def missing(self) -> int:
        return max(0, self.expected - self.received)


@dataclass(frozen=True)
class Announced:
    """What others said of a study.

    `in_progress`, `ended`: Performed Procedure Steps. `unannounced`: instances here that no step which ended names.
    `shortfalls`: what ended steps and the source say is more than came. `heard`: when a step spoke last.
    """

    in_progress: int = 0
    ended: int = 0
    unannounced: int = 0
    shortfalls: tuple[Shortfall, ...] = ()
    expected: int | None = None
    """Instances that the source counted; None where none was asked or knows."""
    heard: Moment | None = None


NOTHING_ANNOUNCED = Announced()


@dataclass(frozen=True)
class StudyActivity:
    """What the ledger knows of a study whose newest instances belong to no revision yet.

    `instance_count` counts distinct instances, `arrived_count` those that the newest revision covers; `heard`: when
    one came last.
    """

    key: StudyKey
    site: str
    revision: int
    instance_count: int
    arrived_count: int
    heard: Moment
    open_associations: int
    announced: Announced = NOTHING_ANNOUNCED


@dataclass(frozen=True)
class Waits:
    """The study is not complete yet. `incomplete`: that is known, not only possible."""

    reason: str
    incomplete: bool = False


@dataclass(frozen=True)
class Completes:
    """The study is as complete as it will be. `complete`: None where nobody could tell; False: it was given up."""

    because: str
    complete: bool | None


@dataclass(frozen=True)
class ArrivedStudy:
    """A study as it stood when a revision was closed over it."""

    key: StudyKey
    site: str
    revision: int
    instance_count: int
    expected: int | None = None
    complete: bool | None = None
    shortfalls: tuple[Shortfall, ...] = ()

    @property
    def is_late_addition(self) -> bool:
        """Whether an earlier revision of the study went through before."""
        return self.revision > 1

    @property
    def missing(self) -> int:
        """How many instances others say there are that we do not have; 0 when nobody could tell."""
        return missing_of(self.shortfalls)


def missing_of(shortfalls: Sequence[Shortfall]) -> int:
    """Instances that are missing. A whole study's count and its series' are not added up: it is the larger."""
    whole = sum(one.missing for one in shortfalls if not one.modality)
    return max(whole, sum(one.missing for one in shortfalls if one.modality))


def arrival_of(
    activity: StudyActivity, *, now: Moment, quiet_seconds: float, patience_seconds: float = PATIENCE_SECONDS
) -> Waits | Completes:
    """Whether a revision of the study is to be closed now."""
    if activity.instance_count <= activity.arrived_count:
        return Waits("no instance since the last revision")
    if activity.open_associations:
        return Waits(f"{activity.open_associations} open Association(s) carry it")
    announced, quiet = activity.announced, elapsed(activity.heard, now)
    lacks = _lacks(announced)
    if not lacks and announced.ended and not announced.unannounced:
        return Completes("every instance that its procedure steps name is here", complete=True)
    if quiet < quiet_seconds:
        return Waits(f"quiet for {quiet:.0f} s of {quiet_seconds:.0f} s", incomplete=bool(lacks))
    if lacks:
        return _incomplete(lacks, activity, now=now, quiet=quiet, patience_seconds=patience_seconds)
    known = True if announced.ended or announced.expected is not None else None
    return Completes(f"quiet for {quiet_seconds:.0f} s", complete=known)


def _incomplete(
    lacks: str, activity: StudyActivity, *, now: Moment, quiet: float, patience_seconds: float
) -> Waits | Completes:
    """Of a study that is known to be incomplete: it waits from the last news on, then goes on marked."""
    heard = activity.announced.heard
    waited = min(quiet, elapsed(heard, now)) if heard else quiet
    if waited < patience_seconds:
        return Waits(f"{lacks}, for {_duration(waited)} of {_duration(patience_seconds)}", incomplete=True)
    return Completes(f"{lacks}: given up after {_duration(patience_seconds)}", complete=False)


def _lacks(announced: Announced) -> str:
    """What keeps the study from being complete, '' where nothing is known to."""
    lacks = []
    if announced.in_progress:
        lacks.append(f"{announced.in_progress} procedure step(s) in progress")
    missing = missing_of(announced.shortfalls)
    if missing:
        lacks.append(f"{missing} instance(s) missing")
    return " and ".join(lacks)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
