"""A peer that sends whatever bytes a test wants, in any state of the upper layer (PS3.8 sections 9.2 and 9.3)."""

from __future__ import annotations

import select
import socket
import ssl
import struct

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fiona_dagster.adapters.dicom_scu import acse

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 1, 2, 3, 4, 5, 6, 7
COMMAND, LAST = 1, 2
VERIFICATION = "1.2.840.10008.1.1"
PATIENCE_SECONDS = 15.0


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """A PDU; `length` where it should lie."""
    return struct.pack(">BxL", kind, len(body) if length is None else length) + body


def value(content: bytes, flags: int, *, context: int = 1, length: int | None = None) -> bytes:
    """A presentation data value; `length` where it should lie."""
    return struct.pack(">LBB", len(content) + 2 if length is None else length, context, flags) + content


def element(number: int, content: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHL", group, number, len(content)) + content


def store_request(
    sop_instance: bytes, *, sop_class: bytes = str(CTImageStorage).encode(), kind: int = 1, data: int = 1
) -> bytes:
    """The command set of a C-STORE request, or of another message `kind`."""
    body = (
        element(0x0002, sop_class + b"\0" * (len(sop_class) % 2))
        + element(0x0100, struct.pack("<H", kind))
        + element(0x0110, struct.pack("<H", 7))
        + element(0x0700, struct.pack("<H", 0))
        + element(0x0800, struct.pack("<H", data))
        + element(0x1000, sop_instance + b"\0" * (len(sop_instance) % 2))
    )
    return element(0, struct.pack("<L", len(body))) + body


def store(sop_instance: bytes, data: bytes) -> bytes:
    """A whole C-STORE request, its data set in one PDU."""
    command = pdu(P_DATA, value(store_request(sop_instance), COMMAND | LAST))
    return command + pdu(P_DATA, value(data, LAST))


def associate_request() -> bytes:
    """An A-ASSOCIATE-RQ for CT images (context 1) and Verification (context 3)."""
    syntaxes = [str(ExplicitVRLittleEndian)]
    return acse.associate_request(
        "FIONA", "HOSTILE", [(str(CTImageStorage), syntaxes), (VERIFICATION, syntaxes)], 16384
    )


class RawPeer:
    """A connection, over TLS with a `context`; what it receives is in `received`."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self.received = b""

    def associate(self) -> None:
        """Reach data transfer (state 6)."""
        self.send(associate_request())
        head = self._exactly(6)
        assert head[0] == ASSOCIATE_AC, head
        self._exactly(int.from_bytes(head[2:6], "big"))

    def send(self, content: bytes) -> None:
        """Send; a peer that hung up already need not take it all."""
        try:
            self.socket.sendall(content)
        except OSError:
            return

    def answer(self) -> bytes:
        """The next PDU."""
        head = self._exactly(6)
        return head + self._exactly(int.from_bytes(head[2:6], "big"))

    def is_over(self) -> bool:
        """Whether the other side has hung up by now."""
        if not select.select([self.socket], [], [], 0)[0]:
            return False
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def end(self) -> bytes:
        """Send nothing more; everything until the other side hangs up, which it must."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.socket.close()
            return self.received
        try:
            while piece := self.socket.recv(65536):
                self.received += piece
        except ConnectionError:
            return self.received
        finally:
            self.socket.close()
        return self.received

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            assert piece, "the connection ended"
            data += piece
        self.received += data
        return data
