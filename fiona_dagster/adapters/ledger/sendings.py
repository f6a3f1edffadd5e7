"""What is on its way to archives: the queue by transfer and destination, and what became of each instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, bindparam, func, insert, or_, select, update

from fiona_dagster.adapters.ledger.delivery_schema import parcel, sending, sending_peer, sent_instance
from fiona_dagster.adapters.ledger.notices import tell_again
from fiona_dagster.adapters.ledger.schema import audit, study, transfer, transition
from fiona_dagster.domain.forwarding import SendingState, SentState
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.transfer import GIVEN_UP, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger
    from fiona_dagster.domain.transfer import Transfer

_OPEN = (TransferState.REQUESTED.value, TransferState.HELD.value, TransferState.FAILED.value)
_QUEUED = (SendingState.WAITING.value, SendingState.FAILED.value)


@dataclass(frozen=True)
class Sending:
    """One transfer to one destination. `next_at`, `changed_at` in seconds since the epoch."""

    study_key: StudyKey
    project: str
    transfer_id: int
    destination: str
    name: str
    state: SendingState
    attempts: int
    next_at: float
    reason: str
    total: int
    confirmed: int
    confirmed_by: str
    changed_at: float


@dataclass(frozen=True)
class SentInstance:
    """What became of one copy at one destination."""

    sop_instance_uid: str
    state: SentState
    status: int | None = None
    problem: str = ""
    retry: bool = False
    sent_as: str = ""


_COLUMNS = [
    transfer.c.study_key, transfer.c.project,
    *(sending.c[name] for name in Sending.__dataclass_fields__ if name not in ("study_key", "project")),
]  # fmt: skip


class Sendings:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def enter(
        self, mine: Transfer, destinations: Iterable[tuple[str, str]], *, revision: int, now: float
    ) -> None:
        """Queue a transfer for its destinations (how the ledger and the project call them).

        What a person asked for anew waits again, cancelled or not; what was cancelled stays so otherwise.
        """
        with self._ledger.begin() as connection:
            for destination, name in sorted(
                destinations
            ):  # two at once in one order wait for each other at most
                fresh: dict[str, Any] = {
                    "state": SendingState.WAITING.value, "generation": mine.generation, "revision": revision,
                    "reason": "", "changed_at": now, "next_at": 0.0, "name": name,
                }  # fmt: skip
                here = and_(sending.c.transfer_id == mine.id, sending.c.destination == destination)
                connection.execute(
                    self._ledger.insert_ignoring(sending),
                    {"transfer_id": mine.id, "destination": destination, **fresh},
                )
                asked_anew = sending.c.generation < mine.generation
                late = and_(sending.c.revision < revision, sending.c.state != SendingState.CANCELLED.value)
                connection.execute(
                    update(sending).where(here, or_(asked_anew, late)).values(**fresh, cancelled_by="")
                )

    def of_transfer(self, transfer_id: int) -> dict[str, Sending]:
        """Where a transfer stands with each destination."""
        return {one.destination: one for one in self._rows(sending.c.transfer_id == transfer_id)}

    def queue(
        self, states: Collection[SendingState] = (SendingState.WAITING, SendingState.FAILED)
    ) -> list[Sending]:
        """What waits or needs a person, oldest first, without transfers that were given up; and what ended, if `states`
        ask for it, of all that were not taken back.
        """
        due = and_(transfer.c.state.in_(_OPEN), ~transfer.c.reason.startswith(GIVEN_UP))
        ended = and_(sending.c.state.not_in(_QUEUED), transfer.c.state != TransferState.RETIRED.value)
        return self._rows(sending.c.state.in_([one.value for one in states]), or_(due, ended))

    def _rows(self, *where: Any) -> list[Sending]:
        query = select(*_COLUMNS).join(transfer, transfer.c.id == sending.c.transfer_id).where(*where)
        with self._ledger.read() as connection:
            found = connection.execute(query.order_by(sending.c.changed_at, sending.c.transfer_id))
            return [_sending(row) for row in found]

    def settle(
        self, transfer_id: int, destination: str, state: SendingState, *, now: float, reason: str = "",
        total: int = 0, confirmed: int = 0, confirmed_by: str = "",
    ) -> None:  # fmt: skip
        """An attempt has ended. What still waits is due when the sensors say so, unless its destination is left alone.

        What a person cancelled in the meantime stays cancelled.
        """
        here = and_(sending.c.transfer_id == transfer_id, sending.c.destination == destination)
        not_cancelled = sending.c.state != SendingState.CANCELLED.value
        with self._ledger.begin() as connection:
            connection.execute(
                update(sending).where(here, not_cancelled).values(
                    state=state.value, reason=reason, changed_at=now, attempts=sending.c.attempts + 1, next_at=0.0,
                    total=total, confirmed=confirmed, confirmed_by=confirmed_by,
                )
            )  # fmt: skip

    def postpone(self, transfer_id: int, destination: str, *, until: float) -> None:
        """A destination is left alone, so that this transfer was not tried; `until` in seconds since the epoch."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(sending)
                .where(sending.c.transfer_id == transfer_id, sending.c.destination == destination,
                       sending.c.state == SendingState.WAITING.value)
                .values(next_at=until)
            )  # fmt: skip

    def note_instances(
        self, transfer_id: int, destination: str, found: Iterable[SentInstance], *, now: float, sent: bool
    ) -> None:
        """What became of instances; `sent`: this was an attempt, not a question.

        A confirmation keeps what was said when it was sent: a Warning, and in what it was sent.
        """
        rows = [
            {
                "of_uid": one.sop_instance_uid, "state": one.state.value, "status": one.status,
                "problem": one.problem, "retry": one.retry, "sent_as": one.sent_as, "at": now,
            }
            for one in sorted(found, key=lambda one: one.sop_instance_uid)  # as in `enter`
        ]  # fmt: skip
        if not rows:
            return
        fresh = [
            {"transfer_id": transfer_id, "destination": destination, "sop_instance_uid": row["of_uid"],
             "state": row["state"], "at": now, "attempts": 0}
            for row in rows
        ]  # fmt: skip
        values: dict[str, Any] = {"state": bindparam("state"), "at": bindparam("at")}
        if sent:
            values |= {name: bindparam(name) for name in ("status", "problem", "retry", "sent_as")}
            values["attempts"] = sent_instance.c.attempts + 1
        wanted = {"of_uid", *(name for name in values if name != "attempts")}
        with self._ledger.begin() as connection:
            connection.execute(self._ledger.insert_ignoring(sent_instance), fresh)
            connection.execute(
                update(sent_instance)
                .where(
                    sent_instance.c.transfer_id == transfer_id,
                    sent_instance.c.destination == destination,
                    sent_instance.c.sop_instance_uid == bindparam("of_uid"),
                )
                .values(**values),
                [{name: row[name] for name in wanted} for row in rows],
            )

    def instances(self, transfer_id: int, destination: str) -> list[SentInstance]:
        """What became of each copy of a transfer at a destination."""
        query = select(*(sent_instance.c[name] for name in SentInstance.__dataclass_fields__)).where(
            sent_instance.c.transfer_id == transfer_id, sent_instance.c.destination == destination
        )
        with self._ledger.read() as connection:
            return [
                SentInstance(**{**row._mapping, "state": SentState(row.state)})  # noqa: SLF001 — the documented way
                for row in connection.execute(query.order_by(sent_instance.c.sop_instance_uid))
            ]

    def problems(self, transfer_id: int, destination: str) -> dict[str, int]:
        """Warnings and failures of single instances by text, with how many have it."""
        return dict(Counter(one.problem for one in self.instances(transfer_id, destination) if one.problem))

    def is_cancelled(self, transfer_id: int, destination: str) -> bool:
        """Whether a person took this out of the queue."""
        query = select(sending.c.state).where(
            sending.c.transfer_id == transfer_id, sending.c.destination == destination
        )
        with self._ledger.read() as connection:
            return connection.execute(query).scalar_one_or_none() == SendingState.CANCELLED.value

    def cancel(self, transfer_id: int, destination: str, reason: str, *, who: str, now: float) -> bool:
        """A transfer does not go to a destination, by a person's decision; a run that sends it stops. Audited.

        Returns:
            Whether it was in the queue.
        """
        here = and_(sending.c.transfer_id == transfer_id, sending.c.destination == destination)
        taken = sending.c.state.in_([SendingState.WAITING.value, SendingState.FAILED.value])
        with self._ledger.begin() as connection:
            moved = connection.execute(
                update(sending).where(here, taken).values(
                    state=SendingState.CANCELLED.value, reason=reason, changed_at=now, cancelled_by=who, next_at=0.0
                )
            ).rowcount  # fmt: skip
            if not moved:
                return False
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == transfer_id)
            ).scalar_one()
            connection.execute(  # the rest of it is due now, and may be all there was to do
                update(transfer)
                .where(
                    transfer.c.id == transfer_id,
                    transfer.c.state.in_(_OPEN),
                    ~transfer.c.reason.startswith(GIVEN_UP),
                )
                .values(state=TransferState.REQUESTED.value, reason="", changed_at=now)
            )
            connection.execute(
                update(sending).where(sending.c.transfer_id == transfer_id).values(woken=sending.c.woken + 1)
            )
            connection.execute(
                insert(transition),
                {"at": now, "study_key": key, "transfer_id": transfer_id, "stage": "forwarding",
                 "outcome": "cancelled", "reason": f"{destination}: {reason}"},
            )  # fmt: skip
            connection.execute(
                insert(audit),
                {"at": now, "who": who, "action": "cancel", "subject": f"{key} {destination}: {reason}"},
            )
        return True

    def retry(self, transfer_id: int, destination: str, *, who: str, now: float) -> None:
        """Try a transfer at a destination again, now: what failed or was cancelled waits again. Audited."""
        here = and_(sending.c.transfer_id == transfer_id, sending.c.destination == destination)
        with self._ledger.begin() as connection:
            connection.execute(
                update(sending).where(here).values(
                    state=SendingState.WAITING.value, reason="", changed_at=now, next_at=0.0, cancelled_by="",
                    woken=sending.c.woken + 1,
                )
            )  # fmt: skip
            connection.execute(
                update(sending_peer)
                .where(sending_peer.c.destination == destination)
                .values(retry_at=0.0, silent_until=0.0)
            )
            connection.execute(
                update(transfer)
                .where(transfer.c.id == transfer_id)
                .values(state=TransferState.REQUESTED.value, reason="", changed_at=now)
            )
            tell_again(connection, transfer_id)
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == transfer_id)
            ).scalar_one()
            note = {"at": now, "study_key": key, "transfer_id": transfer_id, "stage": "forwarding"}
            connection.execute(insert(transition), {**note, "outcome": "requested", "reason": destination})
            connection.execute(
                insert(audit), {"at": now, "who": who, "action": "retry", "subject": f"{key} {destination}"}
            )


def rests(now: float) -> Any:
    """Whether, for a row of `transfer` joined to `study`, all that is left to do waits for a later time."""
    left = (
        sending.c.transfer_id == transfer.c.id,
        sending.c.generation == transfer.c.generation,
        sending.c.revision == study.c.revision,
        sending.c.state == SendingState.WAITING.value,
    )
    later = select(sending.c.transfer_id).where(*left, sending.c.next_at > now).exists()
    due = select(sending.c.transfer_id).where(*left, sending.c.next_at <= now).exists()
    return and_(later, ~due)


def wakes() -> Any:
    """For a row of `transfer`: how often something came back that it waited for, so that its work has a new name."""
    archives = select(func.coalesce(func.sum(sending.c.woken), 0)).where(
        sending.c.transfer_id == transfer.c.id
    )
    packages = select(func.coalesce(func.sum(parcel.c.woken), 0)).where(parcel.c.transfer_id == transfer.c.id)
    return archives.correlate(transfer).scalar_subquery() + packages.correlate(transfer).scalar_subquery()


def _sending(row: Row[Any]) -> Sending:
    values = {**row._mapping, "state": SendingState(row.state), "study_key": StudyKey(row.study_key)}  # noqa: SLF001
    return Sending(**values)
