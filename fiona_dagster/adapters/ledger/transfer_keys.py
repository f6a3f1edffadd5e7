"""Which of a project's keys makes the copies of a transfer: the one that its participant was begun under."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select, update

from fiona_dagster.adapters.ledger.schema import transfer, transition

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


def settle_key(ledger: Ledger, transfer_id: int, active: str, active_at: Callable[[float], str]) -> str:
    """The id of a transfer's key, which is settled for ever when it is asked for first.

    It is that of the participant's earliest transfer into the project, else that of the study's, else the active one:
    late images and later studies get the UIDs and the date shift of those that went before them.

    Args:
        ledger: where it is recorded.
        transfer_id: of the transfer.
        active: id of the project's active key.
        active_at: the id of the key that was active at a time. Ledgers of version 2 did not record keys, and copies
            were made by the active one.
    """
    with ledger.begin() as connection:
        ledger.wait_for_turn(connection)  # two studies of a new participant settle one after the other
        mine = connection.execute(
            select(transfer.c.project, transfer.c.participant, transfer.c.study_key, transfer.c.key_id).where(
                transfer.c.id == transfer_id
            )
        ).one()
        if mine.key_id:
            return str(mine.key_id)
        began = (
            select(func.min(transition.c.at))
            .where(transition.c.transfer_id == transfer.c.id, transition.c.stage == "deidentification")
            .correlate(transfer)
            .scalar_subquery()
        )
        kin = or_(transfer.c.participant == mine.participant, transfer.c.study_key == mine.study_key)
        rows = connection.execute(
            select(transfer.c.participant, transfer.c.key_id, began.label("began"))
            .where(transfer.c.project == mine.project, kin)
            .order_by(transfer.c.id != transfer_id, transfer.c.id)
        ).all()
        begun = [row for row in rows if row.key_id or row.began is not None]
        first = next((row for row in begun if row.participant == mine.participant), None) or next(
            iter(begun), None
        )
        chosen = active if first is None else first.key_id or active_at(float(first.began))
        connection.execute(update(transfer).where(transfer.c.id == transfer_id).values(key_id=chosen))
        return chosen
