"""C-FIND as SCU (PS3.4 annex C): what a peer holds, at the levels PATIENT, STUDY, SERIES and IMAGE.

A query that does not end in Success answers nothing, for a part would look like the whole. Of a match only what is
asked for is kept, so that memory stays in step with the number of matches, which is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import Association, Timeouts
from fiona_dagster.adapters.dicom_scu.matches import (
    FoundInstance,
    FoundSeries,
    FoundStudy,
    instance_of,
    series_of,
    study_of,
)
from fiona_dagster.domain.errors import NotOffered, Permanent, Transient
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)

MAXIMUM_MATCHES = 100_000
CANCEL_SECONDS = 10.0
"""How long a peer may take to end what was cancelled."""

_PERMANENT = frozenset({0xA900, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212})
"""Identifier does not match SOP Class, SOP Class not supported, not authorised, and misunderstood requests."""
_ROOT_NAMES = {STUDY_ROOT_FIND: "Study Root Query", PATIENT_ROOT_FIND: "Patient Root Query"}
_SMALLEST_SPAN_SECONDS = 60

Taken = TypeVar("Taken")


class TooManyMatches(Transient):
    """The peer, or our own bound, ended a query early: ask for less at once."""


class Queries(Association):
    """An Association for queries: Study Root, and Patient Root for the level PATIENT."""

    def __init__(
        self,
        peer: DicomPeer,
        calling: str,
        timeouts: Timeouts | None = None,
        *,
        limit: int = MAXIMUM_MATCHES,
        root: str = STUDY_ROOT_FIND,
    ) -> None:
        """Connect and negotiate. More than `limit` matches end a query.

        Raises:
            Transient: no Association for now.
            Permanent: it rejects us, or does not offer queries of this root.
        """
        super().__init__(peer, calling, [(root, SYNTAXES)], timeouts or Timeouts())
        self._limit, self._root, self._message_id = limit, root, 0
        try:
            self._context_id, self._syntax = context_of(self, root, _ROOT_NAMES[root])
        except Permanent:
            self.release()
            raise

    def patients(self, patient_id: str) -> int:
        """How many patients the peer knows by this PatientID, which may hold wildcards (Patient Root only)."""
        keys = {"PatientID": patient_id, "PatientName": ""}
        return len(self.find("PATIENT", keys, lambda match: str(match.get("PatientID", ""))))

    def studies(self, keys: Mapping[str, str]) -> list[FoundStudy]:
        """Studies that match `keys`, values by keyword.

        Raises:
            TooManyMatches, Transient, Permanent: see `find`.
        """
        asked = {
            "StudyInstanceUID": "", "StudyDate": "", "ModalitiesInStudy": "", "NumberOfStudyRelatedInstances": "",
            **keys,
        }  # fmt: skip
        found = self.find("STUDY", asked, study_of)
        return list({one.study_instance_uid: one for one in found}.values())

    def studies_between(self, first: date, last: date, keys: Mapping[str, str]) -> list[FoundStudy]:
        """Studies with a StudyDate from `first` to `last`; what the peer refuses as too many is asked in parts.

        Days are halved, and then a day by StudyTime. A study without a StudyTime matches no range of times: where a
        day had to be parted it can be missed, and PS3.4 has no key to ask for it.

        Raises:
            TooManyMatches: a minute has too many still.
            Transient, Permanent: see `find`.
        """
        found: dict[str, FoundStudy] = {}
        for part in self._between(first, last, keys):
            # some peers ignore ranges and answer with all they have
            if part.study_date == "" or f"{first:%Y%m%d}" <= part.study_date <= f"{last:%Y%m%d}":
                found[part.study_instance_uid] = part
        return list(found.values())

    def _between(self, first: date, last: date, keys: Mapping[str, str]) -> Iterable[FoundStudy]:
        day = f"{first:%Y%m%d}" if first == last else f"{first:%Y%m%d}-{last:%Y%m%d}"
        try:
            return self.studies({**keys, "StudyDate": day})
        except TooManyMatches:
            if first == last:
                return self._within(day, 0, 86_400, keys)
            middle = first + timedelta(days=(last - first).days // 2)
            return [
                *self._between(first, middle, keys),
                *self._between(middle + timedelta(days=1), last, keys),
            ]

    def _within(self, day: str, begin: int, end: int, keys: Mapping[str, str]) -> Iterable[FoundStudy]:
        """Studies of a day by StudyTime, `begin` (included) to `end` in seconds since midnight."""
        found: list[FoundStudy] = []
        middle = (begin + end) // 2
        for one, other in ((begin, middle), (middle, end)):
            times = f"{_clock(one)}-{_clock(other - 1)}.999999"
            try:
                found += self.studies({**keys, "StudyDate": day, "StudyTime": times})
            except TooManyMatches:
                if other - one <= _SMALLEST_SPAN_SECONDS:
                    raise
                found += self._within(day, one, other, keys)
        return found

    def series(self, study_instance_uid: str) -> list[FoundSeries]:
        """The series of a study, each once; of several numbers the largest.

        Raises:
            TooManyMatches, Transient, Permanent: see `find`.
        """
        keys = {
            "StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": "", "Modality": "",
            "NumberOfSeriesRelatedInstances": "", "ImagesInAcquisition": "",
        }  # fmt: skip
        found: dict[str, FoundSeries] = {}
        for one in self.find("SERIES", keys, series_of):
            known = found.setdefault(one.series_instance_uid, one)
            if (one.instances or 0) > (known.instances or 0):
                found[one.series_instance_uid] = one
        return [found[uid] for uid in sorted(found)]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> dict[str, FoundInstance]:
        """The instances of a series by SOP Instance UID.

        Raises:
            TooManyMatches, Transient, Permanent: see `find`.
        """
        keys = {
            "StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid,
            "SOPInstanceUID": "", "SOPClassUID": "",
        }  # fmt: skip
        return {one.sop_instance_uid: one for one in self.find("IMAGE", keys, instance_of)}

    def find(
        self,
        level: str,
        keys: Mapping[str, str],
        take: Callable[[Dataset], Taken],
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[Taken]:
        """What `take` makes of each match of one query.

        Args:
            level: PATIENT, STUDY, SERIES or IMAGE.
            keys: values by keyword; empty ones are asked for.
            take: the parts of a match to keep.
            cancelled: asked after each match; true cancels the query.

        Raises:
            TooManyMatches: the peer refuses as out of resources or ends early by itself, or the limit is exceeded.
            Transient: it did not end in Success, was cancelled, or a match cannot be read or is of something else.
            Permanent: the peer does not understand or allow it.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        deadline = time.monotonic() + self.timeouts.whole
        identifier = encoded_identifier(level, keys, self._syntax)
        self.request(messages.C_FIND_RQ, self._context_id, self._message_id, self._root, identifier)
        taken: list[Taken] = []
        stopped = ""
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            answer = self.receive(messages.C_FIND_RQ, self._message_id, timeout=left)
            if answer.status not in messages.PENDING:
                self._ended(level, answer.status, stopped)
                return taken
            if stopped:
                continue
            match = self._match(answer.data_set, level, keys)
            taken.append(take(match))
            if len(taken) > self._limit:
                stopped = "too many"
            elif cancelled():
                stopped = "cancelled"
            if stopped:
                self.cancel(self._context_id, self._message_id)
                deadline = min(deadline, time.monotonic() + CANCEL_SECONDS)

    def _ended(self, level: str, status: int, stopped: str) -> None:
        what = f"{self.peer} ended a query at {level} level with 0x{status:04X}"
        if stopped == "too many":
            raise TooManyMatches(f"{self.peer} has more than {self._limit} matches at {level} level")
        if stopped:
            raise Transient(f"a query at {level} level was cancelled")
        if status == messages.SUCCESS:
            return
        if status >> 8 == 0xA7 or status == messages.CANCELLED or status >> 12 == 0xC:
            raise TooManyMatches(f"{what}: too many matches for it, or see its log")
        if status in _PERMANENT:
            raise Permanent(f"{what}: ask its administrator what it supports and allows us")
        raise Transient(f"{what}: see its log")

    def _match(self, data_set: bytes, level: str, keys: Mapping[str, str]) -> Dataset:
        from io import BytesIO

        from pynetdicom.dsutils import decode

        try:
            match = decode(BytesIO(data_set), self._syntax == IMPLICIT_VR_LITTLE_ENDIAN, True)  # noqa: FBT003
            uids = {keyword: str(match.get(keyword, "") or "") for keyword in keys if keyword.endswith("UID")}
            of_level = str(match.get("QueryRetrieveLevel", "") or level).strip()
        except Exception:  # noqa: BLE001 — pydicom raises many kinds, and their texts hold values
            raise Transient(f"{self.peer} sent a match that cannot be read: see its log") from None
        if of_level != level:
            raise Transient(f"{self.peer} answered a query at {level} level with another level")
        for keyword, uid in uids.items():
            if keys[keyword] and uid and uid not in keys[keyword].split("\\"):
                raise Transient(
                    f"{self.peer} answered with another study or series: it ignores the {keyword}"
                )
        own = _UNIQUE_KEYS.get(level)
        if own and not is_safe_uid_path(uids.get(own, "")):
            raise Transient(f"{self.peer} sent a match without a usable {own}")
        return match


