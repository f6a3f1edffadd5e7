"""What the ledger knows of studies that are arriving; again on PostgreSQL in test_ledger_postgres."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fiona_dagster.adapters.clock import moment
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.arrivals import WHOLE_STUDY, SeriesExpectation
from fiona_dagster.domain.arrival import NOTHING_ANNOUNCED, Announced, Completes, Shortfall, Waits, arrival_of
from fiona_dagster.domain.commitment import CommitmentRequest, CommitmentState, Reference
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.procedures import CreatedProcedure, ProcedureChange, ProcedureState
from tests.factories import PEER, received

SITE, STUDY, SERIES = "ABCD", "1.2.3", "1.2.3.1"
ENDED = ProcedureState.COMPLETED


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield made
    made.close()


def bring(ledger: Ledger, *numbers: int, at: float | None = None) -> str:
    """Receive instances of the study; its key."""
    when = moment().at if at is None else at
    arrivals = [received(STUDY, f"{SERIES}.{number}", received_at=when) for number in numbers]
    return ledger.reception.record([(one, None) for one in arrivals])[STUDY]


def begin(ledger: Ledger, uid: str = "1.9.1", study: str = STUDY) -> None:
    ledger.procedures.create(SITE, "CT1", CreatedProcedure(uid, (study,), "CT1", "CT", {}))


def end(ledger: Ledger, *numbers: int, uid: str = "1.9.1", series: str = SERIES) -> None:
    made = {series: tuple(f"{SERIES}.{number}" for number in numbers)}
    ledger.procedures.change(SITE, uid, ProcedureChange(ENDED, made))


def announced(ledger: Ledger) -> Announced:
    (one,) = ledger.studies.arriving()
    return replace(one.announced, heard=None)


def decision(ledger: Ledger, *, quiet_seconds: float = 16.0) -> Waits | Completes:
    (one,) = ledger.studies.arriving()
    return arrival_of(one, now=moment(), quiet_seconds=quiet_seconds)


def test_of_most_studies_nothing_is_announced(ledger: Ledger) -> None:
    key = bring(ledger, 1)
    assert announced(ledger) == NOTHING_ANNOUNCED
    assert ledger.arrivals.announced(key) == NOTHING_ANNOUNCED


def test_a_study_follows_its_step_from_the_first_image_to_the_last(ledger: Ledger) -> None:
    begin(ledger)
    bring(ledger, 1)
    assert announced(ledger) == Announced(in_progress=1)
    assert isinstance(decision(ledger, quiet_seconds=0.0), Waits)
    end(ledger, 1, 2, 3)
    bring(ledger, 2)
    assert announced(ledger) == Announced(ended=1, shortfalls=(Shortfall("CT", 3, 2),))
    bring(ledger, 3)
    assert announced(ledger) == Announced(ended=1)
    assert decision(ledger) == Completes(
        "every instance that its procedure steps name is here", complete=True
    )


def test_instances_that_no_step_names_are_counted_and_a_second_step_is_waited_for(ledger: Ledger) -> None:
    begin(ledger)
    end(ledger, 1)
    bring(ledger, 1, 2)
    assert announced(ledger) == Announced(ended=1, unannounced=1)
    begin(ledger, "1.9.2")
    assert announced(ledger).in_progress == 1
    end(ledger, 2, uid="1.9.2")
    assert announced(ledger) == Announced(ended=2)


def test_instances_kept_aside_or_purged_have_come(ledger: Ledger) -> None:
    begin(ledger)
    end(ledger, 1, 2)
    key = bring(ledger, 1, 2)
    other = received(STUDY, f"{SERIES}.2", content="other")
    ledger.reception.record([(other, None)])
    first, *_ = ledger.studies.instances(key)
    ledger.studies.purge(key, [first.id], now=1.0)
    assert announced(ledger) == Announced(ended=1)


def test_what_the_source_counts_and_what_a_step_names_is_missing_once(ledger: Ledger) -> None:
    begin(ledger)
    end(ledger, 1, 2, 3)
    key = bring(ledger, 1)
    expected = [SeriesExpectation(SERIES, "CT", 4), SeriesExpectation("1.2.3.2", "SR", 1)]
    ledger.arrivals.expect(key, expected, now=1.0)
    short = (Shortfall("CT", 4, 1), Shortfall("SR", 1, 0))
    assert announced(ledger) == Announced(ended=1, shortfalls=short, expected=5)
    ledger.arrivals.expect(key, [SeriesExpectation(WHOLE_STUDY, "", 2)], now=2.0)
    assert announced(ledger).shortfalls == (Shortfall("", 2, 1), Shortfall("CT", 3, 1))
    ledger.arrivals.expect(key, [], now=3.0)
    assert announced(ledger).expected is None


def test_another_sites_step_says_nothing_of_this_sites_study(ledger: Ledger) -> None:
    ledger.procedures.create("OTHER", "CT1", CreatedProcedure("1.9.1", (STUDY,), "CT1", "CT", {}))
    bring(ledger, 1)
    assert announced(ledger) == NOTHING_ANNOUNCED


def test_a_study_that_went_on_incomplete_is_listed_until_a_later_revision_is_complete(ledger: Ledger) -> None:
    key = bring(ledger, 1)
    given_up = Completes("1 instance(s) missing: given up after 24.0 h", complete=False)
    arrived = ledger.studies.arrive(
        key, instance_count=1, expected=2, now=1.0, run_id="r", finding=given_up,
        shortfalls=[Shortfall("CT", 2, 1)],
    )  # fmt: skip
    assert (arrived.complete, arrived.missing) == (False, 1)
    (found,) = ledger.arrivals.incomplete()
    assert (found.key, found.revision, found.shortfalls) == (key, 1, (Shortfall("CT", 2, 1),))
    bring(ledger, 2)
    ledger.studies.arrive(
        key, instance_count=2, expected=2, now=2.0, run_id="r", finding=Completes("quiet", complete=True)
    )
    assert ledger.arrivals.incomplete() == []


def test_quiet_is_counted_by_uptime_from_the_newest_instance(ledger: Ledger) -> None:
    bring(ledger, 1, at=moment().at - 20)
    assert isinstance(decision(ledger), Completes)
    bring(ledger, 2)
    assert isinstance(decision(ledger), Waits)
    bring(ledger, 3, at=moment().at + 9999)  # the clock was put back since
    assert isinstance(decision(ledger, quiet_seconds=0.0), Completes)


def test_of_several_senders_the_last_one_decides_and_a_pause_between_two_is_waited_out(
    ledger: Ledger,
) -> None:
    now = moment().at
    for name in ("first", "second"):
        ledger.reception.open_association(name, SITE, "w", PEER, now - 60)
        one = received(STUDY, f"{SERIES}.{name == 'first':d}", received_at=now - 60)
        ledger.reception.record([(one, name)])
    assert decision(ledger, quiet_seconds=0.0) == Waits("2 open Association(s) carry it")
    ledger.reception.close_association("first", "released", now)
    assert decision(ledger, quiet_seconds=0.0) == Waits("1 open Association(s) carry it")
    ledger.reception.close_association("second", "aborted", now)
    assert isinstance(decision(ledger), Completes)
    bring(ledger, 7)
    assert isinstance(decision(ledger), Waits)


def test_steps_are_known_by_study_and_site(ledger: Ledger) -> None:
    begin(ledger)
    end(ledger, 1, 2)
    assert [one.state for one in ledger.procedures.of_study_uid(SITE, STUDY)] == [ENDED]
    assert ledger.procedures.of_study_uid("OTHER", STUDY) == []
    key = bring(ledger, 1)
    (step,) = ledger.procedures.of_study(key)
    assert (step.mpps_uid, step.station, step.modality) == ("1.9.1", "CT1", "CT")
    assert step.expected == {SERIES: (f"{SERIES}.1", f"{SERIES}.2")}
    assert step.ended_at is not None
    assert ledger.procedures.waiting(SITE, since=step.started_at - 1) == [STUDY]
    assert ledger.procedures.waiting(SITE, since=moment().at + 60) == []


REQUEST = CommitmentRequest("1.8.1", (Reference("1.2.840.10008.5.1.4.1.1.4", f"{SERIES}.1"),))


def test_a_commitment_is_claimed_by_one_process_at_a_time_and_free_when_that_is_gone(ledger: Ledger) -> None:
    commitments = ledger.commitments
    asked = commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    assert commitments.references(asked.id) == list(REQUEST.references)
    assert commitments.claim(SITE, "two", now=101.0, until=701.0) is None
    assert commitments.release_claims(SITE, ["one"], now=101.0) == 0
    assert commitments.release_claims(SITE, ["two"], now=101.0) == 1
    claimed = commitments.claim(SITE, "two", now=101.0, until=701.0)
    assert claimed is not None
    assert claimed.transaction_uid == "1.8.1"
    assert commitments.claim(SITE, "three", now=102.0, until=702.0) is None
    assert commitments.claim(SITE, "three", now=702.0, until=1302.0) is not None, "its lease has run out"


def test_a_requester_that_was_not_reached_is_left_alone_until_the_next_attempt(ledger: Ledger) -> None:
    commitments = ledger.commitments
    first = commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    second = commitments.request(
        SITE, "CT1", "FIONA", replace(REQUEST, transaction_uid="1.8.2"), worker="one", now=100.0, until=700.0
    )
    commitments.undelivered(second.id, "unreachable", attempts=1, again_at=110.0)
    commitments.undelivered(first.id, "unreachable", attempts=2, again_at=160.0)
    commitments.postpone(SITE, "CT1", 160.0)
    assert commitments.claim(SITE, "one", now=159.0, until=700.0) is None
    assert commitments.claim(SITE, "one", now=160.0, until=700.0) is not None


def test_commitments_that_were_not_delivered_are_shown(ledger: Ledger) -> None:
    commitments = ledger.commitments
    asked = commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    assert commitments.undelivered_reports() == []
    commitments.undelivered(asked.id, "unreachable", attempts=30, again_at=None)
    (shown,) = commitments.undelivered_reports()
    assert (shown.calling_ae, shown.state, shown.problem) == ("CT1", CommitmentState.GIVEN_UP, "unreachable")
    assert commitments.totals() == {"given_up": 1}
    commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=200.0, until=800.0)
    commitments.reported(asked.id, committed=1, failed=0, now=201.0)
    assert commitments.totals() == {"reported": 1}


def test_a_transaction_uid_is_one_request(ledger: Ledger) -> None:
    ledger.commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    other = CommitmentRequest("1.8.1", (Reference("1.2", "1.3"),))
    with pytest.raises(Reject) as refused:
        ledger.commitments.request(SITE, "CT1", "FIONA", other, worker="one", now=100.0, until=700.0)
    assert refused.value.status == 0x0115
    ledger.commitments.request(SITE, "CT2", "FIONA", other, worker="one", now=100.0, until=700.0)


def test_what_a_reported_request_named_is_forgotten_after_a_week_and_what_is_due_is_not(
    ledger: Ledger,
) -> None:
    commitments, week = ledger.commitments, 7 * 86_400.0
    due = commitments.request(SITE, "CT2", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    old = commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=100.0, until=700.0)
    commitments.reported(old.id, committed=1, failed=0, now=100.0)
    assert commitments.references(old.id) == list(REQUEST.references)
    commitments.reported(old.id, committed=1, failed=0, now=101.0 + week)
    assert commitments.references(old.id) == []
    assert commitments.references(due.id) == list(REQUEST.references)
    again = commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=1e6, until=1e6)
    assert commitments.references(again.id) == list(REQUEST.references)


def test_a_clock_that_was_put_back_delays_no_report(ledger: Ledger) -> None:
    asked = ledger.commitments.request(SITE, "CT1", "FIONA", REQUEST, worker="one", now=1e9, until=1e9 + 600)
    ledger.commitments.undelivered(asked.id, "unreachable", attempts=1, again_at=1e9 + 10)
    assert ledger.commitments.claim(SITE, "one", now=1e9 - 60, until=1e9) is None
    assert ledger.commitments.claim(SITE, "one", now=1e9 - 86_400, until=1e9) is not None
