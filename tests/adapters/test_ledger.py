"""The ledger as every stage uses it; on SQLite, and on PostgreSQL where one is installed (tests/peers)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.deliveries import DeliveryRecord
from fiona_dagster.adapters.ledger.stale import Stale, stale
from fiona_dagster.domain.forwarding import GivenCopy
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import (
    AWAITING_VERIFICATION,
    Balance,
    Disposition,
    ReleaseRow,
    TransferState,
)
from tests.factories import PEER, received

REQUEST = TransferRequest("HEART", "P001", "", "coupling")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def arrive(ledger: Ledger, key: str, *, now: float = 2e9) -> int:
    study = ledger.studies.get(key)
    revision = ledger.studies.arrive(
        key, instance_count=study.instance_count, expected=None, now=now, run_id="r"
    ).revision
    ledger.studies.register(key, revision, now=now, run_id="r")
    return revision


def release(ledger: Ledger, transfer_id: int, key: str, dispositions: list[str]) -> list[ReleaseRow]:
    """As the engine leaves it: a row for every instance that the study's newest revision covers."""
    revision = ledger.studies.get(key).revision
    rows = []
    for one, name in zip(ledger.studies.covered(key, revision), dispositions, strict=True):
        awaiting = name == "released"
        rows.append(
            ReleaseRow(one.id, Disposition.HELD if awaiting else Disposition(name),
                       AWAITING_VERIFICATION if awaiting else "a rule", sop_instance_uid=f"2.25.{one.id}", path="x")
        )  # fmt: skip
    ledger.transfers.record_release(transfer_id, revision, rows, now=1.0, run_id="r")
    return rows


def test_instances_of_one_study_share_its_key_and_are_counted_once_each(ledger: Ledger) -> None:
    first, second = received(), received()
    keys = ledger.reception.record([(first, None), (second, None), (first, None)])
    study = ledger.studies.get(keys["1.2.3"])
    assert study.instance_count == 2
    assert len(ledger.studies.instances(study.key)) == 2


def test_a_resend_of_the_same_content_reopens_nothing(ledger: Ledger) -> None:
    one = received()
    key = ledger.reception.record([(one, None)])["1.2.3"]
    arrive(ledger, key)
    ledger.reception.record([(one, None)])
    assert ledger.studies.arriving() == []


def test_other_content_under_a_known_uid_is_a_further_instance_and_reopens_the_study(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(sop="1.2.3.9", content="a"), None)])["1.2.3"]
    arrive(ledger, key)
    ledger.reception.record(
        [(received(sop="1.2.3.9", content="b", aside=True, path="quarantine/aside/x"), None)]
    )
    assert [one.aside for one in ledger.studies.instances(key)] == [False, True]
    assert [one.key for one in ledger.studies.arriving()] == [key]


def test_one_study_at_two_sites_is_two_studies(ledger: Ledger) -> None:
    at_one = ledger.reception.record([(received(sop="1.2.3.9"), None)])["1.2.3"]
    at_two = ledger.reception.record([(received(sop="1.2.3.9", site="P"), None)])["1.2.3"]
    assert at_one != at_two


def test_an_open_association_is_counted_until_it_closes(ledger: Ledger) -> None:
    ledger.reception.open_association("a1", "ABCD", "w1", PEER, 1.0)
    ledger.reception.record([(received(), "a1")])
    assert [one.open_associations for one in ledger.studies.arriving()] == [1]
    ledger.reception.close_association("a1", "released", 2.0)
    assert [one.open_associations for one in ledger.studies.arriving()] == [0]


def test_associations_of_a_listener_that_died_are_closed(ledger: Ledger) -> None:
    ledger.reception.open_association("a1", "ABCD", "dead", PEER, 1.0)
    ledger.reception.open_association("a2", "ABCD", "alive", PEER, 1.0)
    assert ledger.reception.close_lost_associations("ABCD", ["alive"], 3.0) == 1
    assert ledger.inventory.totals().open_associations == 1


