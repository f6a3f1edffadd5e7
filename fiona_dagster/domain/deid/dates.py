"""Dates move by whole days, the same number for all studies of a participant in a project; times stay.

Retain Longitudinal Temporal Information with Modified Dates (PS3.15 E.3.6). What cannot be parsed is emptied.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from dataclasses import dataclass

from fiona_dagster.domain.errors import Forbidden, Permanent
from fiona_dagster.domain.project import Project

FURTHEST_DAYS = 3650
_DA = re.compile(r"^(\d{4})([.-]?)(\d{2})\2(\d{2})$")
_DT = re.compile(r"^(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?$")
_TM = re.compile(r"^([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?$")


def shift_days(project: Project, participant: str, key: bytes) -> int:
    """Days to add, 0 where dates do not move.

    Derived shifts go 1 to 3650 days into the past, so that no date lies in the future and ages stay plausible.
    `date_shift_days` (FIONA: +42 for everybody) overrides the derivation in mode per_project.
    """
    if project.date_mode == "per_project":
        if project.date_shift_days is not None:
            return project.date_shift_days
        return _derived(key, "project")
    if project.date_mode == "per_participant":
        return _derived(key, f"participant\x1f{participant}")
    return 0


def _derived(key: bytes, whom: str) -> int:
    digest = hmac.new(key, f"date-shift\x1f{whom}".encode(), hashlib.sha256).digest()
    return -(1 + int.from_bytes(digest[:8], "big") % FURTHEST_DAYS)


def restored_date(project: Project, participant: str, key: bytes, vr: str, text: str) -> str:
    """The date that a copy's value was before it moved, for an export to people who may know it (FIONA: RAM-MS).

    Raises:
        Forbidden: the project has no right to that.
        Permanent: the project's dates were not moved by days, so that nothing leads back.
    """
    if not project.dates_may_be_restored:
        raise Forbidden(
            f"project {project.name} may not restore dates: its approval must say so, and deid_restore_dates be set"
        )
    if project.date_mode not in {"per_project", "per_participant"}:
        raise Permanent(
            f"dates of project {project.name} were not moved by days (deid_date_mode): they cannot be restored"
        )
    return DateShift(-shift_days(project, participant, key)).value(vr, text)


@dataclass(frozen=True)
class DateShift:
    """Shifts values of VR DA, DT and TM by `days`; `year_only` cuts them down to the year instead.

    `moved` are days (YYYYMMDD) that were shifted before, those of copies, and stay.
    """

    days: int
    year_only: bool = False
    moved: frozenset[str] = frozenset()

    def value(self, vr: str, text: str) -> str:
        """One value, shifted; empty where it cannot be parsed or would leave the calendar."""
        text = text.strip(" \0")
        if vr == "TM":
            return text if _TM.match(text) and not self.year_only else ""
        return self.date(text) if vr == "DA" else self.date_time(text)

    def date(self, text: str) -> str:
        """A DA value; the ACR-NEMA form `YYYY.MM.DD` becomes `YYYYMMDD`."""
        match = _DA.match(text)
        if not match:
            return ""
        if text in self.moved:
            return text
        moved = self._moved(match[1], match[3], match[4])
        return moved.strftime("%Y%m%d").rjust(8, "0") if moved else ""

    def date_time(self, text: str) -> str:
        """A DT value in its own precision: a bare year or month moves as its first day would."""
        match = _DT.match(text)
        if not match or (match[4] and not match[3]):
            return ""
        if match[3] and text[:8] in self.moved:
            return text
        moved = self._moved(match[1], match[2] or "01", match[3] or "01")
        if moved is None:
            return ""
        if self.year_only:
            return f"{moved.year:04d}"
        length = 8 if match[3] else 6 if match[2] else 4
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"[:length] + match[4] + (match[5] or "")

    def _moved(self, year: str, month: str, day: str) -> dt.date | None:
        try:
            date = dt.date(int(year), int(month), int(day))
            return date.replace(month=1, day=1) if self.year_only else date + dt.timedelta(days=self.days)
        except (ValueError, OverflowError):
            return None
