"""Which destinations are left alone for a while, kept where every process sees it (see `domain.breaker`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select, update

from fiona_dagster.adapters.ledger.delivery_schema import sending, sending_peer
from fiona_dagster.domain.breaker import LONGEST_SECONDS, Breaker, after_failure, probing
from fiona_dagster.domain.errors import Resting
from fiona_dagster.domain.forwarding import SendingState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


class Breakers:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def admit(self, destination: str, *, now: float) -> None:
        """Ask for an attempt at a destination; of several, one probes an open breaker.

        Raises:
            Resting: not now; says until when and why.
        """
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            breaker = _breaker(connection.execute(_peer(destination)).one_or_none())
            if not breaker.admits(now):
                wait = max(breaker.retry_at - now, 1.0)
                raise Resting(
                    f"{destination} is left alone for {wait:.0f} s: {breaker.reason}", breaker.retry_at
                )
            if breaker.retry_at:
                self._keep(connection, destination, probing(breaker, now=now))

    def failed(
        self, destination: str, transfer_id: int, *, now: float, unreachable: bool, reason: str
    ) -> Breaker:
        """An attempt at a destination failed for now. Where it is left alone after that, this transfer tries it
        again, and the others that wait for it wait to be woken by `reached`, or for long.
        """
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            breaker = _breaker(connection.execute(_peer(destination)).one_or_none())
            after = after_failure(breaker, destination, now=now, unreachable=unreachable, reason=reason)
            self._keep(connection, destination, after)
            if after.retry_at:
                mine = sending.c.transfer_id == transfer_id
                for which, until in ((mine, after.retry_at), (~mine, after.retry_at + LONGEST_SECONDS)):
                    connection.execute(
                        update(sending).where(_waits_for(destination), which).values(next_at=until)
                    )
        return after

    def reached(self, destination: str, *, now: float) -> int:
        """A destination answers: its breaker closes, and what waited for it is due at once. Returns how many."""
        with self._ledger.begin() as connection:
            breaker = _breaker(connection.execute(_peer(destination)).one_or_none())
            if not breaker.failures:
                return 0
            self._keep(connection, destination, Breaker())
            return connection.execute(
                update(sending)
                .where(_waits_for(destination), sending.c.next_at > now)
                .values(next_at=now, woken=sending.c.woken + 1)
            ).rowcount

    def open(self) -> dict[str, Breaker]:
        """The destinations that failed last."""
        with self._ledger.read() as connection:
            rows = connection.execute(select(sending_peer).where(sending_peer.c.failures > 0)).all()
        return {str(row.destination): _breaker(row) for row in rows}

    def silent(self, destination: str, *, now: float) -> bool:
        """Whether a destination owes reports of Storage Commitment, so that it is not asked for any now."""
        with self._ledger.read() as connection:
            row = connection.execute(_peer(destination)).one_or_none()
        return row is not None and row.silent_until > now

    def note_silent(self, destination: str, *, until: float) -> None:
        """A destination sent no report of Storage Commitment."""
        with self._ledger.begin() as connection:
            self._make(connection, destination)
            connection.execute(
                update(sending_peer)
                .where(sending_peer.c.destination == destination)
                .values(silent_until=until)
            )

    def _make(self, connection: Any, destination: str) -> None:
        connection.execute(self._ledger.insert_ignoring(sending_peer), {"destination": destination})

    def _keep(self, connection: Any, destination: str, breaker: Breaker) -> None:
        self._make(connection, destination)
        connection.execute(
            update(sending_peer)
            .where(sending_peer.c.destination == destination)
            .values(failures=breaker.failures, retry_at=breaker.retry_at, reason=breaker.reason)
        )


def _peer(destination: str) -> Any:
    return select(sending_peer).where(sending_peer.c.destination == destination)


def _breaker(row: Any) -> Breaker:
    return Breaker() if row is None else Breaker(row.failures, row.retry_at, row.reason)


def _waits_for(destination: str) -> Any:
    return and_(sending.c.destination == destination, sending.c.state == SendingState.WAITING.value)
