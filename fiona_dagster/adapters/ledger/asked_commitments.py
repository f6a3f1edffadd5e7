"""Storage Commitment that we asked for: recorded before the request goes out, so that its report can come at any time,
to any process, over any Association (PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from fiona_dagster.adapters.ledger.asked_commitment_schema import asked_commitment, asked_instance
from fiona_dagster.adapters.ledger.delivery_schema import sending
from fiona_dagster.adapters.ledger.schema import transfer, transition
from fiona_dagster.domain.forwarding import SendingState, SentState
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

KEEP_SECONDS = 30 * 86_400.0
"""A report that comes later belongs to nothing that we know."""


@dataclass(frozen=True)
class Said:
    """What an archive said of copies. Times in seconds since the epoch, of the request.

    `committed` and `failed` by SOP Instance UID, the newest word of each; `awaited`: of those of which nothing was
    said since they were asked for.
    """

    committed: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, float] = field(default_factory=dict)
    awaited: Mapping[str, float] = field(default_factory=dict)


class AskedCommitments:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(
        self, transaction_uid: str, transfer_id: int, destination: str, copies: str, uids: Collection[str],
        *, now: float,
    ) -> None:  # fmt: skip
        """A request is about to be sent."""
        with self._ledger.begin() as connection:
            old = select(asked_commitment.c.transaction_uid).where(
                asked_commitment.c.requested_at < now - KEEP_SECONDS
            )
            connection.execute(delete(asked_instance).where(asked_instance.c.transaction_uid.in_(old)))
            connection.execute(
                delete(asked_commitment).where(asked_commitment.c.requested_at < now - KEEP_SECONDS)
            )
            connection.execute(
                insert(asked_commitment),
                {"transaction_uid": transaction_uid, "transfer_id": transfer_id, "destination": destination,
                 "copies": copies, "requested_at": now},
            )  # fmt: skip
            if uids:
                connection.execute(
                    insert(asked_instance),
                    [{"transaction_uid": transaction_uid, "sop_instance_uid": uid} for uid in sorted(uids)],
                )

    def forget(self, transaction_uid: str) -> None:
        """A request was refused: no report will come."""
        with self._ledger.begin() as connection:
            for table in (asked_instance, asked_commitment):
                connection.execute(delete(table).where(table.c.transaction_uid == transaction_uid))

    def report(
        self, transaction_uid: str, committed: Collection[str], failed: Mapping[str, int], *, now: float
    ) -> bool:
        """A report has come: what waits for it is due, and what it fails goes once more where it counted as there.

        Only what was asked for counts; an instance that is named as both has failed.

        Returns:
            Whether we asked for it.
        """
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            asked = connection.execute(
                select(asked_commitment).where(asked_commitment.c.transaction_uid == transaction_uid)
            ).one_or_none()
            if asked is None:
                return False
            outcomes = dict.fromkeys(committed, 0) | {uid: reason or 0x0110 for uid, reason in failed.items()}
            if outcomes:
                connection.execute(
                    update(asked_instance)
                    .where(
                        asked_instance.c.transaction_uid == transaction_uid,
                        asked_instance.c.sop_instance_uid == bindparam("of_uid"),
                    )
                    .values(outcome=bindparam("said")),
                    [{"of_uid": uid, "said": outcome} for uid, outcome in outcomes.items()],
                )
            connection.execute(
                update(asked_commitment)
                .where(asked_commitment.c.transaction_uid == transaction_uid)
                .values(reported_at=now)
            )
            here = and_(
                sending.c.transfer_id == asked.transfer_id, sending.c.destination == asked.destination
            )
            waits = sending.c.state == SendingState.WAITING.value
            connection.execute(
                update(sending).where(here, waits).values(next_at=now, woken=sending.c.woken + 1)
            )
            if any(reason for reason in outcomes.values()):
                _open_again(connection, asked, here, len(failed), now)
        return True

    def outcome(self, transaction_uid: str) -> tuple[frozenset[str], dict[str, int]] | None:
        """What a request's report said is committed, and what has failed with its reason; None until it is there."""
        with self._ledger.read() as connection:
            reported = connection.execute(
                select(asked_commitment.c.reported_at).where(
                    asked_commitment.c.transaction_uid == transaction_uid
                )
            ).scalar_one_or_none()
            if reported is None:
                return None
            rows = connection.execute(
                select(asked_instance.c.sop_instance_uid, asked_instance.c.outcome).where(
                    asked_instance.c.transaction_uid == transaction_uid,
                    asked_instance.c.outcome.is_not(None),
                )
            ).all()
        said = {str(uid): int(outcome) for uid, outcome in rows}
        failed = {uid: outcome for uid, outcome in said.items() if outcome}
        return frozenset(said.keys() - failed.keys()), failed

    def said(self, transfer_id: int, destination: str, copies: str) -> Said:
        """What an archive said of these very copies, whichever request it was."""
        query = (
            select(
                asked_instance.c.sop_instance_uid, asked_instance.c.outcome,
                asked_commitment.c.requested_at, asked_commitment.c.reported_at,
            )
            .join(asked_commitment, asked_commitment.c.transaction_uid == asked_instance.c.transaction_uid)
            .where(
                asked_commitment.c.transfer_id == transfer_id,
                asked_commitment.c.destination == destination,
                asked_commitment.c.copies == copies,
            )
            .order_by(asked_commitment.c.requested_at)
        )  # fmt: skip
        committed: dict[str, float] = {}
        failed: dict[str, float] = {}
        awaited: dict[str, float] = {}
        with self._ledger.read() as connection:
            for uid, outcome, requested_at, reported_at in connection.execute(query):
                for one in (committed, failed, awaited):
                    one.pop(uid, None)
                if outcome == 0:
                    committed[uid] = requested_at
                elif outcome is not None:
                    failed[uid] = requested_at
                elif reported_at is None:
                    awaited[uid] = requested_at
        return Said(committed, failed, awaited)


def _open_again(connection: Any, asked: Any, here: Any, count: int, now: float) -> None:
    """An archive has not what a query had let us take for stored: the transfer goes there once more."""
    confirmed = sending.c.state == SendingState.CONFIRMED.value
    moved = connection.execute(
        update(sending).where(here, confirmed).values(
            state=SendingState.WAITING.value, next_at=0.0, changed_at=now, woken=sending.c.woken + 1,
            reason=f"it reported that it does not keep {count} instance(s)",
        )
    ).rowcount  # fmt: skip
    if not moved:
        return
    done = [TransferState.FORWARDED.value, TransferState.DELIVERED.value]
    connection.execute(
        update(transfer)
        .where(transfer.c.id == asked.transfer_id, transfer.c.state.in_(done))
        .values(state=TransferState.REQUESTED.value, reason="", changed_at=now)
    )
    key = connection.execute(
        select(transfer.c.study_key).where(transfer.c.id == asked.transfer_id)
    ).scalar_one()
    connection.execute(
        insert(transition),
        {"at": now, "study_key": key, "transfer_id": asked.transfer_id, "stage": "forwarding",
         "outcome": SentState.LACKING.value,
         "reason": f"{asked.destination} reported {count} instance(s) as not committed"},
    )  # fmt: skip
