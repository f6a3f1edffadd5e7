"""What was deleted of packages that are to go nowhere: their parts at destinations, and themselves in the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from fiona_dagster.adapters.ledger.delivery_schema import parcel
from fiona_dagster.adapters.ledger.schema import transition
from fiona_dagster.domain.forwarding import SendingState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger
    from fiona_dagster.adapters.ledger.parcels import Parcel

_STAGE, _OUTCOME = "packaging", "removed"


@dataclass(frozen=True)
class RemovedPackage:
    """When (seconds since the epoch) which package was deleted: its export, name and bytes."""

    at: float
    what: str


def note_part_gone(ledger: Ledger, one: Parcel) -> None:
    """Nothing of a cancelled package lies at its destination any more; one that was asked for again is another."""
    mine = (parcel.c.transfer_id == one.transfer_id, parcel.c.destination == one.destination,
            parcel.c.export == one.export, parcel.c.name == one.name)  # fmt: skip
    with ledger.begin() as connection:
        connection.execute(
            update(parcel).where(*mine, parcel.c.state == SendingState.CANCELLED.value).values(begun=False)
        )


def note_removed(ledger: Ledger, one: Parcel, *, now: float) -> None:
    """A package was deleted from the outbox: the study's history says so."""
    what = f"{one.export}: {one.name}, {one.size_bytes} bytes"
    with ledger.begin() as connection:
        connection.execute(
            insert(transition),
            {"at": now, "study_key": one.study_key, "transfer_id": one.transfer_id, "stage": _STAGE,
             "outcome": _OUTCOME, "reason": what},
        )  # fmt: skip


def removed_packages(ledger: Ledger, transfer_id: int) -> list[RemovedPackage]:
    """What was deleted of a transfer, oldest first."""
    query = select(transition.c.at, transition.c.reason).where(
        transition.c.transfer_id == transfer_id,
        transition.c.stage == _STAGE,
        transition.c.outcome == _OUTCOME,
    )
    with ledger.read() as connection:
        return [
            RemovedPackage(row.at, row.reason) for row in connection.execute(query.order_by(transition.c.at))
        ]
