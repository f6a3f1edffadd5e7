"""Whoever can reach the port may send anything: no crash, no file outside the data directory, no memory growth, and
other Associations go on."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.dimse_status import Status
from tests.scp_listener.conftest import Running, wait_for
from tests.scp_listener.hostile_bytes import (
    BEFORE_ASSOCIATION,
    BROKEN_REQUESTS,
    DATA,
    IN_DATA_TRANSFER,
    MEGABYTE,
    REQUEST,
    UID,
)
from tests.scp_listener.instances import SERIES, STUDY, associate, encoded, instance, send
from tests.scp_listener.raw_peer import (
    ABORT,
    ASSOCIATE_RJ,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RawPeer,
    associate_request,
    pdu,
    store,
    value,
)

pytestmark = pytest.mark.parametrize("listener", ["streamed"], indirect=True)
"""pynetdicom's own data phase takes more than PS3.8 allows, such as a data set on another context than its request."""

GROWTH_BYTES = 48 * MEGABYTE


def memory(listener: Running) -> int:
    status = Path(f"/proc/{listener.process.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def files(root: Path) -> set[Path]:
    """Where files really lie: links (of the side files) lead to them."""
    return {path.resolve() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def bystander(listener: Running) -> Iterator[Any]:
    """An Association of somebody else, who must be able to go on: at the end it sends and releases."""
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    yield association
    assert send(association, instance(2)) == 0
    association.release()
    assert association.is_released
    assert listener.process.poll() is None


@pytest.fixture(autouse=True)
def _nothing_else(listener: Running, bystander: Any, tmp_path: Path) -> Iterator[None]:
    """Memory and files as they should be, whatever a test sent."""
    before = memory(listener)
    yield
    layout = listener.layout
    assert memory(listener) - before < GROWTH_BYTES
    wait_for(lambda: not list(layout.incoming.rglob("*.dcm")), 20, lambda: str(files(layout.incoming)))
    kept = [folder.resolve() for folder in (layout.archive, layout.refused, layout.aside)]
    images = {path for path in files(tmp_path) if b"DICM" in path.read_bytes()[:200]}
    assert all(any(folder in path.parents for folder in kept) for path in images)
    assert {path.name for path in files(layout.archive)} <= {f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.9"}


def test_bytes_that_are_no_association_request(listener: Running) -> None:
    for name, content in BEFORE_ASSOCIATION.items():
        peer = RawPeer(listener.port)
        peer.send(content)
        answer = peer.end()
        assert answer[:1] in {b"", b"\x02", b"\x03", b"\x07"}, name


def test_a_request_that_cannot_be_understood_is_aborted_told_and_takes_no_place(listener: Running) -> None:
    for name, content in BROKEN_REQUESTS.items():
        peer = RawPeer(listener.port)
        peer.send(content)
        assert peer.answer()[0] == ABORT, name  # before it has hung up itself
        peer.end()
    ledger = Ledger(f"sqlite:///{listener.layout.ledger}")
    wait_for(
        lambda: any("cannot be understood" in one.reason for one in ledger.inventory.refusals()),
        20,
        lambda: "no refusal was recorded",
    )
    ledger.close()


def test_bytes_that_data_transfer_does_not_allow(listener: Running) -> None:
    for name, content in IN_DATA_TRANSFER.items():
        peer = RawPeer(listener.port)
        peer.associate()
        peer.send(content)
        peer.end()
        assert listener.process.poll() is None, name
    assert not (listener.layout.study_archive(STUDY) / UID.decode()).exists()


def released(peer: RawPeer) -> None:
    peer.associate()
    peer.send(pdu(RELEASE_RQ, bytes(4)))
    assert peer.answer()[0] == RELEASE_RP


def aborted(peer: RawPeer) -> None:
    peer.associate()
    peer.send(pdu(ABORT, bytes(4)))


def rejected(peer: RawPeer) -> None:
    peer.send(associate_request())
    assert peer.answer()[0] == ASSOCIATE_RJ


@pytest.mark.parametrize("ended", [released, aborted, rejected])
def test_nothing_that_follows_the_end_of_an_association_is_taken(
    listener: Running, ended: Callable[[RawPeer], None]
) -> None:
    if ended is rejected:
        listener.layout.enabled.write_text("0")
    for name, content in {**BEFORE_ASSOCIATION, **IN_DATA_TRANSFER, "an instance": store(UID, DATA)}.items():
        peer = RawPeer(listener.port)
        ended(peer)
        before = len(peer.received)
        peer.send(content)
        assert peer.end()[before : before + 1] in {b"", b"\x07"}, name
    assert listener.process.poll() is None
    assert not (listener.layout.study_archive(STUDY) / UID.decode()).exists()


@pytest.mark.parametrize(
    "uid",
    [b"../../../../etc/passwd", b"..", b"/etc/passwd", b"1.2\0../3", b"1.2\n3", b"9" * 5000, b"1." * 40, b"\xff\xfe"],
    ids=["up", "dots", "absolute", "NUL", "line", "5000", "80", "binary"],
)  # fmt: skip
def test_uids_never_become_paths(listener: Running, uid: bytes) -> None:
    for keyword, number in (
        ("StudyInstanceUID", 0x000D),
        ("SeriesInstanceUID", 0x000E),
        ("SOPInstanceUID", 0x0018),
    ):
        image = instance(9)
        delattr(image, keyword)
        group = 0x0008 if number == 0x0018 else 0x0020
        head = (
            struct.pack("<HH2sH", group, number, b"UI", len(uid) + len(uid) % 2)
            + uid
            + b"\0" * (len(uid) % 2)
        )
        own = keyword == "SOPInstanceUID"
        peer = RawPeer(listener.port)
        peer.associate()
        peer.send(store(uid if own else UID, head + encoded(image)))
        peer.end()
        status = _status(peer.received)
        assert status is None or status != Status.SUCCESS
    assert not (listener.layout.study_archive(STUDY) / UID.decode()).exists()


def test_any_byte_may_be_another(listener: Running) -> None:
    """Requests with a few bytes changed, always the same ones: answered, refused or aborted, never more."""
    chance = random.Random(4)
    stream = store(UID, DATA)
    for _ in range(60):
        content = bytearray(stream)
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(min(len(content), 260))] = chance.randrange(256)
        peer = RawPeer(listener.port)
        peer.associate()
        peer.send(bytes(content))
        peer.end()
    assert listener.process.poll() is None


def test_a_data_set_may_come_in_single_bytes_and_values_in_one_pdu(listener: Running) -> None:
    peer = RawPeer(listener.port)
    peer.associate()
    halves = value(REQUEST[:30], COMMAND) + value(REQUEST[30:], COMMAND | LAST)
    peer.send(pdu(P_DATA, halves + b"".join(value(bytes((one,)), 0) for one in DATA) + value(b"", LAST)))
    assert peer.answer()[0] == P_DATA
    peer.send(pdu(RELEASE_RQ, bytes(4)))
    assert peer.answer()[0] == RELEASE_RP
    peer.end()
    assert _status(peer.received) == Status.SUCCESS
    stored = listener.layout.archived_instance(STUDY, UID.decode())
    assert stored.read_bytes().endswith(DATA)


def test_connections_that_ask_for_nothing_keep_nobody_out(listener: Running) -> None:
    silent = [RawPeer(listener.port) for _ in range(200)]  # 2 x 64 + 16 have a place
    for kind in (CTImageStorage, Verification, CTImageStorage):
        association = associate(listener.port, kind)
        assert association.is_established
        assert kind == Verification or send(association, instance(9)) == 0
        association.release()
    assert not silent[-1].is_over(), "there is a place for it until another one needs it"
    for peer in silent:
        peer.socket.close()


def _status(received: bytes) -> int | None:
    """The Status in what a peer received after its A-ASSOCIATE-AC; None where the Association was aborted."""
    at = received.find(struct.pack("<HHL", 0, 0x0900, 2))
    return None if at < 0 else int.from_bytes(received[at + 8 : at + 10], "little")
