"""Limits of a receiver over real sockets: what is beyond them is refused, counted and never lost."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import
from sqlalchemy import text

from fiona_dagster.adapters import uploads
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.domain.access import AccessRules, access_from
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.limits import Limits
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.domain.reception import Peer, Refusal
from fiona_dagster.settings import standalone_site
from scp_listener import door, refusals, server
from scp_listener.acceptor import keep_watch
from scp_listener.manner import Company, Manner
from scp_listener.occupancy import Occupancy
from scp_listener.recovery import recover
from scp_listener.refusals import KINDS, SparingRecorder
from scp_listener.server import Listener, await_end
from tests.scp_listener.conftest import wait_for
from tests.scp_listener.instances import STUDY, associate, encoded, instance, send
from tests.scp_listener.raw_peer import (
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RawPeer,
    pdu,
    store,
    store_request,
    value,
)

ROOM, OPEN = Limits(disk_free_bytes=0), AccessRules()


class Rig:
    """A listener of this process, and its ledger."""

    def __init__(
        self, layout: Layout, limits: Limits, *, company: Company | None = None, access: AccessRules = OPEN,
        streamed: bool = True,
    ) -> None:  # fmt: skip
        site = standalone_site(layout.datadir, host="127.0.0.1", port=0, ae_title="FIONA")
        site = replace(site, receiver=ReceiverSettings(limits=limits, access=access))
        self.layout, self.ledger = layout, Ledger(f"sqlite:///{layout.ledger}")
        self.listener = Listener(
            site, self.ledger, worker="w", company=company, manner=Manner(streamed=streamed)
        )
        _, self.port = self.listener.start()
        self._stopped = False

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            assert self.listener.stop(10.0)

    def refusals(self) -> dict[tuple[int, str], int]:
        """How often each (Status, reason) was refused, once everything is recorded."""
        self.stop()
        with self.ledger.begin() as connection:
            rows = connection.execute(text("select status, reason, sum(times) from refusal group by 1, 2"))
            return {(int(status), str(reason)): int(times) for status, reason, times in rows}

    def archived(self) -> list[str]:
        folder = self.layout.study_archive(STUDY)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


Make = Callable[..., Rig]


@pytest.fixture
def make(layout: Layout) -> Iterator[Make]:
    made: list[Rig] = []

    def run(limits: Limits = ROOM, **more: Any) -> Rig:
        made.append(Rig(layout, limits, **more))
        return made[-1]

    yield run
    for one in made:
        one.stop()
        one.ledger.close()


def rejected(port: int) -> bool:
    """Whether one more Association is rejected."""
    association = associate(port)
    found: bool = association.is_rejected
    association.release()
    return found


def test_a_data_set_that_outgrows_the_room_is_refused_while_it_comes_and_the_next_one_is_taken(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make()
    answers = iter([True, True, False])
    monkeypatch.setattr(uploads, "_LOOK_BYTES", 100_000)
    monkeypatch.setattr(door.Door, "has_room", lambda *_, **__: next(answers, True))
    association = associate(rig.port)
    assert send(association, instance(1, PixelData=bytes(1_000_000), Rows=1000, Columns=500)) == 0xA700
    assert send(association, instance(2)) == 0
    association.release()
    assert rig.refusals() == {(0xA700, "the receiver has no room; send again later"): 1}
    assert len(rig.archived()) == 1
    assert list(rig.layout.incoming.rglob("*.dcm")) == []


def test_bytes_that_are_announced_count_before_they_come(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    spare = free.f_bavail * free.f_frsize
    limits = Limits(disk_free_bytes=spare // 2)
    judge = door.Door(
        ReceiverSettings(limits=limits), Occupancy(1).place(0), lambda *_: None, lambda: None, share=1
    )
    assert judge.has_room(tmp_path)
    assert judge.has_room(tmp_path, more=spare // 4)
    assert not judge.has_room(tmp_path, more=spare)


def test_a_stop_that_leaves_somebody_storing_is_not_clean_and_the_next_start_records_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(layout, ROOM)
    begun, go_on = threading.Event(), threading.Event()
    real = Spool.place

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(Spool, "place", slow)
    monkeypatch.setattr(server, "ABORTED_SECONDS", 0.1)
    association = associate(rig.port)

    def sending() -> None:
        with suppress(AttributeError):  # it was cut off without a Status
            send(association, instance(1))

    sender = threading.Thread(target=sending)
    sender.start()
    assert begun.wait(20)
    assert not rig.listener.stop(0.1), "else nobody would look for what is stored now"
    go_on.set()
    sender.join(20)
    wait_for(lambda: len(rig.archived()) == 1, 20, lambda: "it was not stored")
    rig.ledger.close()
    ledger = Ledger(f"sqlite:///{layout.ledger}")
    site = standalone_site(layout.datadir, host="127.0.0.1", port=0, ae_title="FIONA")
    assert recover(site, ledger).recorded == 1
    ledger.close()


def test_no_more_associations_than_may_be_and_a_heartbeat_is_none(make: Make) -> None:
    rig = make(replace(ROOM, associations=2))
    open_ones = [associate(rig.port), associate(rig.port)]
    assert rejected(rig.port)
    echo = associate(rig.port, Verification)
    assert echo.is_established, "the machine itself may always ask whether we answer"
    echo.release()
    open_ones[0].release()
    wait_for(lambda: not rejected(rig.port), 10, lambda: "a place was not given back")
    open_ones[1].release()
    ((status, reason),) = rig.refusals()
    assert (status, reason) == (0xA700, "as many Associations are open as may be")


def test_the_limit_holds_over_all_processes(make: Make) -> None:
    occupancy = Occupancy(2)
    rig = make(replace(ROOM, associations=3, associations_per_peer=2), company=Company(occupancy))
    other = occupancy.place(1)
    assert other.enter("127.0.0.1", most=3, most_of_peer=2) == ""
    one = associate(rig.port)
    assert rejected(rig.port), "two of one address"
    other.leave("127.0.0.1")
    assert not rejected(rig.port)
    one.release()
    assert set(rig.refusals()) == {(0xA700, "as many Associations of this peer are open as may be")}


def test_counts_of_a_process_that_died_are_forgotten() -> None:
    occupancy = Occupancy(2)
    first, second = occupancy.place(0), occupancy.place(1)
    for place in (first, second, second):
        assert place.enter("10.0.0.1", most=3, most_of_peer=0) == ""
    assert first.enter("10.0.0.2", most=3, most_of_peer=0) == "all"
    occupancy.clear(1)
    assert (occupancy.total(), occupancy.of_peer("10.0.0.1"), occupancy.of_peer("10.0.0.2")) == (1, 1, 0)
    assert occupancy.silent_seconds(1) < occupancy.silent_seconds(1) + 1
    first.leave("10.0.0.1")
    first.leave("10.0.0.1")
    assert occupancy.total() == 0


@pytest.mark.parametrize("streamed", [True, False])
def test_a_data_set_that_is_too_large_is_refused_and_the_next_one_taken(make: Make, streamed: bool) -> None:
    rig = make(replace(ROOM, object_bytes=4000), streamed=streamed)
    association = associate(rig.port)
    assert send(association, instance(1, Rows=64, Columns=64, PixelData=bytes(8192))) == 0xC107
    assert send(association, instance(2)) == 0
    association.release()
    assert [name[-2:] for name in rig.archived()] == [".2"]
    assert rig.refusals() == {(0xC107, "the data set is larger than this receiver takes"): 1}


@pytest.mark.parametrize("streamed", [True, False])
def test_a_disk_that_is_nearly_full_refuses_before_anything_is_lost_and_recovers_by_itself(
    make: Make, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(door, "_ROOM_SECONDS", 0.0)
    rig = make(Limits(disk_free_bytes=1 << 20, disk_free_percent=1.0), streamed=streamed)
    free = {"blocks": 10_000}
    disk = os.statvfs(rig.layout.datadir)
    real = os.statvfs
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: _disk(disk, free["blocks"]) if path == rig.listener._incoming else real(path),
    )
    association = associate(rig.port)
    assert send(association, instance(1)) == 0
    free["blocks"] = 99  # of 10,000: less than 1 %
    for number in (2, 3, 4):
        assert send(association, instance(number)) == 0xA700
    assert not list(rig.layout.incoming.rglob("*.dcm"))
    assert association.is_established, "its sender may ask again later, and C-ECHO is answered"
    free["blocks"] = 10_000
    assert send(association, instance(2)) == 0
    association.release()
    assert [name[-2:] for name in rig.archived()] == [".1", ".2"]
    assert rig.refusals() == {(0xA700, "the receiver has no room; send again later"): 3}


def _disk(like: os.statvfs_result, free: int) -> os.statvfs_result:
    values = list(like[:10])
    values[1], values[2], values[3], values[4] = 4096, 10_000, free, free
    return os.statvfs_result(values)


def test_a_peer_that_sends_too_fast_is_read_more_slowly_and_loses_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("scp_listener.metering.time.sleep", waited.append)
    rig = make(replace(ROOM, bytes_per_second=10_000, objects_per_minute=2))
    association = associate(rig.port)
    for number in (1, 2, 3):
        assert send(association, instance(number, Rows=64, Columns=64, PixelData=bytes(8192))) == 0
    association.release()
    rig.stop()
    assert max(waited) > 10, "two a minute: the third waits"
    assert any(0 < seconds < 5 for seconds in waited), "8 kB at 10 kB/s"
    assert len(rig.archived()) == 3


def test_who_hangs_up_and_calls_again_may_send_no_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("scp_listener.door.time.sleep", waited.append)
    rig = make(replace(ROOM, objects_per_minute=2))
    for number in (1, 2, 3):
        association = associate(rig.port)
        assert send(association, instance(number)) == 0
        association.release()
        wait_for(lambda: not rig.listener._open, 10, lambda: "an Association is not counted out")
        rig.listener._sweep()
    assert max(waited) > 10, "two a minute: the third waits, whatever Association it comes on"


def test_a_clock_that_is_set_ends_nothing_and_hides_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(replace(ROOM, idle_seconds=30, message_seconds=30))
    real, jump = time.time, {"seconds": 0.0}
    rig.listener._spool.mark_recorded(real())
    monkeypatch.setattr(time, "time", lambda: real() + jump["seconds"])
    peer = RawPeer(rig.port)  # pynetdicom's sender counts by the clock
    peer.associate()
    for number, seconds in ((1, 0.0), (2, 86_400.0), (3, -86_400.0)):
        jump["seconds"] = seconds
        rig.listener._sweep()
        image = instance(number)
        peer.send(store(image.SOPInstanceUID.encode(), encoded(image)))
        assert b"\0\0\0\x09\2\0\0\0\0\0" in peer.answer(), "Status: Success"
    peer.send(pdu(RELEASE_RQ, bytes(4)))
    assert peer.answer()[0] == RELEASE_RP
    peer.end()
    assert rig.listener._spool.recorded_until() < real() - 86_000, "recovery looks back to before the step"
    rig.stop()
    assert len(rig.archived()) == 3
    with rig.ledger.begin() as connection:
        assert connection.execute(text("select count(*) from instance")).scalar_one() == 3
        assert connection.execute(text("select outcome from association")).scalars().all() == ["released"]


def test_a_data_set_that_does_not_end_is_not_waited_for(make: Make) -> None:
    rig = make(replace(ROOM, message_seconds=0.3))
    peer = RawPeer(rig.port)
    peer.associate()
    peer.send(pdu(P_DATA, value(store_request(b"1.2.3"), COMMAND | LAST)))
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.02):  # something always moves
            peer.send(pdu(P_DATA, value(b"..", 0)))

    sender = threading.Thread(target=trickle)
    sender.start()
    wait_for(
        lambda: not list(rig.layout.incoming.rglob("*.dcm")) and _hung_up(peer), 10, lambda: "it goes on"
    )
    ended.set()
    sender.join()
    peer.end()
    assert rig.refusals() == {(0xA700, "a data set took too long"): 1}


def _hung_up(peer: RawPeer) -> bool:
    peer.socket.settimeout(0)
    try:
        return peer.socket.recv(100) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_connection_that_trickles_its_request_is_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "NEGOTIATION_SECONDS", 0.3)
    rig = make()
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as slow:
        slow.sendall(b"\1\0\0\0\1\0half")
        assert slow.recv(100) == b""


def test_a_connection_whose_thread_is_just_starting_is_not_taken_for_one_that_has_ended(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, start = make(), Association.start

    def slowly(self: Any) -> None:
        start(self)
        self._started.clear()  # as a thread is between the moment it has an ident and the one it is alive
        rig.listener._sweep()
        self._started.set()

    monkeypatch.setattr(Association, "start", slowly)
    peer = RawPeer(rig.port)
    peer.associate()
    peer.end()


def test_the_oldest_connection_that_asks_for_nothing_gives_way(make: Make) -> None:
    rig = make(replace(ROOM, associations=1))
    connections = [socket.create_connection(("127.0.0.1", rig.port), timeout=10) for _ in range(24)]
    assert not rejected(rig.port), "2 x 1 + 16 have a place"
    wait_for(lambda: len(_ended(connections)) == 7, 10, lambda: str(len(_ended(connections))))
    assert _ended(connections) == connections[:7]
    for one in connections:
        one.close()
    wait_for(lambda: not rejected(rig.port), 10, lambda: "they are counted for ever")
    assert rig.refusals()[0xA700, "a connection that asked for nothing gave way to another"] == 7


def test_one_who_keeps_connections_open_keeps_nobody_out_and_ends_no_association(make: Make) -> None:
    rig = make(replace(ROOM, associations=2))
    working = associate(rig.port)
    with ExitStack() as kept:
        for _ in range(60):
            kept.enter_context(socket.create_connection(("127.0.0.1", rig.port), timeout=10))
        for number in range(8):
            echo = associate(rig.port, Verification)
            assert echo.is_established
            echo.release()
            assert send(working, instance(number)) == 0
            kept.enter_context(socket.create_connection(("127.0.0.1", rig.port), timeout=10))
    working.release()
    assert working.is_released


def _ended(connections: list[socket.socket]) -> list[socket.socket]:
    return [one for one in select.select(connections, [], [], 0)[0] if one.recv(1, socket.MSG_PEEK) == b""]


def test_without_descriptors_or_threads_a_connection_waits_or_ends_and_the_next_is_served(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make()
    accept, failures = socket.socket.accept, [errno.EMFILE, errno.ENOMEM]

    def accept_later(listening: socket.socket) -> object:
        if failures:
            raise OSError(failures.pop(), "exhausted")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    echo = associate(rig.port, Verification)
    assert echo.is_established, "it waited in the queue"
    echo.release()
    assert not failures
    start, no_thread = threading.Thread.start, [True]

    def refuse_once(thread: threading.Thread) -> None:
        if "process_request_thread" in thread.name and no_thread:
            no_thread.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as unlucky:
        assert unlucky.recv(1) == b""
    assert not rejected(rig.port)
    assert set(rig.refusals()) == {
        (0xA700, "the receiver is out of descriptors or memory"), (0xA700, "the receiver is out of threads"),
    }  # fmt: skip


def test_the_kernel_watches_for_peers_that_vanish() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
    ):
        keep_watch(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, pause, count = (
            one.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + pause * count == 120
        keep_watch(socket.socket())
    closed = socket.socket()
    closed.close()
    keep_watch(closed)


def test_only_permitted_services_are_accepted_and_strangers_are_told_why(make: Make) -> None:
    lines = [{"aetitle": "SCANNER1", "services": ["query"]}, {"aetitle": "CT1", "addresses": ["10.0.0.1"]}]
    rig = make(access=access_from({"callers": lines, "called": ["FIONA"]}, place="t"))
    association = associate(rig.port, Verification, CTImageStorage)
    assert [context.abstract_syntax for context in association.accepted_contexts] == [Verification]
    assert [context.abstract_syntax for context in association.rejected_contexts] == [CTImageStorage]
    association.release()
    assert rejected(rig.port)
    wrong = associate(rig.port, called="OTHER")
    assert wrong.acceptor.primitive.diagnostic == 7, "called AE title not recognized (PS3.8 table 9-21)"
    assert rig.refusals() == {
        (0x0124, "nothing that was proposed is permitted to this caller"): 1,
        (0x0124, "the called AE title is not one of ours"): 1,
    }


def test_a_flood_of_refusals_is_summed_up(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(f"sqlite:///{layout.ledger}")
    recorder = SparingRecorder(ledger.reception, site="S", worker="w")
    for number in range(10_000):
        recorder.refused(Refusal("S", 0x0124, "no", time.time(), Peer(f"AE{number % 200}", "F", "10.0.0.1")))
    for number in range(3):
        recorder.refused(Refusal("S", 0xC000, "broken", time.time(), Peer("A", "F", "x"), f"q/{number}"))
    recorder.sum_up()
    monkeypatch.setattr(refusals, "WINDOW_SECONDS", 0.0)
    recorder.sum_up()
    assert recorder.stop(10.0)
    with ledger.begin() as connection:
        rows = list(
            connection.execute(text("select times, path, calling_ae from refusal where status = 292"))
        )
        assert sum(row.times for row in rows) == 10_000
        assert len(rows) == 2 * KINDS + 1
        assert [row.times for row in rows if not row.calling_ae] == [10_000 - 50 * KINDS]
        kept = connection.execute(text("select count(*) from refusal where path is not null")).scalar_one()
    assert kept == 3, "what lies in the quarantine has a row of its own"
    assert ledger.inventory.totals().refused == 10_003
    ledger.close()


def test_a_connection_that_came_as_the_listener_stops_is_waited_for_though_its_thread_has_not_begun() -> None:
    begun = threading.Event()
    late = threading.Thread(target=begun.set)
    threading.Timer(0.05, late.start).start()
    await_end(late, 30)
    assert begun.is_set()
    assert not late.is_alive()
    await_end(threading.Thread(target=begun.wait), 0.02)  # one that never begins holds nobody up
