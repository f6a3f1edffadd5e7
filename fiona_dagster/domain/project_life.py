"""The life of a project: planned, active, archived, ended; what its approval allows today, and the steps of its end.

Sources: fiona-behaviour 3.1 (`project_rec_*`, `project_end_*` of DataTransferProjects) and 5.5 (notice before the end,
deletion as the default). Dates are ISO texts (`YYYY-MM-DD`), which compare as dates do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError

NOTICE_DAYS = (30, 90, 180)
"""Before an approval ends, it is said this many days ahead."""


class LifeState(StrEnum):
    """Where a project stands. New data come only into an active one."""

    PLANNED = "planned"  # its approval has not begun
    ACTIVE = "active"
    EXPIRED = "expired"  # its approval has ended
    ARCHIVED = "archived"  # somebody said: no new data
    LOCKED = "locked"  # its end was requested and it was locked
    ENDED = "ended"  # its end is carried out


class EndType(StrEnum):
    """`project_end_type`."""

    ANONYMIZE = "1"  # copies stay, keys and links go
    DELETE = "2"


class EndStep(StrEnum):
    """The steps of an end, in this order; each is taken by a person and kept with name and time."""

    REQUESTED = "requested"
    LOCKED = "locked"
    EXPORTED = "exported"
    CONFIRMED = "confirmed"
    DELETED = "deleted"


STEPS = tuple(EndStep)


@dataclass(frozen=True)
class StepTaken:
    """A step of a project's end: when (seconds since the epoch), by whom, and what was remarked."""

    step: EndStep
    at: float
    who: str
    detail: str


@dataclass(frozen=True)
class ProjectLife:
    """What decides about a project's life. Dates are ISO texts, empty where nothing is said."""

    active: bool = True
    approval_begins: str = ""
    approval_ends: str = ""
    end_type: EndType = EndType.DELETE
    locked: bool = False
    ended: bool = False

    def state(self, today: str) -> LifeState:
        """Where the project stands on a day (ISO); the last day of an approval is within it."""
        if self.ended:
            return LifeState.ENDED
        if self.locked:
            return LifeState.LOCKED
        if not self.active:
            return LifeState.ARCHIVED
        if self.approval_begins and today < self.approval_begins:
            return LifeState.PLANNED
        if self.approval_ends and today > self.approval_ends:
            return LifeState.EXPIRED
        return LifeState.ACTIVE

    def problem(self, name: str, today: str) -> str | None:
        """Why the project takes no new data today, or None."""
        return {
            LifeState.ENDED: f"project {name} has ended",
            LifeState.LOCKED: f"project {name} is being ended: it takes no new data",
            LifeState.ARCHIVED: f"project {name} is not active: it is archived and takes no new data",
            LifeState.PLANNED: f"the approval of project {name} begins on {self.approval_begins}",
            LifeState.EXPIRED: f"the approval of project {name} ended on {self.approval_ends}",
        }.get(self.state(today))

    def days_left(self, today: str) -> int | None:
        """Days from today to the last day of the approval, negative afterwards; None where no end is set."""
        if not self.approval_ends:
            return None
        return (dt.date.fromisoformat(self.approval_ends) - dt.date.fromisoformat(today)).days

    def notice(self, today: str) -> int | None:
        """The notice that is due today: the smallest of `NOTICE_DAYS` that the days left fit in; 0 after the end."""
        left = self.days_left(today)
        if left is None or self.state(today) in {LifeState.ENDED, LifeState.LOCKED, LifeState.ARCHIVED}:
            return None
        return 0 if left < 0 else next((days for days in NOTICE_DAYS if left <= days), None)


def approval_sentence(name: str, approval_ends: str, today: str) -> str:
    """What people are told of an approval that ends or has ended."""
    left = ProjectLife(approval_ends=approval_ends).days_left(today) or 0
    when = f"ends in {left} days" if left >= 0 else "has ended: no new data"
    return (
        f"the approval of {name} {when} ({approval_ends}): extend project_rec_end_date, "
        f"or `fiona project end {name}`"
    )


def life_from_fields(row: Mapping[str, Any], name: str, place: str, *, active: bool) -> ProjectLife:
    """A project's life from the fields of DataTransferProjects.

    Raises:
        ConfigurationError: a date or choice that cannot be understood, or an end before the beginning.
    """
    begins = _day(row, "project_rec_start_date", name, place)
    ends = _day(row, "project_rec_end_date", name, place)
    if begins and ends and ends < begins:
        raise ConfigurationError(
            f"project_rec_end_date of {name} lies before project_rec_start_date", place=place,
            remedy="mend the dates of the approval",
        )  # fmt: skip
    kind = str(row.get("project_end_type") or EndType.DELETE.value)
    if kind not in {one.value for one in EndType}:
        raise ConfigurationError(f"project_end_type of {name} is {kind}", place=place, remedy="use 1 or 2")
    return ProjectLife(active, begins, ends, EndType(kind))


def next_step(done: Sequence[EndStep]) -> EndStep | None:
    """The step of an end that is due after those that are done; None when all are."""
    return next((step for step in STEPS if step not in done), None)


def step_problem(step: EndStep, done: Sequence[EndStep]) -> str | None:
    """Why a step cannot be taken now, or None; one that is done may be taken again, it changes nothing."""
    due = next_step(done)
    if step in done or step is due:
        return None
    return f"before '{step}' comes '{due}'" if due else None


def _day(row: Mapping[str, Any], field: str, name: str, place: str) -> str:
    text = str(row.get(field) or "").strip()
    try:
        return dt.date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise ConfigurationError(
            f"{field} of {name} is not a date", place=place, remedy="write YYYY-MM-DD"
        ) from None
