"""Totals over the whole ledger: the conservation law, what is held and why, what may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, insert, literal, or_, select

from fiona_dagster.adapters.ledger.schema import (
    association,
    audit,
    instance,
    refusal,
    release,
    snapshot,
    study,
    transfer,
    transition,
)
from fiona_dagster.adapters.ledger.transfers import coverage
from fiona_dagster.domain.retention import PartitionStanding
from fiona_dagster.domain.transfer import (
    GIVEN_UP,
    NOT_YET_DEIDENTIFIED,
    RETIRED,
    Balance,
    Disposition,
    TransferState,
)

if TYPE_CHECKING:
    from typing import Any

    from fiona_dagster.adapters.ledger.ledger import Ledger

ARRIVING = "arriving"
AWAITING_ROUTING = "awaiting registration and routing"


@dataclass(frozen=True)
class Totals:
    """The conservation law over everything: each instance once for every transfer of its study, or once when
    its study has none.
    """

    studies: int
    balance: Balance
    held_reasons: dict[str, int]
    refused: int
    open_associations: int
    transfers: dict[str, int]


@dataclass(frozen=True)
class ReceivedFiles:
    """A study's files as they are recorded. Paths are relative to the DATADIR; `purged` ones may lie there or not."""

    counted: int
    recorded: int
    paths: frozenset[str]
    purged: frozenset[str]


@dataclass(frozen=True)
class RefusalRecord:
    """Something that was not accepted; `path` in the quarantine, relative to the DATADIR."""

    at: float
    site: str
    status: int
    reason: str
    path: str | None


def _given_up_or(reason: Any) -> Any:
    """Why something is held, as a column: its transfer was given up or retired, or `reason`."""
    ended = or_(transfer.c.reason.startswith(GIVEN_UP), transfer.c.reason.startswith(RETIRED))
    return case((ended, transfer.c.reason), else_=reason)


