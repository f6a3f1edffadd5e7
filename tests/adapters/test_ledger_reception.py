from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.identifiers import SeriesInstanceUID, SOPInstanceUID, StudyInstanceUID, is_study_key
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, ReceivedInstance

FIRST = ReceivedInstance(
    "ABCD", StudyInstanceUID("1.2"), SeriesInstanceUID("1.2.3"), SOPInstanceUID("1.2.3.1"), "1.2.840", "1.2.840.1",
    "CT", "a" * 64, 100, "site/archive/scp_1.2/1.2.3.1", 1000.0, Peer("SCANNER1", "FIONA", "10.0.0.1"),
    patient_id="PAT1", new=True,
)  # fmt: skip
AGAIN = replace(FIRST, new=False)
"""The same once more, by a process that found its file there."""


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{layout.ledger}")
    yield made
    made.close()


def rows(ledger: Ledger, sql: str) -> list[tuple[Any, ...]]:
    with ledger.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def record(ledger: Ledger, *received: ReceivedInstance, by: str | None = "a") -> None:
    if by:
        ledger.reception.open_association(by, "ABCD", "w", FIRST.peer, 1.0)
    ledger.reception.record([(one, by) for one in received])


def test_a_study_gets_a_key_and_counts_its_instances(ledger: Ledger) -> None:
    second = replace(FIRST, sop_instance_uid="1.2.3.2", sha256="b" * 64, received_at=2000.0)
    record(ledger, FIRST, second)
    [(key, count, first, last)] = rows(
        ledger, "select key, instance_count, first_received_at, last_received_at from study"
    )
    assert is_study_key(key)
    assert (count, first, last) == (2, 1000.0, 2000.0)
    assert rows(ledger, "select outcome, count(*) from transition group by 1") == [("received", 2)]
    assert rows(ledger, "select association_id, study_key from association_study") == [("a", key)]
    assert ledger.reception.recorded_paths("ABCD", "1.2") == {"site/archive/scp_1.2/1.2.3.1"}
    assert ledger.reception.known_contents("ABCD", "1.2.3.1") == {"a" * 64: "site/archive/scp_1.2/1.2.3.1"}


def test_a_resend_is_counted_once_each_time_whether_in_one_group_or_later(ledger: Ledger) -> None:
    record(ledger, FIRST, AGAIN)
    record(ledger, AGAIN)
    assert rows(ledger, "select receptions from instance") == [(3,)]
    assert rows(ledger, "select instance_count from study") == [(1,)]
    assert rows(ledger, "select count(*) from transition") == [(1,)]


@pytest.mark.parametrize("together", [True, False])
def test_a_resend_that_is_recorded_before_the_first_counts_for_both(ledger: Ledger, together: bool) -> None:
    """One worker answers a resend and records it while another still has the first to record."""
    if together:
        record(ledger, AGAIN, FIRST)
    else:
        record(ledger, AGAIN)
        record(ledger, FIRST)
    assert rows(ledger, "select receptions from instance") == [(2,)]
    record(ledger, AGAIN)
    assert rows(ledger, "select receptions from instance") == [(3,)]


def test_a_recovered_file_that_is_recorded_is_no_further_reception(ledger: Ledger) -> None:
    record(ledger, FIRST)
    record(ledger, FIRST, by=None)
    assert rows(ledger, "select receptions from instance") == [(1,)]


def test_what_recovery_found_while_it_waited_to_be_recorded_is_one_reception(ledger: Ledger) -> None:
    record(ledger, FIRST, by=None)
    record(ledger, FIRST)
    assert rows(ledger, "select receptions from instance") == [(1,)]
    record(ledger, AGAIN)
    assert rows(ledger, "select receptions from instance") == [(2,)]
    with ledger.begin() as connection:
        connection.execute(text("update instance set purged = true"))
    record(ledger, FIRST)
    assert rows(ledger, "select receptions, purged from instance") == [(3, 0)], (
        "it was purged and has come again"
    )


def test_an_earlier_instance_that_comes_late_does_not_turn_time_back(ledger: Ledger) -> None:
    record(ledger, FIRST)
    record(ledger, replace(FIRST, sop_instance_uid="1.2.3.2", sha256="b" * 64, received_at=1.0), by=None)
    assert rows(ledger, "select last_received_at from study") == [(1000.0,)]


@pytest.mark.parametrize("together", [True, False])
def test_other_content_under_a_known_uid_is_aside_even_in_another_study(
    ledger: Ledger, together: bool
) -> None:
    other = replace(FIRST, study_instance_uid="1.9", sha256="b" * 64, path="site/archive/scp_1.9/1.2.3.1")
    if together:
        record(ledger, FIRST, other)
    else:
        record(ledger, FIRST)
        record(ledger, other)
    assert rows(ledger, "select sha256, aside from instance order by 1") == [("a" * 64, 0), ("b" * 64, 1)]
    record(ledger, AGAIN)
    assert rows(ledger, "select aside, receptions from instance order by sha256") == [(0, 2), (1, 1)]


def test_what_is_first_is_not_decided_by_what_was_kept_aside(ledger: Ledger) -> None:
    record(ledger, replace(FIRST, sha256="b" * 64, path="quarantine/aside/x", aside=True))
    record(ledger, FIRST)
    assert rows(ledger, "select sha256, aside from instance order by 1") == [("a" * 64, 0), ("b" * 64, 1)]


def test_what_was_kept_aside_and_is_recorded_in_one_group_before_the_first_does_not_displace_it(
    ledger: Ledger,
) -> None:
    record(ledger, replace(FIRST, sha256="b" * 64, path="quarantine/aside/x", aside=True), FIRST)
    assert rows(ledger, "select sha256, aside from instance order by 1") == [("a" * 64, 0), ("b" * 64, 1)]


def test_another_site_is_another_world(ledger: Ledger) -> None:
    record(ledger, FIRST, replace(FIRST, site="P2", sha256="b" * 64))
    assert rows(ledger, "select count(*), sum(aside) from instance") == [(2, 0)]
    assert rows(ledger, "select count(*) from study") == [(2,)]


def test_a_resend_takes_back_that_a_study_was_purged(ledger: Ledger) -> None:
    record(ledger, FIRST)
    [(key,)] = rows(ledger, "select key from study")
    ledger.studies.mark(key, purged_at=5.0, retired_at=6.0)
    record(ledger, FIRST)
    assert rows(ledger, "select purged_at, retired_at from study") == [(None, None)]


def test_only_associations_of_workers_that_are_gone_are_lost(ledger: Ledger) -> None:
    for worker in ("gone", "here"):
        ledger.reception.open_association(worker, "ABCD", worker, FIRST.peer, 1.0)
    ledger.reception.open_association("other site", "P2", "gone", FIRST.peer, 1.0)
    assert ledger.reception.close_lost_associations("ABCD", ["here"], 9.0) == 1
    assert rows(ledger, "select id, outcome from association order by id") == [
        ("gone", "lost"), ("here", None), ("other site", None),
    ]  # fmt: skip
