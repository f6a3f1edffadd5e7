"""One Association as requestor, on the caller's thread alone (PS3.8). See the package for why.

TCP_NODELAY is set, and TCP_QUICKACK again after every receive: peers that leave Nagle's algorithm on send the header
and the body of a response separately, and the second waits 40 ms for the acknowledgement of the first (a DCMTK
storescp at its defaults then takes 20 images a second, of any size).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from fiona_dagster.adapters.dicom_scu import acse, messages
from fiona_dagster.adapters.dicom_scu.messages import Response
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

MAXIMUM_CONTEXTS = 128
"""Presentation context IDs are the odd numbers from 1 to 255 (PS3.8 9.3.2.2)."""

MAXIMUM_PDU = 131_072
"""Longest P-DATA-TF variable field in bytes that we receive, and that we send to a peer that accepts more."""

MAXIMUM_IDENTIFIER = 4 * 1024 * 1024
_A_ASSOCIATE_AC, _A_ASSOCIATE_RJ, _P_DATA_TF, _A_RELEASE_RQ, _A_RELEASE_RP, _A_ABORT = 2, 3, 4, 5, 6, 7
_PDU_HEAD = struct.Struct(">BxL")
_PDV_HEAD = struct.Struct(">LBB")
_P_DATA_HEAD = struct.Struct(">BxLLBB")
_COMMAND, _LAST = 1, 2
P_DATA_HEAD_LENGTH = _P_DATA_HEAD.size


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for the TCP connection, for an answer of the ACSE and for one DIMSE message."""

    connect: float = 10.0
    acse: float = 30.0
    dimse: float = 60.0


def write_p_data_head(
    buffer: bytearray, at: int, length: int, context_id: int, *, command: bool, last: bool
) -> None:
    """Write the heads of a P-DATA-TF PDU with one PDV of `length` bytes into `buffer` (PS3.8 9.3.5)."""
    flags = (_COMMAND if command else 0) | (_LAST if last else 0)
    _P_DATA_HEAD.pack_into(buffer, at, _P_DATA_TF, length + 6, length + 2, context_id, flags)


