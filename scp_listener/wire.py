"""The connection of an Association and the upper layer on it, where the Association's own thread reads the socket.

pynetdicom's upper layer service provider is a thread that polls. After the A-ASSOCIATE-AC it is sent home, and its
state machine goes on without it, driven by whoever sends or receives: `Provider` and `Wire` are pynetdicom's classes
with what that needs. Until then, and where the stock data phase is chosen, they behave as pynetdicom's own.
"""

from __future__ import annotations

import errno
import queue
import socket
import ssl
import struct
import threading
from typing import Any

from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import AssociationSocket

LONGEST_PDU = 1 << 20
"""Bytes of a PDU that is read as a whole; one of P-DATA that is streamed may be longer."""

_BUFFER_BYTES = 256 * 1024
_QUICK_ACKNOWLEDGEMENT = getattr(socket, "TCP_QUICKACK", None)


class Wire(AssociationSocket):
    """The socket of an Association with a buffer of what was received and not yet looked at."""

    start: int
    end: int
    view: memoryview

    @classmethod
    def adopt(cls, connection: Any) -> None:
        """Make a Wire of an `AssociationSocket`."""
        connection.__class__ = cls
        connection.start = connection.end = 0

    def begin(self, timeout_seconds: float) -> None:
        """From now on `fill` reads, and waits no longer than `timeout_seconds`."""
        self.view = memoryview(bytearray(_BUFFER_BYTES))
        self.wait_at_most(timeout_seconds)

    def wait_at_most(self, seconds: float) -> None:
        """Limit every receive and send, in the kernel, so that waiting costs no further call."""
        connection = self.socket
        if connection is None:
            return
        if isinstance(connection, ssl.SSLSocket):  # it waits by itself, outside of OpenSSL
            connection.settimeout(seconds)
            return
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        try:
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        except OSError:
            return  # it was closed meanwhile: the next receive tells

    def fill(self) -> bool:
        """Receive what is there, or wait for it; False when the connection has ended.

        Raises:
            BlockingIOError: nothing came in time.
        """
        if self.start == self.end:
            self.start = self.end = 0
        elif self.start:  # a few bytes of a head
            rest = bytes(self.view[self.start : self.end])
            self.view[: len(rest)] = rest
            self.start, self.end = 0, len(rest)
        connection = self.socket
        if connection is None:
            return False
        try:
            received = connection.recv_into(self.view[self.end :] if self.end else self.view)
            if _QUICK_ACKNOWLEDGEMENT is not None:  # the kernel forgets it after a while
                connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENT, 1)
        except (BlockingIOError, ssl.SSLWantReadError):
            raise BlockingIOError(errno.EAGAIN, "nothing came in time") from None
        except OSError:
            return False
        self.end += received
        return received > 0

    def has(self, count: int) -> bool:
        """Whether `count` bytes could be received, so that they stand in `view` from `start`; few only."""
        while self.end - self.start < count:
            if not self.fill():
                return False
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """As pynetdicom's: so many bytes, fewer when the connection ends; first those that stand in the buffer.

        Raises:
            OSError: a PDU longer than we read as a whole, or the connection failed.
        """
        if nr_bytes > LONGEST_PDU:
            raise OSError(errno.EMSGSIZE, "a PDU is too long")
        data = bytearray()
        held = min(nr_bytes, self.end - self.start)
        if held:
            data += self.view[self.start : self.start + held]
            self.start += held
        while len(data) < nr_bytes and self.socket is not None:
            piece = self.socket.recv(min(nr_bytes - len(data), _BUFFER_BYTES))
            if not piece:
                break
            data += piece
        return data


class Provider(DULServiceProvider):
    """The upper layer service provider; once its thread has ended, whoever sends drives the state machine."""

    turn: threading.RLock

    @classmethod
    def adopt(cls, provider: Any) -> None:
        """Make a Provider of a `DULServiceProvider`."""
        provider.__class__ = cls
        provider.turn = threading.RLock()

    @property
    def is_in_data_transfer(self) -> bool:
        """State 6 of PS3.8 section 9.2: Association established and ready for data transfer."""
        return self.state_machine.current_state == "Sta6"

    @property
    def awaits_close(self) -> bool:
        """State 13: the Association is over, the connection not yet."""
        return self.state_machine.current_state == "Sta13"

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive for the peer; it is sent before this returns where there is no thread to do it."""
        super().send_pdu(primitive)
        if not self.is_alive():
            self.work()

    def read_pdu(self) -> None:
        """Read a PDU as a whole and act on it."""
        self._read_pdu_data()
        self.work()

    def happened(self, event: str) -> None:
        """Act on an event of PS3.8 section 9.2.2, such as `Evt17`, transport connection closed."""
        self.event_queue.put(event)
        self.work()

    def work(self) -> None:
        """Act on everything that waits."""
        with self.turn:
            try:
                self._act()
                while self._process_recv_primitive():
                    self._act()
            except InvalidEventError:  # not in this state: what was to be sent has nobody to go to any more
                self.to_provider_queue = queue.Queue()

    def _act(self) -> None:
        while True:
            try:
                event = self.event_queue.get(block=False)
            except queue.Empty:
                return
            self.state_machine.do_action(event)
