"""Which studies are held: a person can only decide about what has a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from fiona_dagster.adapters.ledger.schema import release, study, transfer
from fiona_dagster.domain.transfer import GIVEN_UP, Disposition, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

MOST = 100


def held_studies(ledger: Ledger, most: int = MOST) -> dict[str, list[str]]:
    """Study keys by the reason for which instances of them, or they themselves, are held; at most `most` a reason."""
    instances = (
        select(release.c.reason, transfer.c.study_key)
        .join(transfer, transfer.c.id == release.c.transfer_id)
        .where(release.c.disposition == Disposition.HELD.value, ~transfer.c.reason.startswith(GIVEN_UP))
        .distinct()
        .order_by(release.c.reason, transfer.c.study_key)
    )
    whole = (
        select(study.c.held_reason, study.c.key)
        .where(study.c.held_reason.is_not(None), study.c.given_up_at.is_(None))
        .order_by(study.c.held_reason, study.c.key)
    )
    found: dict[str, list[str]] = {}
    with ledger.read() as connection:
        for query in (instances, whole):
            for reason, key in connection.execute(query):
                keys = found.setdefault(str(reason), [])
                if len(keys) < most and str(key) not in keys:
                    keys.append(str(key))
    return found


def stopped_transfers(ledger: Ledger, most: int = MOST) -> dict[str, list[str]]:
    """`study key (project)` of transfers that wait for a person as a whole, by their reason; at most `most` a reason.

    Their instances may be released: the copies passed verification, and cannot go on.
    """
    query = (
        select(transfer.c.state, transfer.c.reason, transfer.c.study_key, transfer.c.project)
        .where(
            transfer.c.state.in_([TransferState.HELD.value, TransferState.FAILED.value]),
            ~transfer.c.reason.startswith(GIVEN_UP),
        )
        .order_by(transfer.c.id)
    )
    found: dict[str, list[str]] = {}
    with ledger.read() as connection:
        for row in connection.execute(query):
            named = found.setdefault(f"{row.state}: {row.reason}", [])
            if len(named) < most:
                named.append(f"{row.study_key} to {row.project}")
    return found
