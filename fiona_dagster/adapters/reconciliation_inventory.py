"""What the research PACS holds, asked by C-FIND: FIONA's getAllPatients2, parseAllPatients and whatIsNotInIDS7.

A query that the archive refuses or does not finish is asked in halves; what it never answers stays unknown. A study is
gone only when a query for it alone, at STUDY and at SERIES level, ended in Success without a match.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from fiona_dagster.adapters.dicom_scu import Queries, Timeouts, TooManyMatches
from fiona_dagster.adapters.dicom_scu.find import MAXIMUM_MATCHES
from fiona_dagster.adapters.dicom_scu.matches import number_of
from fiona_dagster.domain.errors import Transient
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ATTRIBUTES = (
    "PatientName", "PatientID", "StudyDescription", "InstitutionName", "ReferringPhysicianName", "StudyTime",
    "StudyDate", "StudyID", "AccessionNumber", "ModalitiesInStudy",
)  # fmt: skip
"""What WhatIsInIDS7 tells of a study, besides its numbers."""
_EARLIEST, _LATEST = date(1900, 1, 1), date(2100, 12, 31)
_DAY_SECONDS, _SMALLEST_SECONDS = 86_400, 60
MOST_FAILURES = 12
"""So many queries in a row that end in nothing: the archive is down, and no more is asked."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class InventoryEntry:
    """A study as the archive describes it. `values` by keyword; numbers are None where nobody counted."""

    study_instance_uid: str = field(repr=False)
    values: Mapping[str, str] = field(repr=False)
    series: int | None
    images: int | None


@dataclass(frozen=True)
class Inventory:
    """What was answered, and what was not.

    Attributes:
        entries: by Study Instance UID.
        gone: Study Instance UIDs that the archive positively does not have.
        silent: Study Instance UIDs that it was asked for without an answer.
        unanswered: how many spans of dates it did not answer.
        parted: dates had to be asked in parts, which no study without a StudyDate matches.
    """

    entries: Mapping[str, InventoryEntry] = field(repr=False)
    gone: frozenset[str] = field(repr=False)
    silent: frozenset[str] = field(repr=False)
    unanswered: int
    parted: bool


class _Archive:
    """One Association, opened again where it broke."""

    def __init__(self, open_: Callable[[], Queries]) -> None:
        self._open, self.failures = open_, 0
        self._queries: Queries | None = None

    @property
    def is_down(self) -> bool:
        return self.failures >= MOST_FAILURES

    def ask(self, question: Callable[[Queries], Answer]) -> Answer:
        """The answer.

        Raises:
            TooManyMatches: ask for less.
            Transient: no answer; the next question has an Association of its own.
            Permanent: it does not offer queries, or refuses us.
        """
        if self.is_down:
            raise Transient("the archive has answered nothing for long")
        try:
            self._queries = self._queries or self._open()
            answer = question(self._queries)
        except TooManyMatches:
            raise  # an answer as well
        except Transient:
            self.failures += 1
            self._drop()
            raise
        self.failures = 0
        return answer

    def close(self) -> None:
        """Release."""
        if self._queries is not None:
            self._queries.release()
            self._queries = None

    def _drop(self) -> None:
        if self._queries is not None:
            self._queries.abort()
            self._queries = None


