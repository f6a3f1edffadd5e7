"""Connections between accept(2) and their end, and who must give way: one that has asked for nothing keeps nobody out.

Every process has so many places. Where they are taken, a connection that has not asked for an Association yet is ended
in favour of the new one: the oldest of the address that has most of them. Who was rejected and lingers is like one that
has not asked. Associations stay; they are counted, and there are fewer of them than places. So there is always a place
for the gateway's own heartbeat.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

_LEAVING = 64
"""Connections that were told to end and still have their descriptor; beyond them a new one is closed at once."""


@dataclass
class _Place:
    address: str
    has_asked: bool = False
    leaving: bool = False


class Threshold:
    """The connections of one process, over all of its ports, in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: dict[socket.socket, _Place] = {}
        self._turn = threading.Lock()

    def arrived(self, connection: socket.socket, address: str) -> tuple[bool, str | None]:
        """Whether a new connection may be served, and the address of the one that was ended for it."""
        with self._turn:
            leaving = sum(one.leaving for one in self._taken.values())
            ended = None
            if len(self._taken) - leaving >= self._places:
                ended = self._idle_one() if leaving < _LEAVING else None
                if ended is None:
                    return False, None
                self._taken[ended].leaving = True
            self._taken[connection] = _Place(address)
            if ended is None:
                return True, None
            whose = self._taken[ended].address
        _end(ended)
        return True, whose

    def became(self, connection: socket.socket, secure: socket.socket) -> None:
        """A connection goes on as another socket object (that of TLS, whose handshake has not begun)."""
        with self._turn:
            place = self._taken.pop(connection, None)
            if place is None:
                return
            self._taken[secure] = place
        if place.leaving:
            _end(secure)

    def asked(self, connection: socket.socket, *, rejected: bool = False) -> None:
        """An Association was asked for: from now on its limits count, unless it was `rejected`."""
        with self._turn:
            place = self._taken.get(connection)
            if place is not None:
                place.has_asked = not rejected

    def gone(self, connection: socket.socket) -> None:
        """The place is free; nothing where it was already."""
        with self._turn:
            self._taken.pop(connection, None)

    def _idle_one(self) -> socket.socket | None:
        """The oldest of the address that has most; None where everybody has asked for something."""
        idle = [
            (connection, place.address)
            for connection, place in self._taken.items()
            if not (place.has_asked or place.leaving)
        ]
        each = Counter(address for _, address in idle)
        # max and next take the first of equals: the oldest
        busiest = max(each, key=each.__getitem__, default=None)
        return next((connection for connection, address in idle if address == busiest), None)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        connection.shutdown(socket.SHUT_RDWR)
