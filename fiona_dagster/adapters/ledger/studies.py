"""Studies in the ledger: arrival, what they are, registration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, or_, select, update

from fiona_dagster.adapters.ledger.arrivals import activities, record_finding
from fiona_dagster.adapters.ledger.schema import (
    instance,
    release,
    series,
    study,
    transfer,
    transition,
)
from fiona_dagster.adapters.ledger.schema import revision as revision_table
from fiona_dagster.domain.arrival import ArrivedStudy, Completes, Shortfall, StudyActivity
from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import StudyKey

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class StudyRecord:
    """A row of `study`. Holds patient data: never to be logged or shown outside the quarantine."""

    key: StudyKey
    site: str
    study_instance_uid: str
    first_received_at: float
    last_received_at: float
    instance_count: int
    revision: int
    arrived_count: int
    arrived_at: float | None
    expected_instances: int | None
    registered_revision: int
    routed_revision: int
    held_reason: str | None
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_time: str
    study_description: str
    institution_name: str
    calling_ae: str
    called_ae: str
    address: str
    purged_at: float | None
    retired_at: float | None
    given_up_at: float | None

    def __repr__(self) -> str:
        return f"StudyRecord({self.key}, revision {self.revision})"


@dataclass(frozen=True)
class InstanceRecord:
    """A row of `instance`; `path` is relative to the site's DATADIR."""

    id: int
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    sha256: str
    size_bytes: int
    path: str
    received_at: float
    aside: bool

    def __repr__(self) -> str:
        return f"InstanceRecord({self.id})"


_UIDS_A_QUERY = 500
"""Fewer than SQLite's limit of 999 variables in older builds."""
_STUDY_COLUMNS = [study.c[name] for name in StudyRecord.__dataclass_fields__]
_INSTANCE_COLUMNS = [instance.c[name] for name in InstanceRecord.__dataclass_fields__]


