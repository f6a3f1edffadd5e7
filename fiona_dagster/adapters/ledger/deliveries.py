"""What destinations confirmed: the research PACS and the places that packages go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select

from fiona_dagster.adapters.ledger.schema import delivery, release, transfer, transition

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class DeliveryRecord:
    """A destination and what it said. `checksum`: MD5 of a package; `name` empty for a PACS."""

    transfer_id: int
    destination: str
    kind: Literal["pacs", "package"]
    revision: int
    state: Literal["confirmed", "failed"]
    name: str = ""
    instance_count: int = 0
    size_bytes: int = 0
    checksum: str = ""
    place: str = ""
    confirmed_at: float | None = None
    detail: str = ""


_COLUMNS = [delivery.c[name] for name in DeliveryRecord.__dataclass_fields__]


class Deliveries:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def record(
        self, record: DeliveryRecord, confirmed_copies: Sequence[str], *, now: float, run_id: str
    ) -> None:
        """Record what a destination said, with a transition for every instance that it confirmed.

        Args:
            confirmed_copies: SOP Instance UIDs of the copies.
        """
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, delivery, [asdict(record)])
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == record.transfer_id)
            ).scalar_one()
            copies = set(confirmed_copies)
            known = connection.execute(
                select(release.c.instance_id, release.c.sop_instance_uid).where(
                    release.c.transfer_id == record.transfer_id
                )
            ).all()
            stage = "forwarding" if record.kind == "pacs" else "delivery"
            notes = [
                {"at": now, "study_key": key, "transfer_id": record.transfer_id, "instance_id": row.instance_id,
                 "stage": stage, "outcome": record.state, "reason": record.destination, "run_id": run_id}
                for row in known if row.sop_instance_uid in copies
            ]  # fmt: skip
            connection.execute(
                insert(transition),
                notes or [{"at": now, "study_key": key, "transfer_id": record.transfer_id, "instance_id": None,
                           "stage": stage, "outcome": record.state, "reason": record.destination,
                           "run_id": run_id}],
            )  # fmt: skip

    def of_transfer(self, transfer_id: int) -> list[DeliveryRecord]:
        """What every destination of a transfer said last."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(*_COLUMNS)
                .where(delivery.c.transfer_id == transfer_id)
                .order_by(delivery.c.kind, delivery.c.name)
            )
            return [DeliveryRecord(**row._mapping) for row in rows]  # noqa: SLF001 — the documented way to a mapping
