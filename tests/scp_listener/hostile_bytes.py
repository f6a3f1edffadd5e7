"""Wrong, cut and endless PDUs for every state of the upper layer (PS3.8 section 9.2)."""

from __future__ import annotations

import os
import struct

from pydicom.uid import CTImageStorage

from tests.scp_listener.instances import SERIES, encoded, instance
from tests.scp_listener.raw_peer import (
    ABORT,
    ASSOCIATE_RQ,
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    associate_request,
    element,
    pdu,
    store,
    store_request,
    value,
)

UID = f"{SERIES}.9".encode()
DATA = encoded(instance(9))
REQUEST = store_request(UID)
MEGABYTE = 1 << 20
STORE = value(REQUEST, COMMAND | LAST)
BEGUN = STORE + value(DATA[:50], 0)

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
