"""A research project's own REDCap: its participants, their events, and an `imaging` row for each study it got.

FIONA's populateProjects.py asked for everything and stored one row a participant and run (fiona-behaviour 3.8). Here
only the participants that have news are read, every row has its place by `img_study_instance_uid`, and what was
written is read back, so that two runs at once, or two gateways, end with each study once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fiona_dagster.adapters.redcap.client import RedcapProject, batches
from fiona_dagster.adapters.redcap.repeating import (
    INSTANCE,
    INSTRUMENT,
    NEW,
    Instances,
    Row,
    blank_row,
    differs,
)
from fiona_dagster.domain.errors import Permanent, Transient

DEMOGRAPHY, IMAGING, EVENT = "basic_demography_form", "imaging", "redcap_event_name"
STUDY_UID = "img_study_instance_uid"
FIONA_EVENT = "event_1_arm_1"
PARTICIPANTS_AT_ONCE = 50
_ROUNDS, _LOCK_SECONDS = 5, 300.0


@dataclass(frozen=True)
class ImagingRow:
    """A study of a participant in the research archive: values of its copies, by REDCap's field names (`img_...`)."""

    participant: str = field(repr=False)
    event: str
    fields: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Populated:
    """What was written, and events that the project does not have."""

    rows_written: int
    unknown_events: frozenset[str] = frozenset()