class Inventory:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def totals(self) -> Totals:
        """Count everything, in one consistent view: received by the studies' own counters, the rest row by row."""
        with self._ledger.read() as connection:
            studies = connection.execute(select(func.count()).select_from(study)).scalar_one()
            refused = int(
                connection.execute(select(func.coalesce(func.sum(refusal.c.times), 0))).scalar_one()
            )
            still_open = connection.execute(
                select(func.count()).select_from(association).where(association.c.closed_at.is_(None))
            ).scalar_one()
            states = connection.execute(select(transfer.c.state, func.count()).group_by(transfer.c.state))
            transfers = {str(state): int(count) for state, count in states}
            rows = connection.execute(
                select(release.c.disposition, _given_up_or(release.c.reason).label("why"), func.count())
                .join(transfer, transfer.c.id == release.c.transfer_id)
                .group_by(release.c.disposition, "why")
            ).all()
            by_transfer = coverage().subquery()
            in_transfers = connection.execute(
                select(
                    _given_up_or(literal(NOT_YET_DEIDENTIFIED)).label("why"),
                    func.sum(by_transfer.c.received).label("received"),
                    func.sum(by_transfer.c.covered).label("covered"),
                )
                .join(transfer, transfer.c.id == by_transfer.c.id)
                .group_by("why")
            ).all()
            without = study.c.key.not_in(select(transfer.c.study_key))
            alone = connection.execute(
                select(func.coalesce(func.sum(study.c.instance_count), 0)).where(without)
            ).scalar_one()
            waiting = connection.execute(
                select(study.c.held_reason, study.c.arrived_count < study.c.instance_count, func.count())
                .select_from(instance)
                .join(study, study.c.key == instance.c.study_key)
                .where(without)
                .group_by(study.c.held_reason, study.c.arrived_count < study.c.instance_count)
            ).all()
        held = {row.why: int(row.received) - int(row.covered) for row in in_transfers}
        counted = {"released": 0, "held": 0, "excluded": 0, "failed": 0}
        for disposition, reason, count in rows:
            if disposition == Disposition.HELD.value:
                held[reason] = held.get(reason, 0) + count
            else:
                counted[disposition] += count
        for reason, arriving, count in waiting:
            name = reason or (ARRIVING if arriving else AWAITING_ROUTING)
            held[name] = held.get(name, 0) + count
        counted["held"] = sum(held.values())
        reasons = {reason: count for reason, count in held.items() if count}
        received = sum(int(row.received) for row in in_transfers) + int(alone)
        return Totals(studies, Balance(received=received, **counted), reasons, refused, still_open, transfers)

    def refusals(self, limit: int = 100) -> list[RefusalRecord]:
        """What was not accepted, newest first."""
        query = (
            select(refusal.c.at, refusal.c.site, refusal.c.status, refusal.c.reason, refusal.c.path)
            .order_by(refusal.c.id.desc())
            .limit(limit)
        )
        with self._ledger.read() as connection:
            return [RefusalRecord(*row) for row in connection.execute(query)]

    def received_files(self, key: str) -> ReceivedFiles:
        """Where a study's instances lie, and how many the study counts, at one moment."""
        with self._ledger.read() as connection:
            counted = connection.execute(
                select(study.c.instance_count).where(study.c.key == key)
            ).scalar_one()
            found = connection.execute(
                select(instance.c.path, instance.c.purged).where(instance.c.study_key == key)
            ).all()
        kept = frozenset(row.path for row in found if not row.purged)
        return ReceivedFiles(counted, len(found), kept, frozenset(row.path for row in found if row.purged))

    def released_paths(self, transfer_id: int) -> list[str]:
        """Paths of a transfer's released copies that were not cleaned up, relative to the DATADIR."""
        released = and_(
            release.c.transfer_id == transfer_id, release.c.disposition == Disposition.RELEASED.value
        )
        with self._ledger.read() as connection:
            return list(
                connection.execute(select(release.c.path).where(released, ~release.c.purged)).scalars()
            )

    def at_rest(self) -> list[PartitionStanding]:
        """Studies whose partition key was not retired and for which no work is due: since when, and whether they wait.

        At an end: every transfer delivered, or given up. Waiting for a person: unassigned, held or failed. Neither
        while an instance came that the newest revision does not cover.
        """
        working = (TransferState.REQUESTED.value, TransferState.FORWARDED.value)
        busy = select(transfer.c.study_key).where(transfer.c.state.in_(working))
        ends = (TransferState.DELIVERED.value, TransferState.RETIRED.value)
        undelivered = func.max(case((transfer.c.state.in_(ends), 0), else_=1))
        decided = and_(
            study.c.registered_revision == study.c.revision, study.c.routed_revision == study.c.revision
        )
        since = func.coalesce(study.c.given_up_at, func.max(transfer.c.changed_at), study.c.arrived_at)
        query = (
            select(study.c.key, study.c.given_up_at, func.coalesce(undelivered, 1).label("waits"), since.label("since"))
            .outerjoin(transfer, transfer.c.study_key == study.c.key)
            .where(study.c.retired_at.is_(None), study.c.revision > 0,
                   study.c.instance_count == study.c.arrived_count,
                   or_(decided, study.c.given_up_at.is_not(None)), study.c.key.not_in(busy))
            .group_by(study.c.key)
        )  # fmt: skip
        with self._ledger.read() as connection:
            return [
                PartitionStanding(
                    row.key, float(row.since), waits=bool(row.waits) and row.given_up_at is None
                )
                for row in connection.execute(query)
            ]

    def last_transition(self) -> float | None:
        """When anything happened last."""
        with self._ledger.read() as connection:
            return connection.execute(select(func.max(transition.c.at))).scalar()

    def save_snapshot(self, name: str, body: Any, *, now: float) -> None:
        """Keep the last good answer of a server that may be down when it is needed."""
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, snapshot, [{"name": name, "at": now, "body": body}])

    def snapshot(self, name: str) -> Any:
        """The last good answer, or None."""
        with self._ledger.read() as connection:
            return connection.execute(select(snapshot.c.body).where(snapshot.c.name == name)).scalar()

    def note_access(self, who: str, action: str, subject: str, *, now: float) -> None:
        """Audit: who looked at or changed what."""
        with self._ledger.begin() as connection:
            connection.execute(insert(audit), {"at": now, "who": who, "action": action, "subject": subject})
