"""The end of an SSH session on which nothing goes on: a peer that is frozen neither answers nor closes.

The library's own time-outs leave gaps: a write into a connection that takes nothing, and a channel or command whose
opening is never answered, wait for ever. Here the connection itself is shut, which ends every wait on it.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fiona_dagster.domain.errors import Transient

if TYPE_CHECKING:
    from paramiko import Transport

STALLED_SECONDS = 60.0
"""So long a session may stand still while we wait for the other end."""


class Patience:
    """Shuts a transport's connection once `seconds` have gone by without a `step`; for a block that only waits.

    An error within the block that comes of it is a Transient that says so.
    """

    def __init__(
        self, transport: Transport, seconds: float = STALLED_SECONDS, what: str = "nothing went on"
    ) -> None:
        self._transport, self._seconds, self._what = transport, seconds, what
        self._ended = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="ssh-patience", daemon=True)
        self.is_over = False
        """Whether the connection was shut."""

    def step(self) -> None:
        """Something went on."""
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self.step()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self.is_over and (kind is None or issubclass(kind, Exception)):
            raise Transient(
                f"{self._what} for {self._seconds:g} s, and the connection was ended: it goes on from there"
            ) from None

    def _watch(self) -> None:
        while (left := self._last + self._seconds - time.monotonic()) > 0:
            if self._ended.wait(left):
                return
        self.is_over = True
        with suppress(OSError):  # it is gone already
            self._transport.sock.shutdown(socket.SHUT_RDWR)
