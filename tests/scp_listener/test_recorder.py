from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.reception import Reception
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.identifiers import SeriesInstanceUID, SOPInstanceUID, StudyInstanceUID
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, ReceivedInstance, Refusal
from scp_listener.recorder import Recorder

PEER = Peer("SCANNER1", "FIONA", "10.0.0.1")


def received(number: int) -> ReceivedInstance:
    return ReceivedInstance(
        "ABCD", StudyInstanceUID("1.2"), SeriesInstanceUID("1.2.3"), SOPInstanceUID(f"1.2.3.{number}"),
        "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2", "CT", f"{number:064x}", 100, f"site/{number}",
        1000.0 + number, PEER,
    )  # fmt: skip


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{layout.ledger}")
    yield made
    made.close()


def rows(ledger: Ledger, sql: str) -> list[tuple[object, ...]]:
    with ledger.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


class Unreachable(Reception):
    """The ledger's reception while its database is down; `up` lets it answer."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.up, self.asked = threading.Event(), threading.Event()

    def record_group(self, *group: Any) -> None:
        self.asked.set()
        if not self.up.is_set():
            raise Transient("down")
        super().record_group(*group)


def test_an_association_is_closed_after_its_instances(ledger: Ledger) -> None:
    recorder = Recorder(ledger.reception, site="ABCD", worker="w")
    recorder.opened("a", PEER, 1.0)
    for number in range(1200):
        recorder.received(received(number), "a")
    recorder.closed("a", "released", 2.0)
    recorder.refused(Refusal("ABCD", 0xC000, "broken", 3.0, PEER))
    assert recorder.stop(30.0)
    assert rows(ledger, "select count(*) from instance") == [(1200,)]
    assert rows(ledger, "select instance_count, last_received_at from study") == [(1200, 2199.0)]
    assert rows(ledger, "select worker, outcome, closed_at from association") == [("w", "released", 2.0)]
    assert rows(ledger, "select status, calling_ae from refusal") == [(0xC000, "SCANNER1")]


def test_a_ledger_that_is_down_is_waited_for_and_nothing_is_lost(ledger: Ledger) -> None:
    reception = Unreachable(ledger)
    recorder = Recorder(reception, site="ABCD", worker="w", capacity=4)
    assert recorder.has_room()
    recorder.opened("a", PEER, 1.0)
    for number in range(3):
        recorder.received(received(number), "a")
    recorder.closed("a", "released", 2.0)
    assert reception.asked.wait(10)
    assert not recorder.has_room()
    assert rows(ledger, "select closed_at from association") == []
    reception.up.set()
    assert recorder.stop(30.0)
    assert rows(ledger, "select count(*) from instance") == [(3,)]
    assert rows(ledger, "select closed_at from association") == [(2.0,)]


def test_a_stop_without_a_ledger_ends_and_says_that_not_all_is_recorded(ledger: Ledger) -> None:
    recorder = Recorder(Unreachable(ledger), site="ABCD", worker="w")
    recorder.opened("a", PEER, 1.0)
    recorder.received(received(1), "a")
    assert not recorder.stop(0.3)


def test_one_entry_that_no_database_takes_does_not_hold_up_the_others(ledger: Ledger) -> None:
    recorder = Recorder(ledger.reception, site="ABCD", worker="w")
    recorder.opened("a", PEER, 1.0)
    recorder.received(received(1), "a")
    recorder.received(received(2), "never opened")
    recorder.received(received(3), "a")
    assert not recorder.stop(30.0), "the stop is not clean: recovery must look"
    assert rows(ledger, "select sop_instance_uid from instance order by 1") == [("1.2.3.1",), ("1.2.3.3",)]
