"""Packages on their way: one export of a transfer to one destination, which a person can cancel or have tried again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, insert, or_, select, tuple_, update

from fiona_dagster.adapters.ledger.deliveries import DELIVERY_FAILED
from fiona_dagster.adapters.ledger.delivery_schema import parcel, sending, sending_peer
from fiona_dagster.adapters.ledger.notices import tell_again
from fiona_dagster.adapters.ledger.schema import audit, transfer, transition
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger
    from fiona_dagster.domain.transfer import Transfer

NOT_WANTED = "the project does not ask for it any more"
_QUEUED = (SendingState.WAITING.value, SendingState.FAILED.value)


@dataclass(frozen=True)
class Parcel:
    """One export of a transfer to one destination, blank where it stays in the outbox. `changed_at` since the epoch.

    `name` and `size_bytes` of its package are known once it was `begun`: something of it may lie at the destination.
    What nobody cancelled, and is cancelled all the same, the project asks for no more.
    """

    study_key: StudyKey
    project: str
    transfer_id: int
    destination: str
    export: str
    state: SendingState
    attempts: int
    reason: str
    changed_at: float
    name: str
    size_bytes: int
    begun: bool
    cancelled_by: str

    @property
    def is_due(self) -> bool:
        """Whether trying it again means anything: it is not there, and the project asks for it."""
        no_more = self.state is SendingState.CANCELLED and not self.cancelled_by
        return self.state is not SendingState.CONFIRMED and not no_more

    @property
    def place(self) -> str:
        """Where it goes, for people."""
        return self.destination or "the outbox"


_COLUMNS = [
    transfer.c.study_key, transfer.c.project,
    *(parcel.c[name] for name in Parcel.__dataclass_fields__ if name not in ("study_key", "project")),
]  # fmt: skip


class Parcels:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def enter(
        self, mine: Transfer, wanted: Iterable[tuple[str, str]], *, revision: int, now: float
    ) -> list[Parcel]:
        """Queue the exports of a transfer (destination, export), and return how each of them stands.

        What a person asked for anew waits again, cancelled or not; what was cancelled stays so otherwise. What the
        project asks for no more is taken out.
        """
        asked = sorted(set(wanted))  # two at once in one order wait for each other at most
        of_mine = parcel.c.transfer_id == mine.id
        fresh: dict[str, Any] = {
            "state": SendingState.WAITING.value, "generation": mine.generation, "revision": revision,
            "reason": "", "changed_at": now,
        }  # fmt: skip
        with self._ledger.begin() as connection:
            for destination, export in asked:
                here = {"transfer_id": mine.id, "destination": destination, "export": export}
                connection.execute(self._ledger.insert_ignoring(parcel), {**here, **fresh})
                by_nobody = and_(parcel.c.state == SendingState.CANCELLED.value, parcel.c.cancelled_by == "")
                late = and_(parcel.c.revision < revision, parcel.c.state != SendingState.CANCELLED.value)
                again = or_(parcel.c.generation < mine.generation, late, by_nobody)
                connection.execute(
                    update(parcel)
                    .where(of_mine, parcel.c.destination == destination, parcel.c.export == export, again)
                    .values(**fresh, cancelled_by="")
                )
            gone = tuple_(parcel.c.destination, parcel.c.export).not_in(asked)
            connection.execute(
                update(parcel)
                .where(of_mine, gone, parcel.c.state.in_(_QUEUED))
                .values(
                    state=SendingState.CANCELLED.value, reason=NOT_WANTED, cancelled_by="", changed_at=now
                )
            )
        return self.of_transfer(mine.id)

    def of_transfer(self, transfer_id: int) -> list[Parcel]:
        """Every package of a transfer that was ever queued."""
        return self._rows(parcel.c.transfer_id == transfer_id)

    def queue(
        self, states: Collection[SendingState] = (SendingState.WAITING, SendingState.FAILED)
    ) -> list[Parcel]:
        """What waits or needs a person, oldest first, of transfers whose packages are due or failed; and what ended, if
        `states` ask for it, of all that were not taken back.
        """
        failed = and_(
            transfer.c.state == TransferState.FAILED.value, transfer.c.reason.startswith(DELIVERY_FAILED)
        )
        ended = and_(parcel.c.state.not_in(_QUEUED), transfer.c.state != TransferState.RETIRED.value)
        return self._rows(
            parcel.c.state.in_([one.value for one in states]),
            or_(transfer.c.state == TransferState.FORWARDED.value, failed, ended),
        )

    def _rows(self, *where: Any) -> list[Parcel]:
        query = select(*_COLUMNS).join(transfer, transfer.c.id == parcel.c.transfer_id).where(*where)
        order = (parcel.c.changed_at, parcel.c.transfer_id, parcel.c.destination, parcel.c.export)
        with self._ledger.read() as connection:
            return [_parcel(row) for row in connection.execute(query.order_by(*order))]

    def cancelled(self, *, before: float) -> list[Parcel]:
        """Packages of which something may be left somewhere, that were cancelled before `before` (since the epoch).
        What is left of a transfer that was taken back is the retirement's.
        """
        return self._rows(
            parcel.c.state == SendingState.CANCELLED.value, parcel.c.name != "",
            parcel.c.changed_at <= before, transfer.c.state != TransferState.RETIRED.value,
        )  # fmt: skip

    def built(self, some: Iterable[Parcel], name: str, size_bytes: int) -> None:
        """Their package lies in the outbox. What was begun under another name keeps that, until it is cleared up."""
        with self._ledger.begin() as connection:
            for one in some:
                connection.execute(
                    update(parcel)
                    .where(_of(one), parcel.c.begun.is_(False))
                    .values(name=name, size_bytes=size_bytes)
                )

    def begin(self, one: Parcel, name: str, size_bytes: int) -> None:
        """It is about to be sent: noted before, so that a crash leaves nothing anywhere that nobody knows of."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(parcel).where(_of(one)).values(name=name, size_bytes=size_bytes, begun=True)
            )

    def taken_back(self, transfer_id: int, destination: str, name: str) -> None:
        """Nothing of a package lies at the destination any more."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(parcel)
                .where(parcel.c.transfer_id == transfer_id, parcel.c.destination == destination,
                       parcel.c.name == name)
                .values(begun=False)
            )  # fmt: skip

    def settle(self, one: Parcel, state: SendingState, *, now: float, reason: str = "") -> None:
        """An attempt has ended. What a person cancelled in the meantime stays cancelled."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(parcel)
                .where(_of(one), parcel.c.state != SendingState.CANCELLED.value)
                .values(state=state.value, reason=reason, changed_at=now, attempts=parcel.c.attempts + 1)
            )

    def is_taken_out(self, one: Parcel) -> bool:
        """Whether a person cancelled it, or took the whole transfer back."""
        query = (
            select(parcel.c.state, transfer.c.state.label("of_transfer"))
            .join(transfer, transfer.c.id == parcel.c.transfer_id)
            .where(_of(one))
        )
        with self._ledger.read() as connection:
            row = connection.execute(query).one()
        return row.state == SendingState.CANCELLED.value or row.of_transfer == TransferState.RETIRED.value

    def notes(self, transfer_id: int, *, so_far: str = "") -> str:
        """What somebody should know of a transfer whose images are where they belong: of its archives (`so_far` where
        the queue knows none), and which packages a person held back.
        """
        with self._ledger.read() as connection:
            return _notes(connection, transfer_id, so_far)

    def cancel(self, one: Parcel, reason: str, *, who: str, now: float) -> bool:
        """A package does not go to a destination, by a person's decision; a run that sends it stops. Audited.

        Returns:
            Whether it was in the queue.
        """
        with self._ledger.begin() as connection:
            moved = connection.execute(
                update(parcel).where(_of(one), parcel.c.state.in_(_QUEUED)).values(
                    state=SendingState.CANCELLED.value, reason=reason, changed_at=now, cancelled_by=who
                )
            ).rowcount  # fmt: skip
            if not moved:
                return False
            self._go_on(connection, one, now=now)  # the rest of it is due now, and may be all there was to do
            self._note(
                connection, one, "cancelled", f"{one.export} to {one.place}: {reason}", who=who, now=now
            )
        return True

    def retry(self, one: Parcel, peer: str, *, who: str, now: float) -> None:
        """Try a package at a destination again, now: what failed or was cancelled waits again. Audited.

        Args:
            one: the package.
            peer: what may be left alone at present, see `destinations.key_of`; blank: nothing.
            who: the person's login name.
            now: seconds since the epoch.
        """
        with self._ledger.begin() as connection:
            connection.execute(
                update(parcel)
                .where(_of(one))
                .values(state=SendingState.WAITING.value, reason="", changed_at=now, cancelled_by="")
            )
            connection.execute(
                update(sending_peer).where(sending_peer.c.destination == peer).values(retry_at=0.0)
            )
            self._go_on(connection, one, now=now, delivered=True)
            self._note(connection, one, "requested", f"{one.export} to {one.place}", who=who, now=now)

    def _go_on(self, connection: Connection, one: Parcel, *, now: float, delivered: bool = False) -> None:
        """Its transfer has work again, under a new name, so that the back-off of earlier runs does not count."""
        mine = transfer.c.id == one.transfer_id
        stopped = and_(
            transfer.c.state == TransferState.FAILED.value, transfer.c.reason.startswith(DELIVERY_FAILED)
        )
        done = transfer.c.state == TransferState.DELIVERED.value
        connection.execute(
            update(transfer)
            .where(mine, or_(stopped, done) if delivered else stopped)
            .values(
                state=TransferState.FORWARDED.value,
                reason=_notes(connection, one.transfer_id),
                changed_at=now,
            )
        )
        connection.execute(
            update(parcel).where(parcel.c.transfer_id == one.transfer_id).values(woken=parcel.c.woken + 1)
        )
        tell_again(connection, one.transfer_id)

    def _note(
        self, connection: Connection, one: Parcel, outcome: str, what: str, *, who: str, now: float
    ) -> None:
        note = {"at": now, "study_key": one.study_key, "transfer_id": one.transfer_id, "stage": "delivery"}
        connection.execute(insert(transition), {**note, "outcome": outcome, "reason": what})
        action = "cancel" if outcome == "cancelled" else "retry"
        subject = f"{one.study_key} package {what}"
        connection.execute(insert(audit), {"at": now, "who": who, "action": action, "subject": subject})