def test_closing_a_revision_twice_gives_the_same_revision_and_late_images_the_next(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    assert arrive(ledger, key) == arrive(ledger, key) == 1
    ledger.reception.record([(received(), None)])
    assert arrive(ledger, key) == 2


def test_the_same_request_again_is_the_same_transfer_and_no_new_work(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    first = ledger.transfers.request(key, REQUEST, now=1.0)
    ledger.transfers.set_state(first.id, TransferState.DELIVERED, now=2.0, revision=1, packaged_revision=1)
    again = ledger.transfers.request(key, REQUEST, now=3.0)
    assert (again.id, again.state) == (first.id, TransferState.DELIVERED)


def test_a_person_or_a_newer_revision_makes_it_work_again(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    first = ledger.transfers.request(key, REQUEST, now=1.0)
    ledger.transfers.set_state(first.id, TransferState.DELIVERED, now=2.0, revision=1, packaged_revision=1)
    by_hand = ledger.transfers.request(key, TransferRequest("HEART", "P001", "", "resend"), now=3.0)
    assert (by_hand.state, by_hand.generation) == (TransferState.REQUESTED, 1)
    ledger.transfers.set_state(first.id, TransferState.DELIVERED, now=4.0, revision=1, packaged_revision=1)
    ledger.reception.record([(received(), None)])
    arrive(ledger, key)
    assert ledger.transfers.request(key, REQUEST, now=5.0).state == TransferState.REQUESTED
    assert ledger.transfers.studies_with_work(TransferState.REQUESTED) == [(key, 2, 2)]


def test_nothing_is_released_before_its_verification_passed(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None) for _ in range(4)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    release(ledger, transfer.id, key, ["released", "held", "excluded", "failed"])
    assert ledger.transfers.balance(transfer.id) == Balance(4, released=0, held=2, excluded=1, failed=1)
    ledger.transfers.verify(transfer.id, 1, passed=True, manifest_sha256="m", checks={}, now=2.0, run_id="r")
    assert ledger.transfers.balance(transfer.id) == Balance(4, released=1, held=1, excluded=1, failed=1)
    assert ledger.transfers.verified_manifest(transfer.id, 1) == "m"


def test_a_failed_verification_holds_what_awaited_it_and_names_the_check(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    release(ledger, transfer.id, key, ["released"])
    checks = {"valid_uids": {"passed": True}, "pixels_unchanged": {"passed": False}}
    ledger.transfers.verify(
        transfer.id, 1, passed=False, manifest_sha256="m", checks=checks, now=2.0, run_id="r"
    )
    assert [row.reason for row in ledger.transfers.release_rows(transfer.id)] == [
        "verification: pixels_unchanged"
    ]
    assert ledger.transfers.verified_manifest(transfer.id, 1) is None
    assert ledger.inventory.totals().held_reasons == {"verification: pixels_unchanged": 1}


def test_a_delivery_is_recorded_once_a_destination_however_often_it_is_confirmed(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    release(ledger, transfer.id, key, ["released"])
    for _ in range(2):
        record = DeliveryRecord(transfer.id, "PACS@h:1", "pacs", 1, "confirmed", instance_count=1)
        ledger.deliveries.record(record, ["2.25.1"], now=3.0, run_id="r")
    assert [one.instance_count for one in ledger.deliveries.of_transfer(transfer.id)] == [1]


def test_a_study_is_found_by_what_people_know_of_it(ledger: Ledger) -> None:
    one = received(accession_number="ACC1", patient_id="P1")
    key = ledger.reception.record([(one, None)])["1.2.3"]
    for text in (key, "1.2.3", "ACC1", "P1", "SCANNER1", one.sop_instance_uid, one.series_instance_uid):
        assert [study.key for study in ledger.studies.find(text)] == [key]
    assert ledger.studies.find("nothing") == []


def test_no_record_prints_what_it_knows_of_the_patient(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(patient_name="Hansen^Åse"), None)])["1.2.3"]
    study = ledger.studies.get(key)
    assert "Hansen" not in repr(study)
    assert "1.2.3" not in repr(study) + repr(ledger.studies.instances(key))


def test_an_instance_that_is_lost_from_the_account_breaks_the_law(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None) for _ in range(3)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    release(ledger, transfer.id, key, ["released", "held", "excluded"])
    assert ledger.inventory.totals().balance.holds
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM release WHERE disposition = 'excluded'")
    assert not ledger.transfers.balance(transfer.id).holds
    assert not ledger.inventory.totals().balance.holds


def test_an_instance_of_a_waiting_study_that_is_lost_breaks_the_law(ledger: Ledger) -> None:
    ledger.reception.record([(received(), None) for _ in range(3)])
    assert ledger.inventory.totals().balance.holds
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM transition")
        connection.exec_driver_sql("DELETE FROM instance WHERE id = (SELECT max(id) FROM instance)")
    assert not ledger.inventory.totals().balance.holds


def test_a_request_that_comes_during_a_run_is_not_lost_under_its_result(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    seen = ledger.transfers.request(key, REQUEST, now=1.0)
    ledger.transfers.request(key, TransferRequest("HEART", "P001", "", "resend"), now=2.0)
    moved = ledger.transfers.set_state(
        seen.id, TransferState.FORWARDED, now=3.0, generation=seen.generation, revision=1
    )
    assert not moved
    assert ledger.transfers.get(seen.id).state == TransferState.REQUESTED


def test_what_a_pacs_was_given_is_known_by_uid(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    first, second = {"2.25.1": "a1", "2.25.2": "a2"}, {"2.25.2": "b2"}
    deliveries = ledger.deliveries
    deliveries.note_sending(transfer.id, "PACS", "first", first, now=2.0, study_instance_uid="2.25")
    given = {uid: GivenCopy(transfer.id, digest, "2.25", over_another=False) for uid, digest in first.items()}
    assert deliveries.given("PACS", {"2.25.1", "2.25.2", "2.25.3"}) == given
    deliveries.note_sending(
        transfer.id, "PACS", "second", second, now=3.0, study_instance_uid="2.25", over={"2.25.2"}
    )
    given["2.25.2"] = GivenCopy(transfer.id, "", "2.25", over_another=True)
    assert deliveries.given_for(transfer.id, "PACS") == given, "what it has is not known before it accepts"
    deliveries.note_accepted("PACS", second)
    given["2.25.2"] = GivenCopy(transfer.id, "b2", "2.25", over_another=True)
    assert deliveries.given_for(transfer.id, "PACS") == given
    deliveries.note_sending(transfer.id, "PACS", "second", second, now=4.0, study_instance_uid="2.25")
    given["2.25.2"] = GivenCopy(transfer.id, "b2", "2.25", over_another=False)
    assert deliveries.given("PACS", ["2.25.1", "2.25.2"]) == given, "it had nothing under the UID any more"
    assert deliveries.given("OTHER", {"2.25.1"}) == deliveries.given_for(9, "PACS") == {}


def test_a_package_of_another_name_supersedes_the_older_one_at_its_destination(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    arrive(ledger, key)
    transfer = ledger.transfers.request(key, REQUEST, now=1.0)
    for place, name in (("lab", "old.zip"), ("lab", "new.zip"), ("other", "old.zip")):
        record = DeliveryRecord(transfer.id, place, "package", 1, "confirmed", name=name)
        ledger.deliveries.record(record, [], now=2.0, run_id="r")
    pacs = DeliveryRecord(transfer.id, "lab", "pacs", 1, "confirmed")
    ledger.deliveries.record(pacs, [], now=2.0, run_id="r")
    for names in (["old.zip"], []):
        assert ledger.deliveries.supersede(transfer.id, "lab", ["new.zip"], now=3.0, run_id="r") == names
    states = {
        (one.destination, one.kind, one.name): one.state for one in ledger.deliveries.of_transfer(transfer.id)
    }
    assert states == {
        ("lab", "package", "old.zip"): "superseded",
        ("lab", "package", "new.zip"): "confirmed",
        ("lab", "pacs", ""): "confirmed",
        ("other", "package", "old.zip"): "confirmed",
    }


def test_stale_transfers_are_counted_once_at_places_that_are_still_used(ledger: Ledger) -> None:
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    gone = ledger.reception.record([(received("1.2.4"), None)])["1.2.4"]
    for study in (key, gone):
        arrive(ledger, study)
        one = ledger.transfers.request(study, REQUEST, now=1.0)
        for place, method in (("PACS", "now"), ("lab", "old"), ("left", "older")):
            kind: Literal["pacs", "package"] = "pacs" if place == "PACS" else "package"
            record = DeliveryRecord(one.id, place, kind, 1, "confirmed", name=place, method_digest=method)
            ledger.deliveries.record(record, [], now=2.0, run_id="r")
    ledger.studies.mark(gone, purged_at=3.0)
    project = REQUEST.project
    assert stale(ledger, project, "now", "PACS", ["lab"]) == Stale(2, without_images=1)
    assert stale(ledger, project, "new", "PACS", ["lab", "left"]) == Stale(2, without_images=1)
    assert stale(ledger, project, "now", "PACS", []) == Stale(0, 0)
    assert stale(ledger, "ANOTHER", "new", "PACS", ["lab"]) == Stale(0, 0)


class Conservation(RuleBasedStateMachine):
    """Whatever happens in whatever order, received = released + held + excluded + failed."""

    @initialize()
    def open(self) -> None:
        self.ledger = Ledger("sqlite://")
        self.keys: dict[int, str] = {}  # by a number, because the keys themselves are random

    @rule(study=st.integers(1, 3), sop=st.integers(1, 4), content=st.integers(1, 2))
    def receive(self, study: int, sop: int, content: int) -> None:
        one = received(f"1.2.{study}", f"1.2.{study}.{sop}", content=f"{sop}.{content}", aside=content == 2)
        self.keys[study] = self.ledger.reception.record([(one, None)])[f"1.2.{study}"]

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), project=st.sampled_from(["HEART", "BRAINS"]), by_hand=st.booleans())
    def transfer(self, data: st.DataObject, project: str, by_hand: bool) -> None:
        key = self.keys[data.draw(st.sampled_from(sorted(self.keys)))]
        arrive(self.ledger, key)
        self.ledger.transfers.request(
            key, TransferRequest(project, "P1", "", "assign" if by_hand else "coupling"), now=1
        )

    @precondition(lambda self: self.ledger.transfers.all())
    @rule(data=st.data(), passed=st.none() | st.booleans())
    def deidentify(self, data: st.DataObject, passed: bool | None) -> None:
        transfer = data.draw(st.sampled_from(self.ledger.transfers.all()))
        study = self.ledger.studies.get(transfer.study_key)
        count = study.arrived_count
        names = st.lists(
            st.sampled_from(["released", "held", "excluded", "failed"]), min_size=count, max_size=count
        )
        release(self.ledger, transfer.id, transfer.study_key, data.draw(names))
        if passed is not None:
            self.ledger.transfers.verify(transfer.id, study.revision, passed=passed, manifest_sha256="m",
                                         checks={"x": {"passed": passed}}, now=2.0, run_id="r")  # fmt: skip

    @invariant()
    def the_law_holds(self) -> None:
        totals = self.ledger.inventory.totals()
        assert totals.balance.holds
        assert sum(totals.held_reasons.values()) == totals.balance.held
        for transfer in self.ledger.transfers.all():
            balance = self.ledger.transfers.balance(transfer.id)
            assert balance.holds
            assert balance.received == len(self.ledger.studies.instances(transfer.study_key))


Conservation.TestCase.settings = settings(max_examples=25, stateful_step_count=15)
TestConservation = Conservation.TestCase
