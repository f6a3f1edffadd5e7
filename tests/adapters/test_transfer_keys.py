"""Which key a transfer gets, and when it is settled."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import transfer, transition
from fiona_dagster.adapters.ledger.transfer_keys import settle_key
from fiona_dagster.domain.routing import TransferRequest
from tests.factories import received


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def asked(ledger: Ledger, uid: str, participant: str, project: str = "HEART") -> int:
    key = ledger.reception.record([(received(uid, f"{uid}.1"), None)])[uid]
    return ledger.transfers.request(key, TransferRequest(project, participant, "", "coupling"), now=1.0).id


def settled(ledger: Ledger, transfer_id: int, active: str) -> str:
    return settle_key(ledger, transfer_id, active, lambda when: f"active at {when:.0f}")


def begun_by_version_2(ledger: Ledger, transfer_id: int, *times: float) -> None:
    note = {"stage": "deidentification", "outcome": "held", "transfer_id": transfer_id}
    with ledger.begin() as connection:
        connection.execute(update(transfer).where(transfer.c.id == transfer_id).values(key_id=""))
        for at in times:
            connection.execute(insert(transition), {"at": at, **note})


def test_a_key_is_settled_once_and_recorded(ledger: Ledger) -> None:
    one = asked(ledger, "1.2.3", "P1")
    assert ledger.transfers.get(one).key_id == ""
    assert settled(ledger, one, "first") == settled(ledger, one, "second") == "first"
    assert ledger.transfers.get(one).key_id == "first"


def test_a_later_study_of_a_participant_gets_the_key_of_the_first_and_others_the_active_one(
    ledger: Ledger,
) -> None:
    first, other = asked(ledger, "1.2.3", "P1"), asked(ledger, "1.2.4", "P1", project="LUNG")
    assert settled(ledger, first, "first") == "first"
    assert settled(ledger, other, "lung") == "lung", "another project has its own keys"
    assert settled(ledger, asked(ledger, "1.2.5", "P2"), "second") == "second"
    assert settled(ledger, asked(ledger, "1.2.6", "P1"), "third") == "first"


def test_the_participants_own_key_goes_before_that_of_the_study(ledger: Ledger) -> None:
    mine, study = asked(ledger, "1.2.3", "P2"), asked(ledger, "1.2.4", "P1")
    assert settled(ledger, mine, "of P2") == "of P2"
    assert settled(ledger, study, "of P1") == "of P1"
    assert settled(ledger, asked(ledger, "1.2.4", "P2"), "active") == "of P2"
    assert settled(ledger, asked(ledger, "1.2.4", "P3"), "active") == "of P1", "as the study went before"


def test_what_version_2_released_keeps_the_key_that_was_active_then(ledger: Ledger) -> None:
    old = asked(ledger, "1.2.3", "P1")
    begun_by_version_2(ledger, old, 70.0, 50.0)
    assert settled(ledger, asked(ledger, "1.2.4", "P1"), "active") == "active at 50"
    assert settled(ledger, old, "active") == "active at 50"
    untouched = asked(ledger, "1.2.9", "P9")
    begun_by_version_2(ledger, untouched)
    assert settled(ledger, untouched, "active") == "active", "nothing was made of it yet"
