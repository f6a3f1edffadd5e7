"""Reconciliation in the ledger: its own account of studies and copies, the archive's, and the differences found."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, delete, distinct, func, insert, select, update

from fiona_dagster.adapters.ledger.reconciliation_schema import archived_study, difference
from fiona_dagster.adapters.ledger.schema import release, sent_copy, series, study, transfer
from fiona_dagster.domain.reconciliation import (
    CONFIRMED,
    ArchivedStudy,
    Difference,
    Kind,
    LedgerTransfer,
    ReceivedStudy,
)
from fiona_dagster.domain.transfer import GIVEN_UP, Disposition, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

_ROWS = 500


@dataclass(frozen=True)
class LedgerAccount:
    """What the ledger says at one moment. `versions`: by study key, another one when anything about it changed."""

    studies: tuple[ReceivedStudy, ...]
    transfers: tuple[LedgerTransfer, ...]
    released: dict[str, int] = field(repr=False)
    sent: frozenset[str] = field(repr=False)
    versions: dict[str, tuple[object, ...]] = field(repr=False)
    changed_at: dict[int, float]
    unsettled: frozenset[str]


@dataclass(frozen=True)
class StandingDifference:
    """A difference with its number, since when it stands and when it was seen last (seconds since the epoch)."""

    id: int
    difference: Difference
    first_seen_at: float
    last_seen_at: float


class Reconciliations:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def account(self, destination: str, *, settled_before: float) -> LedgerAccount:
        """The ledger's account of everything.

        Args:
            destination: address of the research PACS.
            settled_before: what changed later is unsettled: it is worked on.
        """
        counted = (
            select(series.c.study_key, func.sum(series.c.instance_count).label("images"))
            .group_by(series.c.study_key)
            .subquery()
        )
        of_study = select(study, counted.c.images).outerjoin(counted, counted.c.study_key == study.c.key)
        copies = (
            select(release.c.transfer_id, release.c.study_instance_uid).where(release.c.path != "").distinct()
        )
        given = (
            select(sent_copy.c.transfer_id, sent_copy.c.study_instance_uid)
            .where(sent_copy.c.destination == destination, sent_copy.c.study_instance_uid != "")
            .distinct()
        )
        out = and_(
            release.c.disposition == Disposition.RELEASED.value,
            transfer.c.state.in_([one.value for one in CONFIRMED]),
        )
        released = (
            select(release.c.study_instance_uid, func.count(distinct(release.c.sop_instance_uid)))
            .join(transfer, transfer.c.id == release.c.transfer_id)
            .where(out)
            .group_by(release.c.study_instance_uid)
        )
        with self._ledger.read() as connection:
            studies = connection.execute(of_study).all()
            transfers = connection.execute(select(transfer).order_by(transfer.c.id)).all()
            made = connection.execute(copies).all()
            sent = connection.execute(given).all()
            numbers = {str(uid): int(count) for uid, count in connection.execute(released)}
        under: dict[int, set[str]] = {}
        for one in (*made, *sent):
            under.setdefault(one.transfer_id, set()).add(one.study_instance_uid)
        current: dict[int, set[str]] = {}
        for one in made:
            current.setdefault(one.transfer_id, set()).add(one.study_instance_uid)
        versions: dict[str, tuple[object, ...]] = {
            row.key: (row.revision, row.instance_count, row.registered_revision, row.routed_revision)
            for row in studies
        }
        unsettled = {
            row.key
            for row in studies
            if row.last_received_at >= settled_before
            or (row.arrived_at or row.last_received_at) >= settled_before
            or row.arrived_count < row.instance_count
        }
        found = []
        for row in transfers:
            state = TransferState(row.state)
            versions[row.study_key] += (row.id, row.state, row.changed_at)
            if row.changed_at >= settled_before:
                unsettled.add(row.study_key)
            mine = under.get(row.id, set()) if state is TransferState.RETIRED else current.get(row.id, set())
            found.append(
                LedgerTransfer(
                    row.id, row.transfer_key, row.study_key, row.project, row.participant, row.event, state,
                    time.strftime("%Y-%m-%d %H:%M", time.localtime(row.requested_at)), tuple(sorted(mine)),
                    given_up=row.reason.startswith(GIVEN_UP),
                )
            )  # fmt: skip
        return LedgerAccount(
            tuple(
                ReceivedStudy(
                    row.key, row.study_instance_uid, int(row.images or 0),
                    registered=row.revision > 0 and row.registered_revision == row.revision,
                    routed=row.revision > 0 and row.routed_revision == row.revision,
                    given_up=row.given_up_at is not None, accession_number=row.accession_number,
                )
                for row in studies
            ),
            tuple(found),
            numbers,
            frozenset(uid for uids in under.values() for uid in uids),
            versions,
            {row.id: row.changed_at for row in transfers},
            frozenset(unsettled),
        )  # fmt: skip

    def archived(self, destination: str) -> dict[str, ArchivedStudy]:
        """What the archive said that it has, by Study Instance UID."""
        columns = (archived_study.c.study_instance_uid, archived_study.c.project, archived_study.c.images)
        mine = select(*columns).where(archived_study.c.destination == destination)
        with self._ledger.read() as connection:
            return {row[0]: ArchivedStudy(*row) for row in connection.execute(mine)}

    def note_archived(
        self,
        destination: str,
        studies: Iterable[ArchivedStudy],
        series_of: dict[str, int | None],
        *,
        now: float,
    ) -> None:
        """Note what the archive says that it has; `series_of`: numbers of series by Study Instance UID."""
        rows = [
            {"destination": destination, "study_instance_uid": one.study_instance_uid, "project": one.project,
             "series": series_of.get(one.study_instance_uid), "images": one.images, "seen_at": now}
            for one in sorted(studies, key=lambda one: one.study_instance_uid)  # two at once in one order
        ]  # fmt: skip
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, archived_study, rows)

    def forget_archived(self, destination: str, uids: Collection[str]) -> None:
        """Forget studies that the archive positively does not have."""
        wanted = sorted(uids)
        with self._ledger.begin() as connection:
            for first in range(0, len(wanted), _ROWS):
                some = archived_study.c.study_instance_uid.in_(wanted[first : first + _ROWS])
                connection.execute(
                    delete(archived_study).where(archived_study.c.destination == destination, some)
                )

    def replace(
        self, found: Iterable[Difference], is_judged: Callable[[Difference], bool], *, now: float
    ) -> None:
        """Keep the differences of a pass; of earlier ones, those that were judged and not found again are over."""
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)  # two passes at once would note a difference twice
            known = {_identity(row): row for row in connection.execute(select(difference))}
            for one in found:
                row = _row(one)
                before = known.pop(tuple(row[name] for name in _IDENTITY), None)
                if before is None:
                    connection.execute(insert(difference), {**row, "first_seen_at": now, "last_seen_at": now})
                else:
                    same = difference.c.id == before.id
                    connection.execute(
                        update(difference).where(same).values(detail=one.detail, last_seen_at=now)
                    )
            for old in known.values():
                if is_judged(_difference(old)):
                    connection.execute(delete(difference).where(difference.c.id == old.id))

    def standing(self, number: int | None = None) -> list[StandingDifference]:
        """The differences that stand, in order of kind; or the one of that number."""
        query = select(difference).order_by(difference.c.id)
        if number is not None:
            query = query.where(difference.c.id == number)
        with self._ledger.read() as connection:
            rows = connection.execute(query).all()
        found = [
            StandingDifference(row.id, _difference(row), row.first_seen_at, row.last_seen_at) for row in rows
        ]
        order = list(Kind)
        return sorted(found, key=lambda one: (order.index(one.difference.kind), one.id))


_IDENTITY = ("kind", "study_key", "transfer_id", "project", "uid", "subject")


def _row(one: Difference) -> dict[str, object]:
    named = one.study_key or one.uid
    return {"kind": one.kind.name, "study_key": one.study_key, "transfer_id": one.transfer_id, "project": one.project,
            "uid": one.uid, "subject": "" if named else one.detail[:64], "detail": one.detail}  # fmt: skip


def _difference(row: Row[Any]) -> Difference:
    return Difference(Kind[row.kind], row.study_key, row.transfer_id, row.project, row.detail, row.uid)


def _identity(row: Row[Any]) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in _IDENTITY)
