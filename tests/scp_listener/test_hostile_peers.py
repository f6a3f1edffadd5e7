"""Whoever can reach the port may send anything: no crash, no file outside the data directory, no memory growth, and
other Associations go on."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.dimse_status import Status
from tests.scp_listener.conftest import Running, wait_for
from tests.scp_listener.instances import SERIES, STUDY, associate, encoded, instance, send
from tests.scp_listener.raw_peer import (
    ABORT,
    ASSOCIATE_RQ,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RawPeer,
    associate_request,
    element,
    pdu,
    store,
    store_request,
    value,
)

pytestmark = pytest.mark.parametrize("listener", ["streamed"], indirect=True)
"""pynetdicom's own data phase takes more than PS3.8 allows, such as a data set on another context than its request."""

UID = f"{SERIES}.9".encode()
DATA = encoded(instance(9))
REQUEST = store_request(UID)
MEGABYTE = 1 << 20
STORE = value(REQUEST, COMMAND | LAST)
BEGUN = STORE + value(DATA[:50], 0)
GROWTH_BYTES = 48 * MEGABYTE

BEFORE_ASSOCIATION = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\nHost: fiona\r\n\r\n",
    "half a head": b"\x01\x00\x00",
    "unknown type": pdu(0x42, bytes(8)),
    "type zero": bytes(64),
    "data": pdu(P_DATA, STORE),
    "release": pdu(RELEASE_RQ, bytes(4)),
    "abort": pdu(ABORT, bytes(4)),
    "cut request": associate_request()[:-20],
    "longer than it is": pdu(ASSOCIATE_RQ, bytes(64), length=1000),
    "without an end": pdu(ASSOCIATE_RQ, bytes(4 * MEGABYTE), length=0xFFFFFFFF),
    "zeros": pdu(ASSOCIATE_RQ, bytes(200)),
    "wrong version": pdu(ASSOCIATE_RQ, b"\xff\xff" + associate_request()[8:]),
    "item beyond the end": pdu(ASSOCIATE_RQ, associate_request()[6:74] + b"\x10\0\xff\xff1.2"),
    "items without length": pdu(ASSOCIATE_RQ, associate_request()[6:74] + b"\x20\0\0\0" * 500),
    "nested contexts": pdu(
        ASSOCIATE_RQ, associate_request()[6:74] + b"".join(b"\x20\0" + struct.pack(">H", 4 * n) for n in range(99))
    ),
    "twice": associate_request() * 2,
}  # fmt: skip


def asking_for(*context: bytes, number: int = 1) -> bytes:
    """An A-ASSOCIATE-RQ with one Presentation Context of these items (PS3.8 table 9-13)."""
    items = b"".join(context)
    head = associate_request()[6:74] + b"\x10\0\0\x151.2.840.10008.3.1.1.1"
    return pdu(ASSOCIATE_RQ, head + b"\x20\0" + struct.pack(">HBxxx", 4 + len(items), number) + items)


def item(kind: int, uid: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(uid)) + uid


ABSTRACT, TRANSFER = item(0x30, CTImageStorage.encode()), item(0x40, b"1.2.840.10008.1.2.1")
BROKEN_REQUESTS = {
    "even context": asking_for(ABSTRACT, TRANSFER, number=2),
    "context zero": asking_for(ABSTRACT, TRANSFER, number=0),
    "no abstract syntax": asking_for(TRANSFER),
    "no transfer syntax": asking_for(ABSTRACT),
    "empty transfer syntax": asking_for(ABSTRACT, item(0x40, b"")),
    "empty context": asking_for(),
    "a title that is no text": pdu(ASSOCIATE_RQ, b"\0\1\0\0" + b"\xff" * 64 + asking_for(ABSTRACT, TRANSFER)[74:]),
}  # fmt: skip

IN_DATA_TRANSFER = {
    "another request": associate_request(),
    "release response": pdu(RELEASE_RP, bytes(4)),
    "unknown type": pdu(0x99, bytes(8)),
    "value of no bytes": pdu(P_DATA, value(b"", COMMAND, length=0)),
    "value of one byte": pdu(P_DATA, value(b"", COMMAND, length=1)),
    "value beyond its PDU": pdu(P_DATA, value(REQUEST, COMMAND | LAST, length=5000)),
    "value of 4 GB": pdu(P_DATA, value(REQUEST, COMMAND | LAST, length=0xFFFFFFFF), length=0xFFFFFFFF),
    "half a value head": pdu(P_DATA, b"\0\0\0"),
    "PDU without an end": pdu(P_DATA, STORE, length=0xFFFFFFFF),
    "data without a request": pdu(P_DATA, value(DATA, LAST)),
    "endless request": pdu(P_DATA, value(bytes(60000), COMMAND)) * 40,
    "endless request in one": pdu(P_DATA, value(bytes(4 * MEGABYTE), COMMAND)),
    "garbage request": pdu(P_DATA, value(os.urandom(300), COMMAND | LAST)),
    "empty request": pdu(P_DATA, value(b"", COMMAND | LAST)),
    "request without UIDs": pdu(P_DATA, value(store_request(b"", sop_class=b""), COMMAND | LAST)),
    "element beyond the request": pdu(P_DATA, value(struct.pack("<HHL", 0, 2, 9999), COMMAND | LAST)),
    "message of an unknown kind": pdu(P_DATA, value(store_request(UID, kind=0x7777), COMMAND | LAST)),
    "response to nothing": pdu(P_DATA, value(store_request(UID, kind=0x8001, data=0x0101), COMMAND | LAST)),
    "context that was not accepted": pdu(P_DATA, value(REQUEST, COMMAND | LAST, context=99)),
    "context zero": pdu(P_DATA, value(REQUEST, COMMAND | LAST, context=0)),
    "store on the context of an echo": pdu(P_DATA, value(REQUEST, COMMAND | LAST, context=3)),
    "other context for the data": pdu(P_DATA, STORE + value(DATA, LAST, context=3)),
    "request within the data": pdu(P_DATA, BEGUN + value(REQUEST, 3)),
    "release within the data": pdu(P_DATA, BEGUN) + pdu(RELEASE_RQ, bytes(4)),
    "abort within the data": pdu(P_DATA, BEGUN) + pdu(ABORT, bytes(4)),
    "end within the data": pdu(P_DATA, BEGUN),
    "end within a value": store(UID, DATA)[:-20],
    "find on a storage context": pdu(P_DATA, value(store_request(UID, kind=0x20), COMMAND | LAST) + value(DATA, LAST)),
    "create without an end": pdu(P_DATA, value(store_request(UID, kind=0x140), COMMAND | LAST))
    + pdu(P_DATA, value(bytes(MEGABYTE - 100), 0)) * 20,
    "abort of a wrong length": pdu(ABORT, bytes(400)),
    "echo with another group": pdu(P_DATA, value(element(0x100, b"\x30\0", group=9), COMMAND | LAST, context=3)),
}  # fmt: skip


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