class Association:
    """An established Association: a context manager that releases at the end and aborts on an error.

    Every failure of the connection is a `Transient`; after one, the Association is of no further use.
    """

    def __init__(
        self,
        peer: DicomPeer,
        calling: str,
        proposed: Sequence[tuple[str, Sequence[str]]],
        timeouts: Timeouts,
    ) -> None:
        """Connect and negotiate.

        Args:
            peer: whom to call.
            calling: our AE title.
            proposed: abstract syntax and transfer syntaxes of each Presentation Context, at most 128.
            timeouts: in seconds.

        Raises:
            Transient: refused connection, timeout, abort, rejected for now.
            Permanent: rejected for good, with what to do.
        """
        self.peer = peer
        self._timeouts = timeouts
        self._received = bytearray()
        self.accepted: Mapping[tuple[str, str], int] = {}
        """Context ID by abstract syntax and agreed transfer syntax."""
        self.maximum_pdu = MAXIMUM_PDU
        try:
            self._socket = socket.create_connection((peer.host, peer.port), timeout=timeouts.connect)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Transient(
                f"no connection to {peer} ({reason}): check that it runs, its address and the firewall"
            ) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._negotiate(calling, proposed)
        except BaseException:  # whatever ends it, nothing stays open behind it; it is raised again
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def request(
        self,
        command_field: int,
        context_id: int,
        message_id: int,
        sop_class_uid: str,
        identifier: bytes = b"",
    ) -> None:
        """Send a request whose data set is at hand (C-ECHO, C-FIND)."""
        command = messages.encode_request(
            command_field, message_id, sop_class_uid, with_data_set=bool(identifier)
        )
        self.send(self._p_data(command, context_id, command=True))
        step = self.maximum_pdu - 6
        for at in range(0, len(identifier), step):
            part = identifier[at : at + step]
            self.send(self._p_data(part, context_id, command=False, last=at + step >= len(identifier)))

    def send(self, content: bytes | bytearray | memoryview) -> None:
        """Send encoded PDUs.

        Raises:
            Transient: the connection broke, or the peer did not take them in time.
        """
        try:
            self._socket.settimeout(self._timeouts.dimse)
            self._socket.sendall(content)
        except OSError as error:
            self._lost("the connection broke while sending" if not isinstance(error, TimeoutError) else
                       f"it did not take the message within {self._timeouts.dimse:g} s", error)  # fmt: skip

    def receive(self, command_field: int, message_id: int) -> Response:
        """The next response, which must answer the request `message_id`.

        Raises:
            Transient: timeout, abort, or a message that does not belong here.
        """
        deadline = time.monotonic() + self._timeouts.dimse
        command: dict[int, bytes] | None = None
        parts = {_COMMAND: bytearray(), 0: bytearray()}
        try:
            while True:
                for flags, part in self._p_data_values(deadline):
                    kind = flags & _COMMAND
                    parts[kind] += part
                    if len(parts[kind]) > MAXIMUM_IDENTIFIER:
                        self._lost("it sent a message without an end")
                    if flags & _LAST and kind:
                        command = messages.decode_command(parts[_COMMAND])
                        if not messages.has_data_set(command):
                            return self._matching(command, b"", command_field, message_id)
                    elif flags & _LAST and command is not None:
                        return self._matching(command, bytes(parts[0]), command_field, message_id)
        except (ValueError, struct.error) as error:
            self._lost(f"it sent what is no DIMSE message ({error})")

    def release(self) -> None:
        """End the Association in order; a peer that does not answer is aborted.

        Every response was read before: what fails here changes nothing that was agreed.
        """
        try:
            self._socket.settimeout(self._timeouts.acse)
            self._socket.sendall(_PDU_HEAD.pack(_A_RELEASE_RQ, 4) + bytes(4))
            kind, _ = self._pdu(time.monotonic() + self._timeouts.acse)
            if kind != _A_RELEASE_RP:
                self.abort()
        except (OSError, Transient):
            self.abort()
        finally:
            self._socket.close()

    def abort(self) -> None:
        """End the Association at once."""
        with contextlib.suppress(OSError):  # it is gone already, which is what we want
            self._socket.settimeout(1.0)
            self._socket.sendall(_PDU_HEAD.pack(_A_ABORT, 4) + bytes(4))
        self._socket.close()

    def _negotiate(self, calling: str, proposed: Sequence[tuple[str, Sequence[str]]]) -> None:
        self.send(acse.associate_request(self.peer.ae_title, calling, proposed, MAXIMUM_PDU))
        kind, body = self._pdu(time.monotonic() + self._timeouts.acse)
        pdu = _PDU_HEAD.pack(kind, len(body)) + body
        if kind == _A_ASSOCIATE_RJ:
            raise acse.rejection(pdu, self.peer, calling)
        if kind != _A_ASSOCIATE_AC:
            self._lost("it did not answer the Association request")
        try:
            self.accepted, longest = acse.acceptance(pdu, proposed)
        except ValueError as error:
            self._lost(str(error))
        self.maximum_pdu = min(longest or MAXIMUM_PDU, MAXIMUM_PDU)
        if self.maximum_pdu < 512:
            self.abort()
            raise Permanent(f"{self.peer} takes PDUs of {longest} bytes only: raise its maximum PDU length")

    def _matching(
        self, command: Mapping[int, bytes], data_set: bytes, command_field: int, message_id: int
    ) -> Response:
        answer = messages.response(command, data_set)
        if (answer.command_field, answer.message_id) != (command_field | messages.RESPONSE, message_id):
            self._lost("it answered what we did not ask")
        return answer

    def _p_data(self, content: bytes, context_id: int, *, command: bool, last: bool = True) -> bytes:
        buffer = bytearray(P_DATA_HEAD_LENGTH) + content
        write_p_data_head(buffer, 0, len(content), context_id, command=command, last=last)
        return bytes(buffer)

    def _p_data_values(self, deadline: float) -> list[tuple[int, memoryview]]:
        """Message control header and fragment of each PDV of the next P-DATA-TF PDU."""
        kind, body = self._pdu(deadline)
        if kind == _A_RELEASE_RQ:
            self._lost("it released the Association before it had answered")
        if kind == _A_ABORT:
            self._lost("it aborted the Association")
        if kind != _P_DATA_TF:
            raise ValueError(f"PDU type {kind}")
        values, at = [], 0
        while at < len(body):
            length, _, flags = _PDV_HEAD.unpack_from(body, at)
            if length < 2 or at + 4 + length > len(body):
                raise ValueError("a PDV without an end")
            values.append((flags, memoryview(body)[at + 6 : at + 4 + length]))
            at += 4 + length
        return values

    def _pdu(self, deadline: float) -> tuple[int, bytes]:
        """Type and variable field of the next PDU."""
        kind, length = _PDU_HEAD.unpack(self._read(_PDU_HEAD.size, deadline))
        if length > 8 * MAXIMUM_PDU:
            self._lost(f"it sent a PDU of {length} bytes")
        return kind, self._read(length, deadline)

    def _read(self, length: int, deadline: float) -> bytes:
        try:
            while len(self._received) < length:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
                part = self._socket.recv(65_536)
                if hasattr(socket, "TCP_QUICKACK"):  # Linux
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                if not part:
                    self._lost("it closed the connection")
                self._received += part
        except TimeoutError as error:
            self._lost("it did not answer in time", error)
        except OSError as error:
            self._lost("the connection broke while waiting for its answer", error)
        content = bytes(self._received[:length])
        del self._received[:length]
        return content

    def _lost(self, what: str, cause: BaseException | None = None) -> NoReturn:
        raise Transient(f"{self.peer}: {what}; try again later") from cause
