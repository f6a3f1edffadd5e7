"""Storage Commitment requests in the ledger: recorded, claimed by one listener process at a time, reported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from fiona_dagster.adapters.ledger.reception_schema import commitment, commitment_reference
from fiona_dagster.adapters.ledger.schema import association, instance
from fiona_dagster.domain.commitment import (
    INVALID_ARGUMENT_VALUE,
    CommitmentRequest,
    CommitmentState,
    Reference,
)
from fiona_dagster.domain.errors import Reject

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

LONGEST_WAIT_SECONDS = 3600.0
"""No attempt is put off for so long."""
KEEP_REFERENCES_SECONDS = 7 * 86_400.0
"""What a request named is kept for so long after it, unless its report is still due."""
_UIDS_A_QUERY = 500


@dataclass(frozen=True)
class CommitmentRecord:
    """A row of `commitment`. Times in seconds since the epoch."""

    id: int
    calling_ae: str
    called_ae: str
    transaction_uid: str
    requested_at: float
    attempts: int

    def __repr__(self) -> str:
        return f"CommitmentRecord({self.id})"


@dataclass(frozen=True)
class RecordedContent:
    """One content under a SOP Instance UID; `path` is relative to the DATADIR."""

    sop_class_uid: str
    path: str
    size_bytes: int
    aside: bool
    purged: bool


@dataclass(frozen=True)
class UndeliveredCommitment:
    """A report that its requester does not have."""

    calling_ae: str
    state: CommitmentState
    requested_at: float
    attempts: int
    problem: str


_COLUMNS = [commitment.c[name] for name in CommitmentRecord.__dataclass_fields__]


class Commitments:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def request(
        self,
        site: str,
        calling_ae: str,
        called_ae: str,
        asked: CommitmentRequest,
        *,
        worker: str,
        now: float,
        until: float,
    ) -> CommitmentRecord:
        """Record a request, claimed by `worker` until `until`. The same request again is reported again.

        Raises:
            Reject: its Transaction UID was used for other instances.
        """
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            mine = and_(
                commitment.c.site == site,
                commitment.c.calling_ae == calling_ae,
                commitment.c.transaction_uid == asked.transaction_uid,
            )
            fresh = {
                "called_ae": called_ae, "requested_at": now, "state": CommitmentState.PENDING.value, "attempts": 0,
                "next_attempt_at": until, "claimed_by": worker, "problem": "", "reported_at": None,
            }  # fmt: skip
            known = connection.execute(select(commitment.c.id).where(mine)).scalar()
            if known is not None:
                before = self._references(connection, known)
                if before and before != list(asked.references):
                    raise Reject(INVALID_ARGUMENT_VALUE, "TransactionUID was used for other instances")
                connection.execute(update(commitment).where(commitment.c.id == known).values(**fresh))
                number = int(known)
            else:
                before = []
                number = connection.execute(
                    insert(commitment)
                    .values(site=site, calling_ae=calling_ae, transaction_uid=asked.transaction_uid, **fresh)
                    .returning(commitment.c.id)
                ).scalar_one()
            if not before:
                connection.execute(
                    insert(commitment_reference),
                    [
                        {"commitment_id": number, "number": at, "sop_class_uid": one.sop_class_uid,
                         "sop_instance_uid": one.sop_instance_uid}
                        for at, one in enumerate(asked.references)
                    ],
                )  # fmt: skip
        return CommitmentRecord(number, calling_ae, called_ae, asked.transaction_uid, now, 0)

    def claim(self, site: str, worker: str, *, now: float, until: float) -> CommitmentRecord | None:
        """The request whose report is due for longest, claimed by `worker` until `until`; None where none is due."""
        due = and_(
            commitment.c.site == site,
            commitment.c.state == CommitmentState.PENDING.value,
            or_(
                commitment.c.next_attempt_at <= now,
                commitment.c.next_attempt_at > now + LONGEST_WAIT_SECONDS,  # the clock was put back
            ),
        )
        first = select(*_COLUMNS).where(due).order_by(commitment.c.next_attempt_at).limit(1)
        with self._ledger.read() as connection:
            if connection.execute(first).one_or_none() is None:
                return None
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            row = connection.execute(first).one_or_none()
            if row is None:
                return None
            connection.execute(
                update(commitment)
                .where(commitment.c.id == row.id)
                .values(next_attempt_at=until, claimed_by=worker)
            )
        return CommitmentRecord(**row._mapping)  # noqa: SLF001 — the documented way to a mapping

    def release_claims(self, site: str, live_workers: Iterable[str], *, now: float) -> int:
        """Reports that processes which are gone had begun are due now; returns how many."""
        with self._ledger.begin() as connection:
            result = connection.execute(
                update(commitment)
                .where(
                    commitment.c.site == site,
                    commitment.c.state == CommitmentState.PENDING.value,
                    commitment.c.claimed_by.is_not(None),
                    commitment.c.claimed_by.not_in(list(live_workers)),
                )
                .values(claimed_by=None, next_attempt_at=now)
            )
            return int(result.rowcount)

    def references(self, commitment_id: int) -> list[Reference]:
        """What a request names, in its order."""
        with self._ledger.read() as connection:
            return self._references(connection, commitment_id)

    def contents(self, site: str, sop_instance_uids: Collection[str]) -> dict[str, list[RecordedContent]]:
        """Everything that is recorded under these UIDs."""
        wanted = sorted(set(sop_instance_uids))
        found: dict[str, list[RecordedContent]] = {}
        columns = [instance.c[name] for name in RecordedContent.__dataclass_fields__]
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), _UIDS_A_QUERY):
                some = instance.c.sop_instance_uid.in_(wanted[first : first + _UIDS_A_QUERY])
                rows = connection.execute(
                    select(instance.c.sop_instance_uid, *columns).where(instance.c.site == site, some)
                )
                for uid, *values in rows:
                    found.setdefault(uid, []).append(RecordedContent(*values))
        return found

    def unrecorded_senders(self, site: str, *, before: float, but_of: str) -> int:
        """Associations of other processes than `but_of` that began before `before` and have not ended.

        What they brought may not be recorded yet.
        """
        query = (
            select(func.count())
            .select_from(association)
            .where(
                association.c.site == site,
                association.c.closed_at.is_(None),
                association.c.opened_at <= before,
                association.c.worker != but_of,
            )
        )
        with self._ledger.read() as connection:
            return int(connection.execute(query).scalar_one())

    def reported(self, commitment_id: int, *, committed: int, failed: int, now: float) -> None:
        """The requester has confirmed its report."""
        self._set(commitment_id, state=CommitmentState.REPORTED.value, committed=committed, failed=failed,
                  reported_at=now, claimed_by=None, problem="")  # fmt: skip
        ended = select(commitment.c.id).where(
            commitment.c.state != CommitmentState.PENDING.value,
            commitment.c.requested_at < now - KEEP_REFERENCES_SECONDS,
        )
        with self._ledger.begin() as connection:
            connection.execute(
                delete(commitment_reference).where(commitment_reference.c.commitment_id.in_(ended))
            )

    def undelivered(self, commitment_id: int, problem: str, *, attempts: int, again_at: float | None) -> None:
        """A report failed; it is sent again at `again_at`, or given up where that is None."""
        state = CommitmentState.GIVEN_UP if again_at is None else CommitmentState.PENDING
        self._set(commitment_id, state=state.value, attempts=attempts, next_attempt_at=again_at or 0.0,
                  claimed_by=None, problem=problem)  # fmt: skip

    def postpone(self, site: str, calling_ae: str, until: float) -> None:
        """No report to this requester before `until`: it was just found unreachable."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(commitment)
                .where(
                    commitment.c.site == site,
                    commitment.c.calling_ae == calling_ae,
                    commitment.c.state == CommitmentState.PENDING.value,
                    commitment.c.claimed_by.is_(None),
                    commitment.c.next_attempt_at < until,
                )
                .values(next_attempt_at=until)
            )

    def totals(self) -> dict[str, int]:
        """How many requests are in which state."""
        with self._ledger.read() as connection:
            rows = connection.execute(select(commitment.c.state, func.count()).group_by(commitment.c.state))
            return {str(state): int(count) for state, count in rows}

    def undelivered_reports(self, limit: int = 50) -> Sequence[UndeliveredCommitment]:
        """Reports that were given up or failed at least once, newest first."""
        query = (
            select(commitment)
            .where(
                or_(
                    commitment.c.state == CommitmentState.GIVEN_UP.value,
                    and_(commitment.c.state == CommitmentState.PENDING.value, commitment.c.attempts > 0),
                )
            )
            .order_by(commitment.c.requested_at.desc())
            .limit(limit)
        )
        with self._ledger.read() as connection:
            return [
                UndeliveredCommitment(
                    row.calling_ae, CommitmentState(row.state), row.requested_at, row.attempts, row.problem
                )
                for row in connection.execute(query)
            ]

    def _references(self, connection: Any, commitment_id: int) -> list[Reference]:
        rows = connection.execute(
            select(commitment_reference)
            .where(commitment_reference.c.commitment_id == commitment_id)
            .order_by(commitment_reference.c.number)
        )
        return [Reference(row.sop_class_uid, row.sop_instance_uid) for row in rows]

    def _set(self, commitment_id: int, **values: Any) -> None:
        with self._ledger.begin() as connection:
            connection.execute(update(commitment).where(commitment.c.id == commitment_id).values(**values))
