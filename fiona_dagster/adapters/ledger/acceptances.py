"""False alarms of the residual search that a person accepted, in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from fiona_dagster.adapters.ledger.acceptance_schema import acceptance
from fiona_dagster.adapters.ledger.schema import audit, study, transfer, transition, verification
from fiona_dagster.domain.acceptance import Acceptance, acceptable_places
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.transfer import Transfer, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


class Acceptances:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def places(self, transfer_id: int, revision: int, method_digest: str) -> list[Acceptance]:
        """What was accepted in the copies of a revision that a method made."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(acceptance.c.place, acceptance.c.because, acceptance.c.who, acceptance.c.at)
                .where(
                    acceptance.c.transfer_id == transfer_id,
                    acceptance.c.revision == revision,
                    acceptance.c.method_digest == method_digest,
                )
                .order_by(acceptance.c.place)
            )
            return [Acceptance(row.place, row.because, row.who, row.at) for row in rows]

    def found(self, transfer_id: int, revision: int) -> list[str]:
        """The places in which the verification of a revision found an original value."""
        with self._ledger.read() as connection:
            checks = connection.execute(
                select(verification.c.checks).where(
                    verification.c.transfer_id == transfer_id,
                    verification.c.revision == revision,
                    verification.c.passed.is_(False),
                )
            ).scalar_one_or_none()
        return acceptable_places(checks or {})

    def accept(
        self, one: Transfer, revision: int, places: Sequence[str], because: str, *, who: str, now: float
    ) -> None:
        """Record the decision, and ask for the transfer once more.

        Raises:
            Permanent: the transfer is not held, or was asked for anew in the meantime.
        """
        with self._ledger.begin() as connection:
            moved = connection.execute(
                update(transfer)
                .where(
                    transfer.c.id == one.id,
                    transfer.c.state == TransferState.HELD.value,
                    transfer.c.generation == one.generation,
                )
                .values(
                    state=TransferState.REQUESTED.value, reason="", requested_at=now, requested_by=who,
                    generation=transfer.c.generation + 1, changed_at=now, registry_state="",
                )
            )  # fmt: skip
            if moved.rowcount == 0:
                raise Permanent(f"the transfer of {one.study_key} into {one.project} is not held any more")
            key = {"transfer_id": one.id, "revision": revision, "method_digest": one.method_digest}
            self._ledger.upsert(
                connection,
                acceptance,
                [{**key, "place": place, "because": because, "who": who, "at": now} for place in places],
            )
            back = {"retired_at": None, "given_up_at": None}
            connection.execute(update(study).where(study.c.key == one.study_key).values(**back))
            said = f"{one.study_key} {one.project} revision {revision}: {', '.join(places)}: {because}"
            connection.execute(insert(audit), {"at": now, "who": who, "action": "release", "subject": said})
            connection.execute(
                insert(transition),
                {"at": now, "study_key": one.study_key, "transfer_id": one.id, "stage": "verification",
                 "outcome": "accepted by a person", "reason": ", ".join(places)},
            )  # fmt: skip
