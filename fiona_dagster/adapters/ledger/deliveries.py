"""What destinations confirmed: the research PACS and the places that packages go to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Row, and_, bindparam, insert, or_, select, update

from fiona_dagster.adapters.ledger.schema import delivery, release, sent_copy, transfer, transition
from fiona_dagster.domain.forwarding import GivenCopy
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


@dataclass(frozen=True)
class DeliveryRecord:
    """A destination and what it said. `checksum`: MD5 of a package; `name` empty for a PACS.

    `method_digest`: of the method that made what it confirmed. A `superseded` package has a successor of another name.
    An `export` is what a person made by hand, noted before it is written; `place` is the folder.
    """

    transfer_id: int
    destination: str
    kind: Literal["pacs", "package", "export"]
    revision: int
    state: Literal["confirmed", "failed", "superseded", "exported"]
    name: str = ""
    instance_count: int = 0
    size_bytes: int = 0
    checksum: str = ""
    place: str = ""
    confirmed_at: float | None = None
    detail: str = ""
    method_digest: str = ""


@dataclass(frozen=True)
class WaitingPackages:
    """A transfer whose packages are not where they belong: on their way, or failed. Times since the epoch."""

    study_key: str
    project: str
    state: str
    reason: str
    changed_at: float


DELIVERY_FAILED = "delivery: "
"""Begins the reason of a transfer whose packages could not be delivered."""
_GIVEN = [sent_copy.c[name] for name in ("sop_instance_uid", *GivenCopy.__dataclass_fields__)]
_UIDS_A_QUERY = 500
_COLUMNS = [delivery.c[name] for name in DeliveryRecord.__dataclass_fields__]


BY_HAND = "by hand"
"""What stands for the destination of an export that a person made."""


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

    def waiting(self) -> list[WaitingPackages]:
        """Transfers that an archive has and whose packages are due or failed, oldest first."""
        failed = and_(
            transfer.c.state == TransferState.FAILED.value, transfer.c.reason.startswith(DELIVERY_FAILED)
        )
        columns = [transfer.c[name] for name in WaitingPackages.__dataclass_fields__]
        query = select(*columns).where(or_(transfer.c.state == TransferState.FORWARDED.value, failed))
        with self._ledger.read() as connection:
            rows = connection.execute(query.order_by(transfer.c.changed_at, transfer.c.id))
            return [WaitingPackages(*row) for row in rows]

    def note_sending(
        self,
        transfer_id: int,
        destination: str,
        identity: str,
        copies: Mapping[str, str],
        *,
        now: float,
        study_instance_uid: str = "",
        over: Collection[str] = (),
    ) -> None:
        """Note what a PACS is about to be given, before it is: a crash in between leaves no copy of unknown origin.

        Args:
            transfer_id: of the ledger.
            destination: AE title of the PACS.
            identity: for whom and by which policy the copies were made.
            copies: SHA-256 of their files, by SOP Instance UID.
            now: seconds since the epoch.
            study_instance_uid: of the copies.
            over: UIDs under which the PACS holds something else. What it has there then is known when it accepts
                these (`note_accepted`); of the others it can have nothing but these.
        """
        facts = {"destination": destination, "identity": identity, "transfer_id": transfer_id, "at": now,
                 "study_instance_uid": study_instance_uid}  # fmt: skip
        rows = [
            {
                "sop_instance_uid": uid,
                "sha256": "" if uid in over else digest,
                "over_another": uid in over,
                **facts,
            }
            for uid, digest in copies.items()
        ]
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, sent_copy, rows)

    def note_accepted(self, destination: str, sums: Mapping[str, str]) -> None:
        """Note what a PACS answered Success to: SHA-256 of the files, by SOP Instance UID."""
        if not sums:
            return
        with self._ledger.begin() as connection:
            connection.execute(
                update(sent_copy)
                .where(
                    sent_copy.c.destination == destination,
                    sent_copy.c.sop_instance_uid == bindparam("of_uid"),
                )
                .values(sha256=bindparam("of_sha256")),
                [{"of_uid": uid, "of_sha256": digest} for uid, digest in sums.items()],
            )

    def given(self, destination: str, copies: Collection[str]) -> dict[str, GivenCopy]:
        """What a PACS was given under these SOP Instance UIDs."""
        wanted, found = sorted(copies), {}
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), _UIDS_A_QUERY):
                some = sent_copy.c.sop_instance_uid.in_(wanted[first : first + _UIDS_A_QUERY])
                found.update(_given(connection.execute(
                    select(*_GIVEN).where(sent_copy.c.destination == destination, some))))  # fmt: skip
        return found

    def given_for(self, transfer_id: int, destination: str) -> dict[str, GivenCopy]:
        """All that a PACS was given for a transfer, by SOP Instance UID."""
        mine = select(*_GIVEN).where(
            sent_copy.c.destination == destination, sent_copy.c.transfer_id == transfer_id
        )
        with self._ledger.read() as connection:
            return _given(connection.execute(mine))

    def supersede(
        self, transfer_id: int, destination: str, current: Collection[str], *, now: float, run_id: str
    ) -> list[str]:
        """Mark what a destination confirmed of a transfer's older packages, other than `current` by name.

        Returns:
            Names of packages that are superseded by this.
        """
        old = and_(
            delivery.c.transfer_id == transfer_id,
            delivery.c.destination == destination,
            delivery.c.kind == "package",
            delivery.c.state != "superseded",
            delivery.c.name.not_in(list(current)),
        )
        with self._ledger.begin() as connection:
            names = [str(name) for name in connection.execute(select(delivery.c.name).where(old)).scalars()]
            if names:
                connection.execute(update(delivery).where(old).values(state="superseded"))
                self._note(connection, transfer_id, destination, "delivery", "superseded", now, run_id)
        return names

    def _note(
        self, connection: Connection, transfer_id: int, destination: str, stage: str, outcome: str,
        now: float, run_id: str,
    ) -> None:  # fmt: skip
        key = connection.execute(
            select(transfer.c.study_key).where(transfer.c.id == transfer_id)
        ).scalar_one()
        connection.execute(
            insert(transition),
            {"at": now, "study_key": key, "transfer_id": transfer_id, "instance_id": None, "stage": stage,
             "outcome": outcome, "reason": destination, "run_id": run_id},
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


def _given(rows: Iterable[Row[Any]]) -> dict[str, GivenCopy]:
    return {
        row.sop_instance_uid: GivenCopy(row.transfer_id, row.sha256, row.study_instance_uid, row.over_another)
        for row in rows
    }