class Studies:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, key: str) -> StudyRecord:
        """The study with this ledger key.

        Raises:
            Permanent: there is none.
        """
        with self._ledger.read() as connection:
            row = connection.execute(select(*_STUDY_COLUMNS).where(study.c.key == key)).one_or_none()
        if row is None:
            raise Permanent(f"the ledger has no study {key}")
        return _record(row)

    def all(self) -> list[StudyRecord]:
        """Every study, newest arrival first."""
        with self._ledger.read() as connection:
            rows = connection.execute(select(*_STUDY_COLUMNS).order_by(study.c.first_received_at.desc()))
            return [_record(row) for row in rows]

    def kept(self, site: str) -> list[StudyRecord]:
        """The studies of a site whose files were not cleaned up."""
        where = and_(study.c.site == site, study.c.purged_at.is_(None))
        with self._ledger.read() as connection:
            return [_record(row) for row in connection.execute(select(*_STUDY_COLUMNS).where(where))]

    def last_changes(self) -> list[tuple[StudyKey, float]]:
        """For every study when an image of it or news of a transfer came last, in one query."""
        changed = func.coalesce(func.max(transfer.c.changed_at), 0.0)
        query = (
            select(study.c.key, study.c.last_received_at, changed.label("changed"))
            .outerjoin(transfer, transfer.c.study_key == study.c.key)
            .group_by(study.c.key)
        )
        with self._ledger.read() as connection:
            return [
                (StudyKey(row.key), max(row.last_received_at, row.changed))
                for row in connection.execute(query)
            ]

    def by_uid(self, study_instance_uids: Collection[str]) -> dict[str, StudyRecord]:
        """The studies with these UIDs; of one that several sites received, that which arrived last."""
        wanted, found = sorted(study_instance_uids), {}
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), _UIDS_A_QUERY):
                some = study.c.study_instance_uid.in_(wanted[first : first + _UIDS_A_QUERY])
                for row in connection.execute(
                    select(*_STUDY_COLUMNS).where(some).order_by(study.c.first_received_at)
                ):
                    found[row.study_instance_uid] = _record(row)
        return found

    def instances(self, key: str) -> list[InstanceRecord]:
        """Every instance of a study, in order of reception; those kept aside too."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(*_INSTANCE_COLUMNS).where(instance.c.study_key == key).order_by(instance.c.id)
            )
            return [InstanceRecord(**row._mapping) for row in rows]  # noqa: SLF001 — the documented way to a mapping

    def arriving(self, limit: int = 5000, *, counted_since: float = 0.0) -> list[StudyActivity]:
        """Studies with instances that no revision covers yet, longest quiet first, and what was announced of them.

        What a source counted before `counted_since` (seconds since the epoch) is passed over: it is asked again.
        """
        with self._ledger.read() as connection:
            return activities(connection, limit, counted_since)

    def covered(self, key: str, revision: int) -> list[InstanceRecord]:
        """The instances that a revision covers, in order of reception."""
        counted = revision_table.c.study_key == key
        with self._ledger.read() as connection:
            count = connection.execute(
                select(revision_table.c.instance_count).where(counted, revision_table.c.revision == revision)
            ).scalar()
        return self.instances(key)[: int(count or 0)]

    def unregistered(self, limit: int = 200) -> list[tuple[StudyKey, int]]:
        """Arrived studies whose newest revision is not registered yet: key and revision."""
        return self._behind(
            study.c.registered_revision, study.c.instance_count == study.c.arrived_count, limit
        )

    def unrouted(self, limit: int = 200) -> list[tuple[StudyKey, int]]:
        """Registered studies whose newest revision no routing decision has seen: key and revision."""
        return self._behind(study.c.routed_revision, study.c.registered_revision == study.c.revision, limit)

    def _behind(self, done: Any, ready: Any, limit: int) -> list[tuple[StudyKey, int]]:
        query = (
            select(study.c.key, study.c.revision)
            .where(done < study.c.revision, ready, study.c.given_up_at.is_(None))
            .order_by(study.c.arrived_at)
            .limit(limit)
        )
        with self._ledger.read() as connection:
            return [(StudyKey(row.key), row.revision) for row in connection.execute(query)]

    def held_for_assignment(self) -> list[StudyRecord]:
        """Registered studies for which nothing said where they go."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(*_STUDY_COLUMNS)
                .where(study.c.held_reason.is_not(None), study.c.given_up_at.is_(None))
                .order_by(study.c.arrived_at)
            )
            return [_record(row) for row in rows]

    def arrive(
        self,
        key: str,
        *,
        instance_count: int,
        expected: int | None,
        now: float,
        run_id: str,
        finding: Completes | None = None,
        shortfalls: Sequence[Shortfall] = (),
    ) -> ArrivedStudy:
        """Close a revision over the `instance_count` instances that were there when the study fell quiet.

        Again with the same count: the same revision. Instances that came since wait for the next one. `finding` and
        `shortfalls` say why it is closed, and what it lacks.
        """
        with self._ledger.begin() as connection:
            row = connection.execute(select(*_STUDY_COLUMNS).where(study.c.key == key)).one()
            revision = row.revision
            if instance_count > row.arrived_count:
                revision += 1
                connection.execute(
                    update(study)
                    .where(study.c.key == key)
                    .values(
                        revision=revision,
                        arrived_count=instance_count,
                        arrived_at=now,
                        expected_instances=expected,
                    )
                )
                connection.execute(
                    insert(revision_table),
                    {"study_key": key, "revision": revision, "instance_count": instance_count, "at": now},
                )
                record_finding(connection, key, revision, finding, shortfalls, now=now)
                reason = finding.because if finding else ""
                _note(connection, key, now, "arrival", f"revision {revision}", reason, run_id)
            return ArrivedStudy(
                StudyKey(key),
                row.site,
                revision,
                max(instance_count, row.arrived_count),
                expected,
                finding.complete if finding else None,
                tuple(shortfalls),
            )

    def classify(
        self, key: str, revision: int, found: Sequence[ClassifiedSeries], *, now: float, run_id: str
    ) -> None:
        """Replace what is known of the study's series."""
        with self._ledger.begin() as connection:
            connection.execute(delete(series).where(series.c.study_key == key))
            rows = []
            for one in found:
                described = asdict(one)
                row = {
                    name: described.pop(name)
                    for name in ("series_instance_uid", "modality", "instance_count")
                }
                types = list(described.pop("types"))
                rows.append(
                    {
                        "study_key": key,
                        "revision": revision,
                        "classify_types": types,
                        "described": described,
                        **row,
                    }
                )
            if rows:
                connection.execute(insert(series), rows)
            _note(
                connection, key, now, "classification", f"revision {revision}", f"{len(rows)} series", run_id
            )

    def series(self, key: str) -> list[ClassifiedSeries]:
        """What classification found in a study."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(series).where(series.c.study_key == key).order_by(series.c.series_instance_uid)
            )
            return [
                ClassifiedSeries(
                    series_instance_uid=row.series_instance_uid,
                    modality=row.modality,
                    types=tuple(row.classify_types),
                    instance_count=row.instance_count,
                    **row.described,
                )
                for row in rows
            ]

    def register(self, key: str, revision: int, *, now: float, run_id: str) -> None:
        """The registry has the study at this revision."""
        self._advance(key, "registration", revision, now, run_id, registered_revision=revision)

    def route(self, key: str, revision: int, held_reason: str | None, *, now: float, run_id: str) -> None:
        """Routing looked at this revision; `held_reason` says why a person must decide."""
        self._advance(key, "routing", revision, now, run_id, held_reason or "", routed_revision=revision,
                      held_reason=held_reason)  # fmt: skip

    def reopen_routing(self, key: str) -> None:
        """Ask for a new routing decision."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(study).where(study.c.key == key).values(routed_revision=study.c.revision - 1)
            )

    def purge(self, key: str, instance_ids: Sequence[int], *, now: float) -> None:
        """The files of these instances were cleaned up, with every copy of the study."""
        copies = select(transfer.c.id).where(transfer.c.study_key == key)
        with self._ledger.begin() as connection:
            connection.execute(update(study).where(study.c.key == key).values(purged_at=now))
            connection.execute(
                update(instance)
                .where(instance.c.study_key == key, instance.c.id == bindparam("of_id"))
                .values(purged=True),
                [{"of_id": one} for one in instance_ids],
            )
            connection.execute(update(release).where(release.c.transfer_id.in_(copies)).values(purged=True))
            _note(connection, key, now, "retention", "purged", f"{len(instance_ids)} instances", "")

    def mark(self, key: str, **columns: Any) -> None:
        """Set `purged_at` or `retired_at`."""
        with self._ledger.begin() as connection:
            connection.execute(update(study).where(study.c.key == key).values(**columns))

    def find(self, text: str) -> list[StudyRecord]:
        """Studies that carry `text` as key, UID, accession number, PatientID, PatientName or AE title."""
        columns = (
            "key",
            "study_instance_uid",
            "accession_number",
            "patient_id",
            "patient_name",
            "calling_ae",
            "called_ae",
        )
        exact = or_(*(study.c[name] == text for name in columns))
        inside = study.c.key.in_(
            select(instance.c.study_key).where(
                or_(instance.c.sop_instance_uid == text, instance.c.series_instance_uid == text)
            )
        )
        with self._ledger.read() as connection:
            return [
                _record(row) for row in connection.execute(select(*_STUDY_COLUMNS).where(or_(exact, inside)))
            ]

    def _advance(
        self, key: str, stage: str, revision: int, now: float, run_id: str, reason: str = "", **columns: Any
    ) -> None:
        with self._ledger.begin() as connection:
            # worked on again: the key is back in Dagster, and to be retired once more
            connection.execute(update(study).where(study.c.key == key).values(retired_at=None, **columns))
            _note(connection, key, now, stage, f"revision {revision}", reason, run_id)


def _record(row: Row[Any]) -> StudyRecord:
    return StudyRecord(**row._mapping)  # noqa: SLF001 — the documented way to a mapping


def _note(
    connection: Connection, key: str, at: float, stage: str, outcome: str, reason: str, run_id: str
) -> None:
    connection.execute(
        insert(transition),
        {"at": at, "study_key": key, "stage": stage, "outcome": outcome, "reason": reason, "run_id": run_id},
    )
