"""One Association as requestor, on the caller's thread alone (PS3.8). See the package for why.

TCP_NODELAY is set, and TCP_QUICKACK again after every receive: peers that leave Nagle's algorithm on send the header
and the body of a response separately, and the second waits 40 ms for the acknowledgement of the first (a DCMTK
storescp at its defaults then takes 20 images a second, of any size).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol, Self

from fiona_dagster.adapters.dicom_scu import acse, messages
from fiona_dagster.adapters.dicom_scu.messages import Message, Response
from fiona_dagster.adapters.dicom_scu.secure_channel import secured
from fiona_dagster.domain.errors import Permanent, Transient, Unreachable
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
    """Seconds to wait for the TCP connection, for an answer of the ACSE, for one DIMSE message, and for a whole
    C-FIND, C-MOVE or C-GET with all its responses."""

    connect: float = 10.0
    acse: float = 30.0
    dimse: float = 60.0
    whole: float = 3600.0


class Sink(Protocol):
    """Where a data set goes, part by part; a part is good until the next comes."""

    def write(self, part: memoryview, /) -> int: ...


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
        scp_of: Collection[str] = (),
        own_pass: str = "",
    ) -> None:
        """Connect and negotiate.

        Args:
            peer: whom to call.
            calling: our AE title.
            proposed: abstract syntax and transfer syntaxes of each Presentation Context, at most 128.
            timeouts: in seconds.
            scp_of: SOP Classes whose instances the peer shall store at us, for a C-GET.
            own_pass: of `own_calls`, where the peer is our own receiver.

        Raises:
            Transient: refused connection, timeout, abort, rejected for now.
            Permanent: rejected for good, with what to do.
            ConfigurationError: over TLS, a certificate of one side cannot be used.
        """
        self.peer = peer
        self.timeouts = timeouts
        self._received = bytearray()
        self.accepted: Mapping[tuple[str, str], int] = {}
        """Context ID by abstract syntax and agreed transfer syntax."""
        self.maximum_pdu = MAXIMUM_PDU
        try:
            self._socket = socket.create_connection((peer.host, peer.port), timeout=timeouts.connect)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Unreachable(
                f"no connection to {peer} ({reason}): check that it runs, its address and the firewall"
            ) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if peer.tls is not None:
                self._socket = secured(self._socket, peer.host, str(peer), peer.tls)
            self._negotiate(calling, proposed, scp_of, own_pass)
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
        move_destination: str = "",
    ) -> None:
        """Send a request whose data set is at hand (C-ECHO, C-FIND, C-MOVE, C-GET)."""
        command = messages.encode_request(
            command_field,
            message_id,
            sop_class_uid,
            with_data_set=bool(identifier),
            move_destination=move_destination,
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
            self._socket.settimeout(self.timeouts.dimse)
            self._socket.sendall(content)
        except OSError as error:
            self._lost("the connection broke while sending" if not isinstance(error, TimeoutError) else
                       f"it did not take the message within {self.timeouts.dimse:g} s", error)  # fmt: skip

    def has_more(self, seconds: float) -> bool:
        """Whether the peer sends something within `seconds`; also true once it has closed the connection."""
        if self._received or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        return bool(select.select([self._socket], [], [], max(seconds, 0.0))[0])

    def cancel(self, context_id: int, message_id: int) -> None:
        """Ask the peer to end the operation `message_id` (C-CANCEL); it still answers, once more (PS3.7 9.3.2.3)."""
        self.send(self._p_data(messages.encode_cancel(message_id), context_id, command=True))

    def answer_store(self, request: Message, status: int) -> None:
        """Answer a C-STORE sub-operation of a C-GET."""
        self.send(
            self._p_data(
                messages.encode_store_response(request.command, status), request.context_id, command=True
            )
        )

    def receive(self, command_field: int, message_id: int, *, timeout: float | None = None) -> Response:
        """The next response, which must answer the request `message_id`; `timeout` in seconds, by default DIMSE's.

        Raises:
            Transient: timeout, abort, or a message that does not belong here.
        """
        return self.matching(self.next_message(timeout), command_field, message_id)

    def next_message(
        self,
        timeout: float | None = None,
        sink: Callable[[int, Mapping[int, bytes]], Sink | None] | None = None,
    ) -> Message:
        """The next DIMSE message, whatever it is.

        Args:
            timeout: seconds for the message, or for each of its PDUs where it goes to a sink; by default DIMSE's.
            sink: given context ID and command set, where the data set goes; None keeps it in memory.

        Raises:
            Transient: timeout, abort, or what is no message.
            OSError: the sink takes no more.
        """
        seconds = self.timeouts.dimse if timeout is None else min(timeout, self.timeouts.dimse)
        deadline = time.monotonic() + seconds
        command: dict[int, bytes] | None = None
        into: Sink | None = None
        parts = {_COMMAND: bytearray(), 0: bytearray()}
        while True:
            for context_id, flags, part in self._p_data_values(deadline):
                kind = flags & _COMMAND
                if into is not None and not kind:
                    into.write(part)
                    deadline = time.monotonic() + seconds
                else:
                    parts[kind] += part
                if len(parts[kind]) > MAXIMUM_IDENTIFIER:
                    self._lost("it sent a message without an end")
                if flags & _LAST and kind:
                    command, with_data_set = self._command(parts[_COMMAND])
                    if not with_data_set:
                        return Message(context_id, command)
                    into = sink(context_id, command) if sink else None
                elif flags & _LAST and command is not None:
                    return Message(context_id, command, bytes(parts[0]))

    def _command(self, encoded: bytearray) -> tuple[dict[int, bytes], bool]:
        try:
            command = messages.decode_command(encoded, others=True)
            return command, messages.has_data_set(command)
        except ValueError as error:
            self._lost(f"it sent what is no DIMSE message ({error})")

    def matching(self, message: Message, command_field: int, message_id: int) -> Response:
        """`message` as the response to a request of ours.

        Raises:
            Transient: it is something else.
        """
        try:
            answer = messages.response(message.command, message.data_set)
        except ValueError as error:
            self._lost(f"it sent what is no DIMSE message ({error})")
        if (answer.command_field, answer.message_id) != (command_field | messages.RESPONSE, message_id):
            self._lost("it answered what we did not ask")
        return answer

    def release(self) -> None:
        """End the Association in order; a peer that does not answer is aborted.

        Every response was read before: what fails here changes nothing that was agreed.
        """
        try:
            self._socket.settimeout(self.timeouts.acse)
            self._socket.sendall(_PDU_HEAD.pack(_A_RELEASE_RQ, 4) + bytes(4))
            kind, _ = self._pdu(time.monotonic() + self.timeouts.acse)
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

    def _negotiate(
        self,
        calling: str,
        proposed: Sequence[tuple[str, Sequence[str]]],
        scp_of: Collection[str],
        own_pass: str,
    ) -> None:
        self.send(
            acse.associate_request(self.peer.ae_title, calling, proposed, MAXIMUM_PDU, scp_of, own_pass)
        )
        kind, body = self._pdu(time.monotonic() + self.timeouts.acse)
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

    def _p_data(self, content: bytes, context_id: int, *, command: bool, last: bool = True) -> bytes:
        buffer = bytearray(P_DATA_HEAD_LENGTH) + content
        write_p_data_head(buffer, 0, len(content), context_id, command=command, last=last)
        return bytes(buffer)

    def _p_data_values(self, deadline: float) -> list[tuple[int, int, memoryview]]:
        """Context ID, message control header and fragment of each PDV of the next P-DATA-TF PDU."""
        kind, body = self._pdu(deadline)
        if kind == _A_RELEASE_RQ:
            self._lost("it released the Association before it had answered")
        if kind == _A_ABORT:
            self._lost("it aborted the Association")
        if kind != _P_DATA_TF:
            self._lost(f"it sent what is no DIMSE message (PDU type {kind})")
        values, at = [], 0
        while at < len(body):
            if at + _PDV_HEAD.size > len(body):
                self._lost("it sent what is no DIMSE message (a PDV without a head)")
            length, context_id, flags = _PDV_HEAD.unpack_from(body, at)
            if length < 2 or at + 4 + length > len(body):
                self._lost("it sent what is no DIMSE message (a PDV without an end)")
            values.append((context_id, flags, memoryview(body)[at + 6 : at + 4 + length]))
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