class InventoryTaker:
    """Asks one archive. `limit`: more matches than this are asked in parts."""

    def __init__(
        self, peer: DicomPeer, calling: str, *, timeouts: Timeouts | None = None, limit: int = MAXIMUM_MATCHES
    ) -> None:
        self._archive = _Archive(lambda: Queries(peer, calling, timeouts, limit=limit))
        self._found: dict[str, list[InventoryEntry]] = {}
        self._unanswered, self._parted = 0, False

    def take(
        self, span: tuple[date, date] | None, *, named: Collection[str], released: Mapping[str, int]
    ) -> Inventory:
        """Ask for the studies of a span of StudyDates and for each of `named` that is not among them.

        Args:
            span: first and last StudyDate; None: everything, also what has no StudyDate.
            named: Study Instance UIDs.
            released: how many images should be there, by Study Instance UID: another number is counted anew, image by
                image.

        Raises:
            Transient: nobody answers at all.
            Permanent: it does not offer queries, or does not allow us any.
        """
        try:
            if span is None:
                self._everything()
            else:
                self._between(*span)
            gone, silent = self._named(named)
            entries = {uid: self._counted(uid, several, released) for uid, several in self._found.items()}
        finally:
            self._archive.close()
        if not entries and not gone and (self._unanswered or silent):
            raise Transient("the research PACS answered no query: see its log")
        return Inventory(entries, frozenset(gone), frozenset(silent), self._unanswered, self._parted)

    def _everything(self) -> None:
        try:
            self._studies({"StudyDate": ""})
        except Transient:
            self._parted = True
            self._between(_EARLIEST, _LATEST)

    def _between(self, first: date, last: date) -> None:
        day = f"{first:%Y%m%d}" if first == last else f"{first:%Y%m%d}-{last:%Y%m%d}"
        try:
            self._studies({"StudyDate": day})
        except Transient:
            if self._archive.is_down:
                self._unanswered += 1
            elif first == last:
                self._within(day, 0, _DAY_SECONDS)
            else:
                middle = first + timedelta(days=(last - first).days // 2)
                self._between(first, middle)
                self._between(middle + timedelta(days=1), last)

    def _within(self, day: str, begin: int, end: int) -> None:
        """A day in halves, by StudyTime in seconds since midnight."""
        self._parted = True
        middle = (begin + end) // 2
        for one, other in ((begin, middle), (middle, end)):
            try:
                self._studies({"StudyDate": day, "StudyTime": f"{_clock(one)}-{_clock(other - 1)}.999999"})
            except Transient:
                if self._archive.is_down or other - one <= _SMALLEST_SECONDS:
                    self._unanswered += 1
                else:
                    self._within(day, one, other)

    def _studies(self, keys: Mapping[str, str]) -> int:
        asked = {
            "StudyInstanceUID": "", "NumberOfStudyRelatedSeries": "", "NumberOfStudyRelatedInstances": "",
            **dict.fromkeys(ATTRIBUTES, ""), **keys,
        }  # fmt: skip
        matches = self._archive.ask(lambda queries: queries.find("STUDY", asked, _entry))
        once: dict[str, list[InventoryEntry]] = {}
        for one in matches:
            once.setdefault(one.study_instance_uid, []).append(one)
        self._found.update(once)
        return len(once)

    def _named(self, named: Collection[str]) -> tuple[set[str], set[str]]:
        gone, silent = set(), set()
        for uid in sorted(set(named) - self._found.keys()):
            try:
                if self._studies({"StudyInstanceUID": uid}):
                    continue
                series = self._archive.ask(lambda queries, uid=uid: queries.series(uid))  # type: ignore[misc]
            except Transient:
                silent.add(uid)
                continue
            if series:
                self._found[uid] = [InventoryEntry(uid, {}, None, None)]
            else:
                gone.add(uid)
        return gone, silent

    def _counted(
        self, uid: str, several: list[InventoryEntry], released: Mapping[str, int]
    ) -> InventoryEntry:
        """One entry of a study that may have been answered more than once (FIONA summed those up)."""
        one = _merged(several)
        if one.images is not None and one.series is not None and one.images == released.get(uid, one.images):
            return one
        try:
            images = self._archive.ask(lambda queries: _count(queries, uid))
        except Transient:
            return replace(one, series=None, images=None)
        return replace(one, series=len(images), images=sum(images))


def _count(queries: Queries, uid: str) -> list[int]:
    """Numbers of distinct SOP Instances, by series."""
    numbers = [len(queries.instances(uid, one.series_instance_uid)) for one in queries.series(uid)]
    return [number for number in numbers if number]


def _merged(several: list[InventoryEntry]) -> InventoryEntry:
    if len(several) == 1:
        return several[0]
    values = {
        keyword: ",".join(dict.fromkeys(one.values[keyword] for one in several if one.values.get(keyword)))
        for keyword in ATTRIBUTES
    }
    numbers = {(one.series, one.images) for one in several}
    series, images = numbers.pop() if len(numbers) == 1 else (None, None)
    return InventoryEntry(several[0].study_instance_uid, values, series, images)


def _entry(match: Dataset) -> InventoryEntry:
    from pydicom.multival import MultiValue

    values = {}
    for keyword in ATTRIBUTES:
        value = match.get(keyword) or ""
        several = list(value) if isinstance(value, MultiValue) else [value]
        values[keyword] = ",".join(text for one in several if (text := str(one).strip()))
    series, images = (
        number_of(match, f"NumberOfStudyRelated{what}") or None for what in ("Series", "Instances")
    )
    return InventoryEntry(str(match.StudyInstanceUID), values, series, images)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
