"""What destinations confirmed: the research PACS and the places that packages go to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select

from fiona_dagster.adapters.ledger.schema import delivery, release, sent_copy, transfer, transition

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


_UIDS_A_QUERY = 500
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

    def note_sending(
        self, transfer_id: int, destination: str, identity: str, copies: Collection[str], *, now: float
    ) -> None:
        """Note what a PACS is about to be given, before it is: a crash in between leaves no copy of unknown origin."""
        facts = {"destination": destination, "identity": identity, "transfer_id": transfer_id, "at": now}
        rows = [{"sop_instance_uid": uid, **facts} for uid in copies]
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, sent_copy, rows)

    def sent_identities(self, destination: str, copies: Collection[str]) -> dict[str, str]:
        """For whom each copy was made that a PACS was given, by SOP Instance UID."""
        wanted, found = sorted(copies), {}
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), _UIDS_A_QUERY):
                rows = connection.execute(
                    select(sent_copy.c.sop_instance_uid, sent_copy.c.identity).where(
                        sent_copy.c.destination == destination,
                        sent_copy.c.sop_instance_uid.in_(wanted[first : first + _UIDS_A_QUERY]),
                    )
                )
                found.update({row.sop_instance_uid: row.identity for row in rows})
        return found

    def of_transfer(self, transfer_id: int) -> list[DeliveryRecord]:
        """What every destination of a transfer said last."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(*_COLUMNS)
                .where(delivery.c.transfer_id == transfer_id)
                .order_by(delivery.c.kind, delivery.c.name)
            )
            return [DeliveryRecord(**row._mapping) for row in rows]  # noqa: SLF001 — the documented way to a mapping
