"""Tables of projects, retirements, reconciliation, sending and retrieval, by several processes' worth of threads.

`test_ledger_postgres` runs all of this again on PostgreSQL, where writers do not go one after the other by themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import func, select

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.notices import STOPPED
from fiona_dagster.adapters.ledger.schema import transition
from fiona_dagster.adapters.ledger.sendings import SentInstance
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.forwarding import SendingState, SentState
from fiona_dagster.domain.project_life import STEPS, EndStep
from fiona_dagster.domain.reconciliation import ArchivedStudy, Difference, Kind
from fiona_dagster.domain.retirement import CopyReceipt, Outcome
from fiona_dagster.domain.retrieval import Origin
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import TransferState
from tests.factories import received

T = TypeVar("T")
AT_ONCE = 8


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield made
    made.close()


def at_once(work: Callable[[int], T], count: int = AT_ONCE) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, range(count)))


def requested(ledger: Ledger, participant: str = "P1", study: str = "1.2.3") -> int:
    key = ledger.reception.record([(received(study), None)])[study]
    return ledger.transfers.request(key, TransferRequest("HEART", participant, "", "coupling"), now=1.0).id


def test_patients_named_at_once_never_share_a_name_and_each_has_one(ledger: Ledger) -> None:
    """Sixteen names for fifteen patients, each asked for three times, in any order; one name is assigned by hand."""
    requested(ledger, "h0")
    names = [f"H{n}" for n in range(16)]

    def choose(taken: Collection[str]) -> str:
        used = {one.casefold() for one in taken}
        free = [one for one in names if one.casefold() not in used]
        if not free:
            raise Permanent("no name is left")
        return random.Random(len(used)).choice(free)  # everybody who sees the same would choose the same

    def name(number: int) -> tuple[int, str]:
        patient = number * 7 % 15
        return patient, ledger.projects.give_auto_id("HEART", f"hash{patient}", choose, now=1.0).participant

    given = at_once(name, 45)
    assert len(set(given)) == 15
    assert len({participant for _, participant in given}) == 15
    assert "H0" not in {participant for _, participant in given}
    assert len(ledger.projects.auto_ids("HEART", unregistered=True)) == 15
    with pytest.raises(Permanent, match="no name"):
        ledger.projects.give_auto_id("HEART", "one more", choose, now=1.0)
    ledger.projects.auto_ids_registered([one.id for one in ledger.projects.auto_ids()])
    assert ledger.projects.auto_ids(unregistered=True) == []


def test_steps_and_notices_are_taken_once_whoever_else_takes_them(ledger: Ledger) -> None:
    assert at_once(lambda _: ledger.projects.give_notice("HEART", "2026-04-01", 90, now=1.0)).count(True) == 1
    at_once(lambda n: ledger.projects.take_step("HEART", STEPS[n % 2], f"who{n}", now=float(n)))
    assert [one.step for one in ledger.projects.steps("HEART")] == [EndStep.REQUESTED, EndStep.LOCKED]
    ledger.projects.withdraw_request("HEART")
    assert ledger.projects.steps("HEART") == []
    assert ledger.notices.untold_approvals("smtp", since=0.0) == [("HEART", "2026-04-01", 90)]
    at_once(lambda _: ledger.notices.approvals_told("smtp", [("HEART", "2026-04-01", 90)], now=2.0))
    assert ledger.notices.untold_approvals("smtp", since=0.0) == []


def test_a_projects_own_record_is_due_until_it_is_told_and_again_for_a_new_revision(ledger: Ledger) -> None:
    number = requested(ledger)
    ledger.transfers.set_state(number, TransferState.DELIVERED, now=2.0)
    (due,) = ledger.projects.records_due(["HEART"])
    at_once(lambda _: ledger.projects.keep_record(due, {"img_num_files": "1"}))
    (kept,) = ledger.projects.records_due(["HEART"])
    assert kept.fields == {"img_num_files": "1"}
    at_once(lambda _: ledger.projects.records_told([kept]))
    assert ledger.projects.records_due(["HEART"]) == []
    assert ledger.projects.sources_of_copy("2.25.1") == []
    assert ledger.projects.copies_among(["2.25.1"]) == set()
    assert ledger.projects.couplable(["1.2.3"]) == []
    assert ledger.projects.figures()["HEART"].participants == 1
    assert ledger.projects.sever_links("HEART") == 1


def test_a_withdrawal_at_once_retires_each_transfer_once(ledger: Ledger) -> None:
    number = requested(ledger)
    generation = ledger.transfers.get(number).generation
    found = at_once(lambda n: ledger.retirements.withdraw("HEART", "P1", who=f"who{n}", now=5.0))
    assert found == [[number]] * AT_ONCE
    assert ledger.retirements.is_withdrawn("HEART", "P1")
    one = ledger.transfers.get(number)
    assert (one.state, one.generation) == (TransferState.RETIRED, generation + 1)
    counted = select(func.count()).where(
        transition.c.transfer_id == number, transition.c.stage == "retirement"
    )
    with ledger.read() as connection:
        assert connection.execute(counted).scalar_one() == 1
    assert ledger.retirements.due() == [number]
    receipts = [CopyReceipt(number, "pacs", "ARCHIVE", Outcome.GONE, at=6.0)]
    at_once(lambda _: ledger.retirements.record(receipts, settled=True, transfer_id=number, now=6.0))
    assert (ledger.retirements.due(), ledger.retirements.receipts(number)) == ([], receipts)
    assert (
        at_once(lambda _: ledger.retirements.end_project("HEART", who="me", now=7.0)) == [[number]] * AT_ONCE
    )
    ledger.notices.told("smtp", [], now=1.0)


def test_passes_of_reconciliation_at_once_note_each_difference_once(ledger: Ledger) -> None:
    kinds = list(Kind)[:3]
    found = [Difference(kind, project="HEART", uid=f"1.2.{n}") for n, kind in enumerate(kinds)]
    at_once(lambda n: ledger.reconciliations.replace(found, lambda _: True, now=float(n)))
    standing = ledger.reconciliations.standing()
    assert sorted(one.difference.uid for one in standing) == ["1.2.0", "1.2.1", "1.2.2"]
    ledger.reconciliations.replace(found[:1], lambda one: one.uid == "1.2.1", now=9.0)
    left = ledger.reconciliations.standing()
    assert sorted(one.difference.uid for one in left) == ["1.2.0", "1.2.2"]
    assert ledger.reconciliations.standing(left[0].id) == left[:1]
    studies = [ArchivedStudy(f"2.25.{n}", "HEART", n) for n in range(30)]
    at_once(
        lambda n: ledger.reconciliations.note_archived("PACS", shuffled(studies, n), {"2.25.1": 2}, now=1.0)
    )
    assert ledger.reconciliations.archived("PACS") == {one.study_instance_uid: one for one in studies}
    at_once(lambda _: ledger.reconciliations.forget_archived("PACS", ["2.25.1", "2.25.2"]))
    assert len(ledger.reconciliations.archived("PACS")) == 28
    requested(ledger)
    assert len(ledger.reconciliations.account("PACS", settled_before=1e9).transfers) == 1


def test_a_queue_of_sendings_loses_nothing_and_is_cancelled_once(ledger: Ledger) -> None:
    mine = ledger.transfers.get(requested(ledger))
    places = [(f"pacs{n}", f"Archive {n}") for n in range(4)]
    at_once(lambda n: ledger.sendings.enter(mine, shuffled(places, n), revision=1, now=2.0))
    assert len(ledger.sendings.queue()) == 4
    sent = [SentInstance(f"2.25.{n}", SentState.CONFIRMED) for n in range(50)]
    at_once(lambda n: ledger.sendings.note_instances(mine.id, "pacs0", shuffled(sent, n), now=3.0, sent=True))
    assert sorted(one.sop_instance_uid for one in ledger.sendings.instances(mine.id, "pacs0")) == sorted(
        one.sop_instance_uid for one in sent
    )
    at_once(lambda _: ledger.sendings.settle(mine.id, "pacs0", SendingState.CONFIRMED, now=4.0))
    assert ledger.sendings.of_transfer(mine.id)["pacs0"].attempts == AT_ONCE
    cancelled = at_once(lambda n: ledger.sendings.cancel(mine.id, "pacs1", "no", who=f"who{n}", now=5.0))
    assert cancelled.count(True) == 1
    assert ledger.sendings.is_cancelled(mine.id, "pacs1")
    ledger.transfers.set_state(mine.id, TransferState.FAILED, now=5.0)
    ledger.notices.told("smtp", ledger.notices.untold("smtp", STOPPED), now=5.0)
    ledger.sendings.retry(mine.id, "pacs1", who="me", now=6.0)
    ledger.transfers.set_state(mine.id, TransferState.FAILED, now=6.0)
    assert len(ledger.notices.untold("smtp", STOPPED)) == 1  # it failed again, which is news
    ledger.transfers.set_state(mine.id, TransferState.REQUESTED, now=6.0)
    ledger.sendings.postpone(mine.id, "pacs2", until=9.0)
    assert [one.destination for one in ledger.sendings.queue()].count("pacs1") == 1


def test_packages_are_queued_once_and_cancelled_once_and_a_decision_lasts(ledger: Ledger) -> None:
    mine = ledger.transfers.get(requested(ledger))
    ledger.transfers.set_state(mine.id, TransferState.FORWARDED, now=2.0)
    wanted = [(place, export) for place in ("lab", "share") for export in ("native", "PURE")]
    at_once(lambda n: ledger.parcels.enter(mine, shuffled(wanted, n), revision=1, now=2.0))
    queued = {(one.destination, one.export): one for one in ledger.parcels.queue()}
    assert sorted(queued) == sorted(wanted)
    one = queued["lab", "PURE"]
    cancelled = at_once(lambda n: ledger.parcels.cancel(one, "no", who=f"who{n}", now=3.0))
    assert cancelled.count(True) == 1
    ledger.parcels.settle(one, SendingState.CONFIRMED, now=4.0)  # a run that knew nothing of it
    ledger.parcels.enter(mine, wanted, revision=2, now=5.0)  # late images do not undo it
    assert ledger.parcels.is_taken_out(one)
    assert not ledger.parcels.is_taken_out(queued["lab", "native"])
    assert ledger.parcels.notes(mine.id) == "package PURE not sent to lab, by a person's decision"
    # what the project asks for no more is taken out without anybody's decision, and comes back with it
    ledger.parcels.enter(mine, wanted[:2], revision=2, now=6.0)
    assert [one.destination for one in ledger.parcels.queue()] == ["lab"]
    ledger.parcels.enter(mine, wanted, revision=2, now=7.0)
    assert len(ledger.parcels.queue()) == 3
    # a person asks for the whole transfer anew
    ledger.parcels.enter(replace(mine, generation=mine.generation + 1), wanted, revision=2, now=8.0)
    assert len(ledger.parcels.queue()) == 4
    ledger.transfers.set_state(mine.id, TransferState.RETIRED, now=9.0)
    assert ledger.parcels.is_taken_out(queued["lab", "native"])
    assert ledger.parcels.queue() == []


def test_retrievals_are_begun_once_and_their_accounts_kept(ledger: Ledger) -> None:
    uids = [f"1.2.{n}" for n in range(20)]
    begun = at_once(lambda n: ledger.retrievals.open("ABCD", shuffled(uids, n), Origin.PERSON, now=1.0))
    assert sum(begun) == 20
    due = ledger.retrievals.due("ABCD", now=2.0)
    assert sorted(one.study_instance_uid for one in due) == sorted(uids)
    at_once(lambda n: ledger.retrievals.keep(due[n % len(due)]))
    assert sorted(ledger.retrievals.known("ABCD", uids)) == sorted(uids)
    at_once(lambda n: ledger.retrievals.discovered("ABCD", "CT1", now=float(n)))
    assert ledger.retrievals.discovered_at("ABCD", "CT1") is not None
    requested(ledger)
    assert ledger.retrievals.totals()["active"]["studies"] == 20
    assert ledger.retrievals.changed_since("ABCD", 0.0) == (["1.2.3"], []) or "1.2.3" in uids


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """In another order for each: writers that take the same rows in different orders may wait for each other."""
    return random.Random(seed).sample(items, len(items))
