"""The data phase in a listener of this process, with what goes wrong on our side."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydicom.uid import CTImageStorage
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.limits import Limits
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.settings import Site, standalone_site
from scp_listener.server import Listener
from scp_listener.store_messages import StoreCommand, command_pdus, store_command, store_response
from tests.scp_listener.instances import SERIES, STUDY, associate, encoded, instance, send
from tests.scp_listener.raw_peer import (
    P_DATA,
    VERIFICATION,
    RawPeer,
    element,
    pdu,
    store,
    store_request,
    value,
)


@pytest.fixture
def site(layout: Layout) -> Site:
    return standalone_site(layout.datadir, host="127.0.0.1", port=0, ae_title="FIONA")


class Rig:
    """A listener and its ledger."""

    def __init__(self, site: Site) -> None:
        self.site, self.ledger = site, Ledger(f"sqlite:///{site.layout.ledger}")
        self.listener = Listener(site, self.ledger, worker="w")
        _, self.port = self.listener.start()
        self._stopped = False

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            assert self.listener.stop(10.0)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        self.stop()
        with self.ledger.begin() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]


@pytest.fixture
def rig(site: Site) -> Iterator[Rig]:
    made = Rig(site)
    yield made
    made.stop()
    made.ledger.close()


def test_other_messages_between_two_instances_are_answered(rig: Rig) -> None:
    association = associate(rig.port, str(CTImageStorage), VERIFICATION)
    for number in (1, 2, 3):
        assert send(association, instance(number)) == 0
        assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released
    assert rig.rows("select count(*) from instance") == [(3,)]
    assert rig.rows("select outcome from association") == [("released",)]


def test_a_disk_that_is_full_in_the_middle_costs_that_instance_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_upload: Upload, _fragment: memoryview) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    association = associate(rig.port)
    with monkeypatch.context() as patch:
        patch.setattr(Upload, "write", full)
        assert send(association, instance(1)) == 0xA700
    assert send(association, instance(2)) == 0
    association.release()
    assert [path.name for path in rig.site.layout.study_archive(STUDY).iterdir()] == [f"{SERIES}.2"]
    assert not list(rig.site.layout.incoming.rglob("*.dcm"))
    assert rig.rows("select status from refusal") == [(0xA700,)]


def test_an_association_on_which_nothing_moves_is_aborted(site: Site) -> None:
    site = replace(site, receiver=ReceiverSettings(limits=Limits(idle_seconds=0.5)))
    rig = Rig(site)
    peer = RawPeer(rig.port)
    peer.associate()
    assert peer.answer()[0] == 7
    peer.end()
    assert rig.rows("select outcome from association") == [("aborted",)]
    rig.ledger.close()


def test_a_peer_that_does_not_wait_for_answers_loses_nothing(rig: Rig) -> None:
    """It does not wait for answers: what lies in our buffer is the next request."""
    peer = RawPeer(rig.port)
    peer.associate()
    images = [store(f"{SERIES}.{number}".encode(), encoded(instance(number))) for number in range(1, 20)]
    peer.send(b"".join(images))
    answers = [peer.answer() for _ in images]
    assert all(answer[0] == P_DATA for answer in answers)
    peer.end()
    assert rig.rows("select count(*) from instance") == [(19,)]


def test_senders_at_the_same_time_do_not_mix(rig: Rig) -> None:
    def one(sender: int) -> None:
        association = associate(rig.port)
        for number in range(10):
            assert send(association, instance(sender * 100 + number)) == 0
        association.release()

    threads = [threading.Thread(target=one, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert rig.rows("select count(*), sum(aside) from instance") == [(40, 0)]
    assert rig.rows("select count(*), count(closed_at) from association") == [(4, 4)]


def test_a_response_repeats_the_uids_and_fits_what_the_peer_takes() -> None:
    command = store_command(store_request(b"1.2.3"))
    assert command == StoreCommand(7, str(CTImageStorage).encode() + b"\0", b"1.2.3\0")
    answer = store_response(command, 0xA700, "no room")
    assert b"1.2.3\0" in answer
    assert b"no room " in answer
    assert int.from_bytes(answer[8:12], "little") == len(answer) - 12
    assert 64 < len(answer) <= 128
    whole = command_pdus(answer, 5, 0)
    assert whole == pdu(P_DATA, value(answer, 3, context=5))
    assert command_pdus(answer, 5, 70) == pdu(P_DATA, value(answer[:64], 1, context=5)) + pdu(
        P_DATA, value(answer[64:], 3, context=5)
    )
    assert b"9" * 70 not in store_response(StoreCommand(7, b"1.2", b"9" * 70), 0xC105)


def test_a_request_with_more_elements_says_the_same_as_one_with_the_usual_ones() -> None:
    usual = store_request(b"1.2.3")
    for more in (element(0x1030, b"MOVER "), element(0x1031, b"\x09\0")):
        assert store_command(usual + more) == store_command(usual)
    cut = usual[:-2]
    for wrong in (cut, usual + b"\0", usual[:16] + b"\xff\xff\xff\xff" + usual[20:], usual[:-6]):
        with pytest.raises(ValueError, match=r"command set"):
            store_command(wrong)


@pytest.mark.parametrize("command", [b"\0", store_request(b""), store_request(b"1.2", sop_class=b"")])
def test_a_request_that_says_too_little_is_no_request(command: bytes) -> None:
    with pytest.raises(ValueError, match=r"command set|UID"):
        store_command(command)


def test_other_messages_are_not_ours() -> None:
    assert store_command(store_request(b"1.2", kind=0x30)) is None
    assert store_command(store_request(b"1.2", data=0x0101)) is None