_UNIQUE_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def encoded_identifier(level: str, keys: Mapping[str, str], transfer_syntax_uid: str) -> bytes:
    """The identifier of a query or retrieval, in the smallest character set that holds its values.

    Raises:
        Permanent: a value cannot be encoded.
    """
    from pydicom import config
    from pydicom.dataset import Dataset
    from pynetdicom.dsutils import encode

    identifier = Dataset()
    text = "".join(keys.values())
    if not text.isascii():
        latin = all(ord(character) < 0x100 for character in text)
        identifier.SpecificCharacterSet = "ISO_IR 100" if latin else "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    with config.disable_value_validation():
        for keyword, value in keys.items():
            setattr(identifier, keyword, value.split("\\") if "\\" in value else value)
        encoded = encode(identifier, transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN, True)  # noqa: FBT003
    if encoded is None:
        raise Permanent("the query cannot be encoded: one of its values is not usable")
    return bytes(encoded)


def context_of(association: Association, abstract_syntax: str, name: str) -> tuple[int, str]:
    """ID and transfer syntax of an accepted Presentation Context.

    Raises:
        NotOffered: it was not accepted.
    """
    for (proposed, syntax), context_id in association.accepted.items():
        if proposed == abstract_syntax:
            return context_id, syntax
    raise NotOffered(f"{association.peer} does not offer {name}: ask its administrator to enable it for us")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
