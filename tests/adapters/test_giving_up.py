"""A study that a person gave up: nothing is tried again, it counts on its own, and it comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from fiona_dagster.adapters.housekeeping import standing_of
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.giving_up import give_up
from fiona_dagster.adapters.ledger.schema import audit, transition
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.retention import why_study_stays
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import Disposition, ReleaseRow, TransferState
from tests.factories import PEER, received

REQUEST = TransferRequest("HEART", "P001", "", "assign")
SAID = "given up: sent by mistake"
FIRST = received(sop="1.2.3.9")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def arrived(ledger: Ledger, *, held: str | None) -> str:
    key = ledger.reception.record([(FIRST, None), (received(), None)])["1.2.3"]
    ledger.studies.arrive(key, instance_count=2, expected=None, now=1.0, run_id="r")
    ledger.studies.register(key, 1, now=1.0, run_id="r")
    ledger.studies.route(key, 1, held, now=1.0, run_id="r")
    return key


def stop(ledger: Ledger, key: str) -> int:
    return give_up(ledger, key, "sent by mistake", who="ann", now=2.0)


def again(ledger: Ledger) -> None:
    """A source sends an image that is known."""
    ledger.reception.open_association("a", "ABCD", "w", PEER, 2.5)
    ledger.reception.record([(FIRST, "a")])


def test_a_held_study_goes_nowhere_and_may_be_deleted(ledger: Ledger) -> None:
    key = arrived(ledger, held="no coupling entry")
    assert why_study_stays(standing_of(ledger, ledger.studies.get(key)), now=2e9) == "it waits for a person"
    assert stop(ledger, key) == 0
    assert ledger.studies.held_for_assignment() == []
    assert ledger.inventory.totals().held_reasons == {SAID: 2}
    assert why_study_stays(standing_of(ledger, ledger.studies.get(key)), now=2e9) is None
    with ledger.read() as connection:
        (row,) = connection.execute(select(audit.c.who, audit.c.action, audit.c.subject)).all()
        notes = connection.execute(select(transition.c.reason).where(transition.c.outcome == "given up"))
        assert notes.scalars().all() == [SAID]
    assert tuple(row) == ("ann", "give-up", f"{key}: sent by mistake")


def test_what_was_not_delivered_has_failed_and_is_not_tried_again(ledger: Ledger) -> None:
    key = arrived(ledger, held=None)
    waits = ledger.transfers.request(key, REQUEST, now=1.0)
    done = ledger.transfers.request(key, TransferRequest("BRAINS", "P1", "", "assign"), now=1.0)
    rows = [ReleaseRow(one.id, Disposition.HELD, "burned-in text") for one in ledger.studies.instances(key)]
    ledger.transfers.record_release(waits.id, 1, rows, now=1.0, run_id="r")
    rows = [ReleaseRow(one.id, Disposition.RELEASED) for one in ledger.studies.instances(key)]
    ledger.transfers.record_release(done.id, 1, rows, now=1.0, run_id="r")
    ledger.transfers.set_state(done.id, TransferState.DELIVERED, now=1.0, revision=1)
    assert stop(ledger, key) == 1
    after = {one.project: one for one in ledger.transfers.of_study(key)}
    assert (after["HEART"].state, after["HEART"].reason) == (TransferState.FAILED, SAID)
    assert after["BRAINS"].state == TransferState.DELIVERED
    assert after["HEART"].generation == waits.generation + 1, "a run that goes on has no say any more"
    assert ledger.transfers.studies_with_work(TransferState.REQUESTED) == []
    totals = ledger.inventory.totals()
    assert totals.balance.holds
    assert (totals.balance.held, totals.balance.released, totals.held_reasons) == (2, 2, {SAID: 2})


def test_an_assignment_takes_it_back(ledger: Ledger) -> None:
    key = arrived(ledger, held="no coupling entry")
    stop(ledger, key)
    ledger.transfers.request(key, REQUEST, now=3.0)
    assert ledger.studies.get(key).given_up_at is None
    assert len(ledger.transfers.studies_with_work(TransferState.REQUESTED)) == 1
    assert stop(ledger, key) == 1
    assert ledger.inventory.totals().held_reasons == {SAID: 2}
    ledger.transfers.request(key, REQUEST, now=4.0)
    assert ledger.inventory.totals().held_reasons == {"not yet de-identified": 2}


def test_a_later_image_takes_it_back_and_a_known_one_does_not(ledger: Ledger) -> None:
    key = arrived(ledger, held="no coupling entry")
    stop(ledger, key)
    again(ledger)
    assert ledger.studies.get(key).given_up_at == 2.0
    ledger.reception.record([(received(), None)])
    with pytest.raises(Permanent, match="still arriving"):
        stop(ledger, key)
    study = ledger.studies.get(key)
    assert (study.given_up_at, study.held_reason) == (None, None)
    assert [one.key for one in ledger.studies.arriving()] == [key]


def test_one_that_was_cleaned_up_and_is_sent_again_is_decided_anew(ledger: Ledger) -> None:
    key = arrived(ledger, held="no coupling entry")
    stop(ledger, key)
    instances = ledger.studies.instances(key)
    ledger.studies.purge(key, [instances[0].id], now=3.0)
    assert ledger.studies.unrouted() == []
    again(ledger)
    study = ledger.studies.get(key)
    assert (study.purged_at, study.given_up_at) == (None, None)
    assert ledger.studies.unrouted() == [(key, 1)]


def test_the_command_gives_up_and_refuses_a_blank_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"DATADIR": str(tmp_path)}))
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    key = arrived(ledger, held="no coupling entry")
    arguments = ["give-up", key, "--config", str(tmp_path / "config.json"), "--reason"]
    blank = CliRunner().invoke(fiona, [*arguments, " "])
    assert "the reason is blank" in str(blank.exception)
    result = CliRunner().invoke(fiona, [*arguments, "sent by mistake"])
    assert result.exit_code == 0, result.exception
    assert "is given up, with 0 transfer(s)" in result.output
    assert ledger.studies.get(key).held_reason == SAID
