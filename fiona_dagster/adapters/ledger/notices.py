"""Which transfers stopped or were delivered that a channel was not told of yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from sqlalchemy import String, and_, cast, func, or_, select

from fiona_dagster.adapters.ledger.notice_schema import notice
from fiona_dagster.adapters.ledger.schema import release, transfer
from fiona_dagster.domain.notification import Event
from fiona_dagster.domain.transfer import Disposition, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

STOPPED = (TransferState.HELD, TransferState.FAILED)
DELIVERED = (TransferState.DELIVERED,)
_STANDING = (
    transfer.c.state
    + ":"
    + cast(transfer.c.generation, String)
    + ":"
    + cast(transfer.c.packaged_revision, String)
)
"""What a channel is told about, in a word: when it changes, it is told again."""


class Notices:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def untold(
        self, channel: str, states: Collection[TransferState], limit: int = 1000
    ) -> list[tuple[Event, str]]:
        """Transfers in these states that the channel was not told of as they stand, with their standing."""
        released = (
            select(func.count())
            .where(
                release.c.transfer_id == transfer.c.id, release.c.disposition == Disposition.RELEASED.value
            )
            .correlate(transfer)
            .scalar_subquery()
        )
        query = (
            select(transfer.c.id, transfer.c.study_key, transfer.c.project, transfer.c.state, transfer.c.reason,
                   released.label("instances"), _STANDING.label("standing"))
            .outerjoin(notice, and_(notice.c.transfer_id == transfer.c.id, notice.c.channel == channel))
            .where(transfer.c.state.in_([one.value for one in states]))
            .where(or_(notice.c.standing.is_(None), notice.c.standing != _STANDING))
            .order_by(transfer.c.id)
            .limit(limit)
        )  # fmt: skip
        with self._ledger.read() as connection:
            return [
                (Event(row.id, row.study_key, row.project, row.state, row.reason, int(row.instances)), row.standing)
                for row in connection.execute(query)
            ]  # fmt: skip

    def told(self, channel: str, told: Iterable[tuple[Event, str]], *, now: float) -> None:
        """The channel took a notice about these transfers as they stood."""
        rows = [
            {"transfer_id": event.transfer_id, "channel": channel, "standing": standing, "at": now}
            for event, standing in told
        ]
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, notice, rows)
