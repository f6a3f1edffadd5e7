"""Giving a study up: a person decides that it goes nowhere any more. A later image or assignment takes that back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, update

from fiona_dagster.adapters.ledger.schema import audit, study, transfer, transition
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.transfer import TransferState, given_up_reason

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


def give_up(ledger: Ledger, key: str, reason: str, *, who: str, now: float) -> int:
    """Give a study up: what was not delivered has failed, nothing is tried again, retention may delete it.

    Args:
        reason: of the person; without patient data, it is shown.
        who: the person's login name, for the audit.

    Returns:
        How many transfers are given up; those that were delivered stay delivered.

    Raises:
        Permanent: the study is still arriving.
    """
    said = given_up_reason(reason)
    ends = (TransferState.DELIVERED.value, TransferState.RETIRED.value)
    undelivered = (transfer.c.study_key == key, transfer.c.state.not_in(ends))
    with ledger.begin() as connection:
        row = connection.execute(
            select(study.c.revision, study.c.arrived_count, study.c.instance_count).where(study.c.key == key)
        ).one()
        if row.revision == 0 or row.arrived_count != row.instance_count:
            raise Permanent(f"study {key} is still arriving: give it up when `fiona status` shows it held")
        transfers = list(connection.execute(select(transfer.c.id).where(*undelivered)).scalars())
        connection.execute(
            update(transfer).where(*undelivered).values(
                state=TransferState.FAILED.value, reason=said, changed_at=now,
                generation=transfer.c.generation + 1,  # what a run that goes on finds is no result any more
            )
        )  # fmt: skip
        any_transfer = select(func.count()).select_from(transfer).where(transfer.c.study_key == key)
        alone = connection.execute(any_transfer).scalar_one() == 0
        connection.execute(
            update(study)
            .where(study.c.key == key)
            .values(given_up_at=now, held_reason=said if alone else None)
        )
        note = {"at": now, "study_key": key, "stage": "retention", "outcome": "given up", "reason": said}
        connection.execute(insert(transition), [{**note, "transfer_id": one} for one in [None, *transfers]])
        connection.execute(
            insert(audit), {"at": now, "who": who, "action": "give-up", "subject": f"{key}: {reason}"}
        )
    return len(transfers)
