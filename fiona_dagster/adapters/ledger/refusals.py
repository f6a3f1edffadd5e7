"""What was refused at the door, summed up by site, Status and reason: no caller is named, no patient known."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from fiona_dagster.adapters.ledger.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import refusal


@dataclass(frozen=True)
class RefusalSum:
    """`times` refused since the moment asked for, the last time at `last_at` (seconds since the epoch)."""

    site: str
    status: int
    reason: str
    times: int
    last_at: float


def refusals_since(ledger: Ledger, since: float) -> list[RefusalSum]:
    """Refusals since `since` (seconds since the epoch), most frequent first.

    Raises:
        Transient: the ledger does not answer.
    """
    times = func.sum(refusal.c.times)
    query = (
        select(refusal.c.site, refusal.c.status, refusal.c.reason, times, func.max(refusal.c.at))
        .where(refusal.c.at >= since)
        .group_by(refusal.c.site, refusal.c.status, refusal.c.reason)
        .order_by(times.desc(), refusal.c.reason)
    )
    with ledger.read() as connection:
        return [
            RefusalSum(str(site), int(status), str(reason), int(count), float(last))
            for site, status, reason, count, last in connection.execute(query)
        ]
