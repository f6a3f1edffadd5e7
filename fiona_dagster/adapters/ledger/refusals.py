"""What was refused at the door, summed up by site, Status and reason; no patient is known there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import func, select

from fiona_dagster.adapters.ledger.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import refusal
from fiona_dagster.domain.reception import Peer

_CALLERS = 3


@dataclass(frozen=True)
class RefusalSum:
    """`times` refused since the moment asked for, the last time at `last_at` (seconds since the epoch).

    `callers` are those that were refused most often, as a log shows them.
    """

    site: str
    status: int
    reason: str
    times: int
    last_at: float
    callers: tuple[str, ...] = ()


def refusals_since(ledger: Ledger, since: float) -> list[RefusalSum]:
    """Refusals since `since` (seconds since the epoch), most frequent first.

    Raises:
        Transient: the ledger does not answer.
    """
    kind = (refusal.c.site, refusal.c.status, refusal.c.reason)
    peer = (refusal.c.calling_ae, refusal.c.called_ae, refusal.c.address)
    times = func.sum(refusal.c.times)
    query = (
        select(*kind, *peer, times, func.max(refusal.c.at))
        .where(refusal.c.at >= since)
        .group_by(*kind, *peer)
        .order_by(times.desc(), *peer)
    )
    found: dict[tuple[str, int, str], RefusalSum] = {}
    with ledger.read() as connection:
        for site, status, reason, *caller, count, last in connection.execute(query):
            key = (str(site), int(status), str(reason))
            known = found.get(key, RefusalSum(*key, 0, 0.0))
            callers = (*known.callers, str(Peer(*caller)))[:_CALLERS]
            total = known.times + int(count)
            found[key] = replace(known, times=total, last_at=max(known.last_at, float(last)), callers=callers)
    return sorted(found.values(), key=lambda one: (-one.times, one.reason))
