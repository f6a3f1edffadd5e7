"""Withdrawals and retired transfers in the ledger: what is to be done, and the receipts of what was."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, exists, insert, or_, select, update

from fiona_dagster.adapters.ledger.delivery_schema import parcel
from fiona_dagster.adapters.ledger.retirement_schema import retired_copy, retirement, withdrawal
from fiona_dagster.adapters.ledger.schema import (
    audit,
    delivery,
    release,
    sent_copy,
    study,
    transfer,
    transition,
)
from fiona_dagster.domain.retirement import Cause, CopyReceipt, Outcome
from fiona_dagster.domain.transfer import Disposition, TransferState, retired_reason

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

_RECEIPT = [retired_copy.c[name] for name in CopyReceipt.__dataclass_fields__]
_SETTLED = ("retired", "left")
"""States of a delivery of a retired transfer that nothing is due for: deleted, or left to a person."""


@dataclass(frozen=True)
class Retirement:
    """A transfer whose copies are retired. `note_uid`: of the rejection note that the archive took, or blank."""

    transfer_id: int
    cause: Cause
    at: float
    who: str
    replaced_by: int | None
    note_uid: str


_COLUMNS = [retirement.c[name] for name in Retirement.__dataclass_fields__]


class Retirements:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def withdraw(self, project: str, participant: str, *, who: str, now: float) -> list[int]:
        """A participant withdraws: every transfer is retired, and what comes later is held.

        Returns the transfers that are retired, those that were before as well. Calling it again changes nothing.
        """
        mine = select(transfer.c.id).where(
            transfer.c.project == project, transfer.c.participant == participant
        )
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            row = {"project": project, "participant": participant, "at": now, "who": who}
            connection.execute(self._ledger.insert_ignoring(withdrawal), row)
            found = sorted(int(one) for one in connection.execute(mine).scalars())
            for one in found:
                self._retire(connection, one, Cause.WITHDRAWN, who=who, now=now, replaced_by=None)
            connection.execute(
                insert(audit),
                {"at": now, "who": who, "action": "withdraw", "subject": f"{participant} of {project}"},
            )
        return found

    def end_project(self, project: str, *, who: str, now: float) -> list[int]:
        """A project ends: every transfer into it is retired. Returns all of them; calling it again changes nothing."""
        mine = select(transfer.c.id).where(transfer.c.project == project).order_by(transfer.c.id)
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            found = [int(one) for one in connection.execute(mine).scalars()]
            for one in found:
                self._retire(connection, one, Cause.ENDED, who=who, now=now, replaced_by=None)
            subject = {"at": now, "who": who, "action": "project end", "subject": project}
            connection.execute(insert(audit), subject)
        return found

    def reassign(self, transfer_id: int, replaced_by: int, *, who: str, now: float) -> None:
        """A transfer was assigned wrongly: its copies are retired, `replaced_by` is the right one."""
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            self._retire(connection, transfer_id, Cause.REASSIGNED, who=who, now=now, replaced_by=replaced_by)
            subject = f"transfer {transfer_id} by {replaced_by}"
            connection.execute(insert(audit), {"at": now, "who": who, "action": "amend", "subject": subject})

    def _retire(
        self,
        connection: Connection,
        transfer_id: int,
        cause: Cause,
        *,
        who: str,
        now: float,
        replaced_by: int | None,
    ) -> None:
        facts = connection.execute(
            select(transfer.c.study_key, transfer.c.state).where(transfer.c.id == transfer_id)
        ).one()
        row = {"transfer_id": transfer_id, "cause": cause.value, "at": now, "who": who, "note_uid": "",
               "replaced_by": replaced_by, "settled_at": None}  # fmt: skip
        if facts.state == TransferState.RETIRED.value:
            again = update(retirement).where(retirement.c.transfer_id == transfer_id)
            connection.execute(again.values(settled_at=None))
            return
        self._ledger.upsert(connection, retirement, [row])
        said = retired_reason(cause.reason)
        connection.execute(
            update(transfer).where(transfer.c.id == transfer_id).values(
                state=TransferState.RETIRED.value, reason=said, changed_at=now, registry_state="",
                generation=transfer.c.generation + 1,  # what a run that goes on finds is no result any more
            )
        )  # fmt: skip
        connection.execute(
            update(release)
            .where(release.c.transfer_id == transfer_id)
            .values(disposition=Disposition.EXCLUDED.value, reason=said)
        )
        connection.execute(
            insert(transition),
            {"at": now, "study_key": facts.study_key, "transfer_id": transfer_id, "stage": "retirement",
             "outcome": cause.value, "reason": said},
        )  # fmt: skip
        # a study that goes nowhere else may be cleaned up
        others = exists().where(
            transfer.c.study_key == study.c.key, transfer.c.state != TransferState.RETIRED.value
        )
        connection.execute(
            update(study).where(study.c.key == facts.study_key, ~others).values(given_up_at=now)
        )

    def is_withdrawn(self, project: str, participant: str) -> bool:
        """Whether the participant withdrew from the project."""
        query = select(withdrawal.c.at).where(
            withdrawal.c.project == project, withdrawal.c.participant == participant
        )
        with self._ledger.read() as connection:
            return connection.execute(query).first() is not None

    def of(self, transfer_id: int) -> Retirement | None:
        """The retirement of a transfer, or None."""
        with self._ledger.read() as connection:
            row = connection.execute(
                select(*_COLUMNS).where(retirement.c.transfer_id == transfer_id)
            ).one_or_none()
        if row is None:
            return None
        return Retirement(**{**row._mapping, "cause": Cause(row.cause)})  # noqa: SLF001 — the documented way

    def replaced_by(self, transfer_id: int) -> set[int]:
        """The wrong assignments that were retired for a transfer."""
        query = (
            select(retirement.c.transfer_id)
            .join(transfer, transfer.c.id == retirement.c.transfer_id)
            .where(
                retirement.c.replaced_by == transfer_id, transfer.c.state == TransferState.RETIRED.value
            )  # one that was assigned anew is wanted again
        )
        with self._ledger.read() as connection:
            return {int(one) for one in connection.execute(query).scalars()}

    def due(self) -> list[int]:
        """Retired transfers with copies to look for: not settled, or an archive was given copies that it may hold, or
        a run that was under way when they were retired made or delivered some once more.
        """
        delivered = exists().where(
            delivery.c.transfer_id == retirement.c.transfer_id,
            delivery.c.kind == "package",
            delivery.c.state.not_in(_SETTLED),
        )
        given = exists().where(sent_copy.c.transfer_id == retirement.c.transfer_id)
        begun = exists().where(
            parcel.c.transfer_id == retirement.c.transfer_id,
            parcel.c.begun.is_(True),
            parcel.c.destination != "",
        )
        remade = exists().where(
            release.c.transfer_id == retirement.c.transfer_id,
            release.c.disposition != Disposition.EXCLUDED.value,
        )
        # one that was assigned anew is wanted again
        query = (
            select(retirement.c.transfer_id)
            .join(transfer, transfer.c.id == retirement.c.transfer_id)
            .where(transfer.c.state == TransferState.RETIRED.value)
            .where(or_(retirement.c.settled_at.is_(None), delivered, begun, given, remade))
            .order_by(retirement.c.transfer_id)
        )
        with self._ledger.read() as connection:
            return [int(one) for one in connection.execute(query).scalars()]

    def note_taken(self, transfer_id: int, note_uid: str) -> None:
        """The archive took a rejection note of this SOP Instance UID."""
        with self._ledger.begin() as connection:
            mine = update(retirement).where(retirement.c.transfer_id == transfer_id)
            connection.execute(mine.values(note_uid=note_uid))

    def forget_given(self, transfer_id: int, destination: str, gone: Collection[str]) -> None:
        """An archive shows these copies no more: it holds nothing of ours under their SOP Instance UIDs."""
        with self._ledger.begin() as connection:
            for uid in gone:
                connection.execute(
                    delete(sent_copy).where(
                        sent_copy.c.transfer_id == transfer_id,
                        sent_copy.c.destination == destination,
                        sent_copy.c.sop_instance_uid == uid,
                    )
                )

    def places_given(self, transfer_id: int) -> list[str]:
        """AE titles of the archives that were given copies of a transfer."""
        query = select(sent_copy.c.destination).where(sent_copy.c.transfer_id == transfer_id).distinct()
        with self._ledger.read() as connection:
            return sorted(connection.execute(query).scalars())

    def shares_package(self, transfer_id: int, destination: str, name: str) -> bool:
        """Whether another transfer's present package has that name at that destination."""
        query = select(delivery.c.transfer_id).where(
            delivery.c.transfer_id != transfer_id, delivery.c.destination == destination,
            delivery.c.name == name, delivery.c.state == "confirmed",
        )  # fmt: skip
        with self._ledger.read() as connection:
            return connection.execute(query).first() is not None

    def record(self, receipts: Iterable[CopyReceipt], *, settled: bool, transfer_id: int, now: float) -> None:
        """Write down what became of a transfer's copies; `settled`: nothing has to be tried again by itself."""
        with self._ledger.begin() as connection:
            cause = connection.execute(
                select(retirement.c.cause).where(retirement.c.transfer_id == transfer_id)
            ).scalar_one()
            for one in receipts:
                row = asdict(one) | {"outcome": one.outcome.value}
                self._ledger.upsert(connection, retired_copy, [row])
                if one.kind in ("package", "pacs", "export") and one.outcome is not Outcome.LATER:
                    connection.execute(
                        update(delivery)
                        .where(delivery.c.transfer_id == transfer_id, delivery.c.kind == one.kind,
                               delivery.c.name == one.name, delivery.c.destination == one.place)
                        .values(state="retired" if one.outcome is Outcome.GONE else "left")
                    )  # fmt: skip
                if one.kind == "package" and one.outcome is not Outcome.LATER:
                    connection.execute(
                        update(parcel)
                        .where(parcel.c.transfer_id == transfer_id, parcel.c.destination == one.place,
                               parcel.c.name == one.name)
                        .values(begun=False)
                    )  # fmt: skip
                if one.kind == "copies" and one.outcome is Outcome.GONE:
                    mine = update(release).where(release.c.transfer_id == transfer_id)
                    said = retired_reason(Cause(cause).reason)
                    connection.execute(
                        mine.values(disposition=Disposition.EXCLUDED.value, reason=said, purged=True)
                    )
            connection.execute(
                update(retirement)
                .where(retirement.c.transfer_id == transfer_id)
                .values(settled_at=now if settled else None)
            )

    def receipts(self, transfer_id: int) -> list[CopyReceipt]:
        """What became of a retired transfer's copies, by kind and place."""
        query = (
            select(*_RECEIPT)
            .where(retired_copy.c.transfer_id == transfer_id)
            .order_by(retired_copy.c.kind, retired_copy.c.place, retired_copy.c.name)
        )
        with self._ledger.read() as connection:
            return [
                CopyReceipt(**{**row._mapping, "outcome": Outcome(row.outcome)})  # noqa: SLF001
                for row in connection.execute(query)
            ]