def _of(one: Parcel) -> Any:
    return and_(
        parcel.c.transfer_id == one.transfer_id,
        parcel.c.destination == one.destination,
        parcel.c.export == one.export,
    )


def _notes(connection: Connection, transfer_id: int, so_far: str = "") -> str:
    held_back = SendingState.CANCELLED.value
    archives = connection.execute(
        select(sending.c.state, sending.c.destination, sending.c.reason)
        .where(sending.c.transfer_id == transfer_id)
        .order_by(sending.c.destination)
    ).all()
    notes = [so_far] if so_far and not archives else []
    notes += [one.reason for one in archives if one.state == SendingState.CONFIRMED.value and one.reason]
    notes += [
        f"not sent to {one.destination}, by a person's decision" for one in archives if one.state == held_back
    ]
    packages = connection.execute(
        select(parcel.c.destination, parcel.c.export)
        .where(parcel.c.transfer_id == transfer_id, parcel.c.state == held_back, parcel.c.cancelled_by != "")
        .order_by(parcel.c.destination, parcel.c.export)
    )
    notes += [
        f"package {one.export} not sent to {one.destination or 'the outbox'}, by a person's decision"
        for one in packages
    ]
    return "; ".join(notes)


def _parcel(row: Row[Any]) -> Parcel:
    values = {**row._mapping, "state": SendingState(row.state), "study_key": StudyKey(row.study_key)}  # noqa: SLF001
    return Parcel(**values)