class ResearchProjectWriter:
    """Writes into one research project."""

    def __init__(self, project: RedcapProject, lock_file: Path) -> None:
        self._project = project
        self._lock = FileLock(lock_file)
        self._place = _Place.of(project)

    def populate(self, rows: Sequence[ImagingRow]) -> Populated:
        """Participants, their events and imaging rows; doing it again writes nothing. Values of people stay.

        Raises:
            Permanent: the project has no `imaging` instrument that repeats.
            Transient: REDCap does not answer, or does not keep what is written.
        """
        by_participant: dict[str, list[ImagingRow]] = {}
        for one in rows:
            by_participant.setdefault(one.participant, []).append(one)
        written = 0
        try:
            with self._lock.acquire(timeout=_LOCK_SECONDS):
                for part in batches(list(by_participant), PARTICIPANTS_AT_ONCE):
                    written += self._until_there({name: by_participant[name] for name in part})
        except Timeout as error:
            raise Transient("another process has been writing into the project for minutes") from error
        asked = {one.event for one in rows if one.event}
        unknown = {one for one in asked if self._place.events and not self._place.unique_name(one)}
        return Populated(written, frozenset(unknown))

    def _until_there(self, wanted: Mapping[str, list[ImagingRow]]) -> int:
        written, carried_out = 0, False
        failure = Transient("the project's REDCap does not keep what is written into it")
        for _ in range(_ROUNDS):
            stored = self._project.rows(records=list(wanted), forms=self._place.forms)
            writes, erasures = self._plan(wanted, stored, again=carried_out)
            if not writes and not erasures:
                return written
            written += len(writes)
            try:
                self._project.write_rows(writes)
            except (
                Transient
            ) as error:  # rows that REDCap numbers may have been written: read back, then again
                if not any(row.get(INSTANCE) == NEW for row in writes):
                    raise
                failure = error
                continue
            carried_out = True
            self._project.write_rows(erasures, overwrite=True)
        raise failure

    def _plan(
        self, wanted: Mapping[str, list[ImagingRow]], stored: Sequence[Row], *, again: bool
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows to write and to erase; `again` only what is missing, a server may spell a value its own way."""
        place = self._place
        bases = {_key(row, place.record): row for row in stored if not row.get(INSTRUMENT)}
        imaging = _instances(stored, place.record)
        writes: list[dict[str, Any]] = []
        erasures: list[dict[str, Any]] = []
        for participant, ones in wanted.items():
            for event in place.demography_events(one.event for one in ones):
                base = place.base_row(participant, event)
                known = bases.get((participant.casefold(), event))
                if known is None or (not again and differs(base, known)):
                    writes.append(base)
            for one in ones:
                event = place.imaging_event(one.event)
                found = imaging.setdefault((participant.casefold(), event), Instances())
                row = place.imaging_row(one, event)
                numbers = found.having(STUDY_UID, str(row[STUDY_UID]))
                if not numbers:
                    new = found.add(str(row[STUDY_UID]), row)
                    writes += [new] if new is not None else []
                elif not again and differs(row, found.rows[numbers[0]]):
                    writes.append({**row, INSTANCE: numbers[0]})
                for number in numbers[1:]:
                    spare = found.rows.pop(number)
                    erasures.append({**blank_row(spare, place.record, place.own_columns), **place.at(event)})
        return writes, erasures


@dataclass(frozen=True)
class _Place:
    """Where rows belong in a live project. `events` is empty in a project without events."""

    record: str
    columns: frozenset[str]
    forms: list[str]
    events: dict[str, frozenset[str]]  # unique name -> instruments
    labels: dict[str, str]  # unique name by label, folded; of the first arm that has it
    repeats_at: tuple[str, ...]  # unique names of the events in which `imaging` repeats

    @classmethod
    def of(cls, project: RedcapProject) -> _Place:
        forms = {str(row["form_name"]) for row in project.metadata}
        if IMAGING not in forms or STUDY_UID not in project.field_names:
            raise Permanent(
                "the project's REDCap has no instrument `imaging`: import ProjectTemplate's dictionary"
            )
        events: dict[str, set[str]] = {}
        labels: dict[str, str] = {}
        if project.is_longitudinal:
            for row in project.export_instrument_event_mappings():  # type: ignore[union-attr]
                events.setdefault(str(row["unique_event_name"]), set()).add(str(row["form"]))  # type: ignore[index]
            for row in project.export_events():  # type: ignore[union-attr]
                labels.setdefault(str(row["event_name"]).casefold(), str(row["unique_event_name"]))  # type: ignore[index]
        repeating = [
            row
            for row in project.export_repeating_instruments_events()
            if row["form_name"] == IMAGING  # type: ignore[union-attr,index]
        ]
        if not repeating:
            raise Permanent("the instrument `imaging` of the project's REDCap does not repeat: let it repeat")
        return cls(
            record=str(project.def_field),
            columns=frozenset(project.field_names) | {f"{form}_complete" for form in forms},
            forms=[form for form in (DEMOGRAPHY, IMAGING) if form in forms],
            events={name: frozenset(found) for name, found in events.items()},
            labels=labels,
            repeats_at=tuple(str(row.get("event_name", "")) for row in repeating),  # type: ignore[union-attr]
        )

    @property
    def own_columns(self) -> list[str]:
        """The columns of `imaging`: what an erased instance must not keep."""
        return sorted(name for name in self.columns if name.startswith(("img_", f"{IMAGING}_complete")))

    def unique_name(self, event: str) -> str:
        """REDCap's name of an event by its label, else as FIONA makes it; '' where there is none."""
        made = event.strip().lower() + "_arm_1"
        return self.labels.get(event.strip().casefold(), made if made in self.events else "")

    def at(self, event: str) -> dict[str, str]:
        return {EVENT: event} if self.events else {}

    def imaging_event(self, event: str) -> str:
        """FIONA's `event_1_arm_1` where imaging repeats there, else the study's own event, else the first with it."""
        if not self.events:
            return ""
        for name in (FIONA_EVENT, self.unique_name(event)):
            if name in self.repeats_at:
                return name
        return self.repeats_at[0]

    def demography_events(self, asked: Iterable[str]) -> list[str]:
        """Where the participant is entered: the first event with the form, and the studies' events that have it."""
        if not self.events:
            return [""]
        having = [name for name, forms in self.events.items() if DEMOGRAPHY in forms]
        wanted = [self.unique_name(one) for one in asked if one]
        return list(dict.fromkeys([*having[:1], *(one for one in wanted if one in having)]))

    def base_row(self, participant: str, event: str) -> dict[str, Any]:
        names = {"first_name": participant, "last_name": participant}
        known = {name: value for name, value in names.items() if name in self.columns}
        return {self.record: participant, **self.at(event), **known}

    def imaging_row(self, one: ImagingRow, event: str) -> dict[str, Any]:
        fields = {**one.fields, "img_event_name": one.event, f"{IMAGING}_complete": "2"}
        known = {name: value for name, value in fields.items() if name in self.columns}
        return {self.record: one.participant, **self.at(event), INSTRUMENT: IMAGING, **known}


def _key(row: Row, record: str) -> tuple[str, str]:
    return str(row[record]).casefold(), str(row.get(EVENT, ""))


def _instances(rows: Iterable[Row], record: str) -> dict[tuple[str, str], Instances]:
    found: dict[tuple[str, str], Instances] = {}
    for row in rows:
        if row.get(INSTRUMENT) == IMAGING:
            found.setdefault(_key(row, record), Instances()).rows[int(row[INSTANCE])] = row
    return found
