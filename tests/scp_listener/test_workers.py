"""Crashes, stops and several processes, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from fiona_dagster.domain.layout import Layout
from tests.scp_listener.conftest import Running, Start, wait_for
from tests.scp_listener.instances import SERIES, STUDY, associate, instance, send


def children(listener: Running) -> list[int]:
    pid = listener.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_acknowledged_instance_survives_kill_9(start: Start) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def stream(port: int) -> None:
        association = associate(port)
        for number in range(1, 5000):
            image = instance(number)
            try:
                if send(association, image) == 0:
                    acknowledged.append(image.SOPInstanceUID)
            except (RuntimeError, AttributeError):  # the Association is gone
                break
            if len(acknowledged) == 40:
                enough.set()

    first = start()
    sender = threading.Thread(target=stream, args=(first.port,))
    sender.start()
    assert enough.wait(60)
    first.kill()
    sender.join(60)
    second = start()
    layout = second.layout
    for uid in acknowledged:
        assert layout.archived_instance(STUDY, uid).is_file()
    recorded = {row[0] for row in second.query("select sop_instance_uid from instance")}
    assert set(acknowledged) <= recorded
    assert recorded == {path.name for path in layout.study_archive(STUDY).iterdir()}
    assert second.query("select outcome from association") == [("lost",)]
    assert second.stop() == 0


def test_a_stop_lets_an_open_association_finish(start: Start) -> None:
    listener = start("--grace", "20")
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    listener.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in listener.log.read_text(), 10, listener.log.read_text)
    assert send(association, instance(2)) == 0
    association.release()
    assert listener.process.wait(20) == 0
    assert listener.query("select count(*) from instance") == [(2,)]
    assert listener.query("select outcome from association") == [("released",)]


def test_a_stop_does_not_wait_longer_than_its_grace(start: Start) -> None:
    listener = start("--grace", "0.5")
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    assert listener.stop(20) == 0
    assert listener.query("select outcome from association") == [("aborted",)]
    association.abort()


def test_workers_share_the_port_and_a_dead_one_is_replaced(start: Start) -> None:
    listener = start("--workers", "2")
    before = children(listener)
    assert len(before) == 2
    for number in range(8):
        association = associate(listener.port)
        assert send(association, instance(number + 1)) == 0
        association.release()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(set(children(listener)) - set(before)) == 1, 20, listener.log.read_text)
    for number in range(8, 16):
        association = associate(listener.port)
        assert send(association, instance(number + 1)) == 0
        association.release()
    assert listener.stop() == 0
    assert listener.query("select count(*) from instance") == [(16,)]
    assert len(list((listener.layout.study_raw(STUDY) / SERIES).iterdir())) == 16
    assert not children_left(listener.layout)


def children_left(layout: Layout) -> list[Path]:
    """Upload folders that still hold something."""
    return [path for path in layout.incoming.iterdir() if path.is_dir() and any(path.iterdir())]


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    listener = start("--workers", "2", "--grace", "1")
    workers = children(listener)
    listener.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20, lambda: str(workers))
    assert start("--grace", "1").stop() == 0


def test_a_worker_that_hangs_is_replaced_and_finishes_what_it_has_open(start: Start) -> None:
    listener = start("--workers", "1", "--supervised", "--hang", "4", "--grace", "40")
    (hanging,) = children(listener)
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    listener.eventually("select count(*) from instance", [(1,)])  # it must not hold the ledger meanwhile
    os.kill(hanging, signal.SIGSTOP)
    wait_for(lambda: len(children(listener)) == 2, 60, listener.log.read_text)
    other = associate(listener.port)
    assert send(other, instance(2)) == 0
    other.release()
    os.kill(hanging, signal.SIGCONT)
    assert send(association, instance(3)) == 0, "its Association goes on"
    association.release()
    # The supervisor hears of the end after the process is gone.
    wait_for(lambda: "has finished what it had open" in listener.log.read_text(), 60, listener.log.read_text)
    assert hanging not in children(listener)

    def standing() -> tuple[int, int, int]:
        facts = json.loads((listener.layout.logs / "receiver.json").read_text())
        return facts["hung"], facts["deaths"], facts["at_work"]

    wait_for(lambda: standing() == (1, 0, 1), 20, lambda: str(standing()))
    assert listener.stop() == 0
    assert listener.query("select count(*) from instance") == [(3,)]
    assert not json.loads((listener.layout.logs / "receiver.json").read_text())["running"]


def test_a_worker_that_dies_again_and_again_is_started_less_and_less_often(start: Start) -> None:
    listener = start("--workers", "1", "--supervised")
    standing = listener.layout.logs / "receiver.json"

    def kill(deaths: int) -> None:
        wait_for(
            lambda: deaths == 1 or json.loads(standing.read_text())["at_work"] == 1,
            60,
            listener.log.read_text,
        )
        os.kill(children(listener)[0], signal.SIGKILL)
        wait_for(lambda: json.loads(standing.read_text())["deaths"] == deaths, 20, listener.log.read_text)

    kill(1)
    kill(2)
    facts = json.loads(standing.read_text())
    assert facts["at_work"] == 0
    assert facts["last_death"] == "exit code -9"
    assert facts["next_start_at"] - facts["last_death_at"] == pytest.approx(2.0)
    wait_for(lambda: len(children(listener)) == 1, 20, listener.log.read_text)
    association = associate(listener.port)
    assert association.is_established
    association.release()
    assert listener.stop() == 0
