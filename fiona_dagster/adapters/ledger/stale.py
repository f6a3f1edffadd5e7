"""Transfers of which a destination holds copies that were made by another method than the project's present one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, func, or_, select

from fiona_dagster.adapters.ledger.schema import delivery, study, transfer
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class Stale:
    """How many transfers are stale, and of how many of them the images were cleaned up: the source must send again."""

    transfers: int
    without_images: int


def stale(ledger: Ledger, project: str, method_digest: str, pacs: str, places: Collection[str]) -> Stale:
    """Count a project's stale transfers. What version 2 of the ledger delivered counts: its method is not known.

    Args:
        ledger: the account.
        project: its name.
        method_digest: of its present method.
        pacs: the research PACS, as deliveries name it.
        places: names of its destinations. What went elsewhere, to places that are no longer configured, does not count.
    """
    old = _old(project, method_digest, pacs, places).subquery()
    with ledger.read() as connection:
        row = connection.execute(
            select(func.count(old.c.id).label("found"), func.count(old.c.purged_at).label("gone"))
        ).one()
    return Stale(int(row.found), int(row.gone))


def stale_with_images(
    ledger: Ledger, project: str, method_digest: str, pacs: str, places: Collection[str]
) -> list[int]:
    """Stale transfers, by their number in the ledger, whose images are still here. Arguments as for `stale`."""
    old = _old(project, method_digest, pacs, places).where(study.c.purged_at.is_(None))
    with ledger.read() as connection:
        return sorted(int(row.id) for row in connection.execute(old))


def _old(project: str, method_digest: str, pacs: str, places: Collection[str]) -> Select[Any]:
    in_use = or_(
        and_(delivery.c.kind == "pacs", delivery.c.destination == pacs),
        and_(delivery.c.kind == "package", delivery.c.destination.in_(list(places))),
    )
    return (
        select(transfer.c.id, study.c.purged_at)
        .join(delivery, delivery.c.transfer_id == transfer.c.id)
        .join(study, study.c.key == transfer.c.study_key)
        .where(transfer.c.project == project, delivery.c.state == "confirmed", in_use)
        .where(delivery.c.method_digest != method_digest, transfer.c.state != TransferState.RETIRED.value)
        .distinct()
    )
