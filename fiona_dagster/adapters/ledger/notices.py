"""Which transfers stopped or were delivered, and which approvals end, that a channel was not told of yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, String, and_, cast, delete, func, or_, select

from fiona_dagster.adapters.ledger.notice_schema import approval_told, notice
from fiona_dagster.adapters.ledger.project_schema import project_notice
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


def tell_again(connection: Connection, transfer_id: int) -> None:
    """What becomes of a transfer from now on is news, also where it ends as it did before."""
    connection.execute(delete(notice).where(notice.c.transfer_id == transfer_id))


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

    def untold_approvals(self, channel: str, *, since: float) -> list[tuple[str, str, int]]:
        """Project, end of the approval and threshold in days of notices that were noted `since` then (seconds since
        the epoch) and that the channel was not told of; of a project the newest alone.
        """
        told = and_(
            approval_told.c.project == project_notice.c.project,
            approval_told.c.approval_ends == project_notice.c.approval_ends,
            approval_told.c.days == project_notice.c.days,
            approval_told.c.channel == channel,
        )
        query = (
            select(project_notice.c.project, project_notice.c.approval_ends, project_notice.c.days,
                   approval_told.c.at.label("told"))
            .outerjoin(approval_told, told)
            .where(project_notice.c.at >= since)
            .order_by(project_notice.c.at, project_notice.c.days.desc())
        )  # fmt: skip
        with self._ledger.read() as connection:
            newest = {row.project: row for row in connection.execute(query)}
        return [
            (row.project, row.approval_ends, int(row.days))
            for _, row in sorted(newest.items())
            if row.told is None
        ]

    def approvals_told(self, channel: str, told: Iterable[tuple[str, str, int]], *, now: float) -> None:
        """The channel took a notice of these thresholds."""
        rows = [
            {"project": project, "approval_ends": ends, "days": days, "channel": channel, "at": now}
            for project, ends, days in told
        ]
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, approval_told, rows)
