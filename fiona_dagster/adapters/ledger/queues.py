"""How much work waits in the ledger, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from fiona_dagster.adapters.ledger.delivery_schema import parcel
from fiona_dagster.adapters.ledger.schema import study, transfer
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


def queues(ledger: Ledger) -> dict[str, tuple[int, float | None]]:
    """For every queue: how many studies (transfers, packages) wait in it, and since when the oldest does; and how many
    packages failed or were cancelled by a person.
    """
    arrived = study.c.instance_count == study.c.arrived_count
    arriving = select(func.count(), func.min(study.c.last_received_at)).where(~arrived)
    registration = select(func.count(), func.min(study.c.arrived_at)).where(
        arrived, study.c.registered_revision < study.c.revision, study.c.given_up_at.is_(None)
    )
    found = {"studies arriving": arriving, "studies waiting for registration": registration}
    for state in (TransferState.REQUESTED, TransferState.FORWARDED):
        found[f"transfers {state.value}"] = select(func.count(), func.min(transfer.c.changed_at)).where(
            transfer.c.state == state.value
        )
    alive = transfer.c.state.in_([TransferState.FORWARDED.value, TransferState.FAILED.value])
    packages = select(func.count(), func.min(parcel.c.changed_at)).join(transfer)
    for one in (SendingState.WAITING, SendingState.FAILED):
        found[f"packages {one.value}"] = packages.where(parcel.c.state == one.value, alive)
    held_back = and_(parcel.c.state == SendingState.CANCELLED.value, parcel.c.cancelled_by != "")
    found["packages cancelled"] = packages.where(held_back, transfer.c.state != TransferState.RETIRED.value)
    with ledger.read() as connection:
        rows = {name: connection.execute(query).one() for name, query in found.items()}
    return {name: (int(count), oldest) for name, (count, oldest) in rows.items()}
