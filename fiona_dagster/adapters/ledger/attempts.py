"""Attempts at a transfer: de-identifying, verifying and forwarding its study, until that ends well or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from fiona_dagster.adapters.ledger.schema import transfer, transition
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger
    from fiona_dagster.domain.transfer import Transfer

_ENDS = [one.value for one in (TransferState.FORWARDED, TransferState.HELD, TransferState.FAILED)]


@dataclass(frozen=True)
class Attempt:
    """The latest attempt at a transfer, which ended. `seconds`: from its beginning to its end."""

    run_id: str
    seconds: float


class Attempts:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(self, transfer_id: int, *, now: float) -> None:
        """The study's copies are about to be made."""
        with self._ledger.begin() as connection:
            connection.execute(update(transfer).where(transfer.c.id == transfer_id).values(begun_at=now))

    def count(self, transfer_id: int) -> None:
        """One more try at bringing the copies to the archives."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(transfer).where(transfer.c.id == transfer_id).values(attempts=transfer.c.attempts + 1)
            )

    def latest(self, one: Transfer) -> Attempt | None:
        """How the latest attempt ended; None while it goes on, and where none was made.

        What comes after it, such as the delivery of a package hours later, is not part of it.
        """
        begun = select(transfer.c.begun_at).where(transfer.c.id == one.id)
        ends = (
            select(transition.c.at, transition.c.run_id)
            .where(transition.c.study_key == one.study_key, transition.c.transfer_id == one.id,
                   transition.c.stage == "transfer", transition.c.outcome.in_(_ENDS))
            .order_by(transition.c.id)
        )  # fmt: skip
        with self._ledger.read() as connection:
            at = float(connection.execute(begun).scalar_one())
            end = connection.execute(ends.where(transition.c.at >= at).limit(1)).one_or_none() if at else None
        return None if end is None else Attempt(str(end.run_id), float(end.at) - at)
