"""Keeping a response for who waits for it, where we must use pynetdicom's own requests (C-MOVE, N-EVENT-REPORT).

In pynetdicom 3.0.4 the thread of an Association polls the message queue. A `send_*` method first asks it to pause and
looks at its flag, but the thread may be just past that point: it then takes the response, logs it as unexpected, and
the sender waits out its timeout and aborts. Both ways here close that gap at `get_msg`, the public door of the queue,
before the thread begins to poll (EVT_ESTABLISHED).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def leave_responses_to_the_sender(event: Any) -> None:
    """Handler of EVT_ESTABLISHED for a requestor that only sends: its thread finds no message to poll."""
    dimse = event.assoc.dimse
    take: Callable[..., Any] = dimse.get_msg
    dimse.get_msg = lambda block=False: take(block=True) if block else (None, None)


class ResponseKeeper:
    """For an acceptor that also sends requests: its thread polls nothing while one of ours awaits its response."""

    def __init__(self, association: Any) -> None:
        self._take: Callable[..., Any] = association.dimse.get_msg
        self._hands = threading.Lock()
        self._waiting = False
        association.dimse.get_msg = self._get_msg

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Send the request inside: a poll that had begun has ended, and no other begins."""
        with self._hands:
            self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _get_msg(self, block: bool = False) -> Any:
        if block:
            return self._take(block=True)
        with self._hands:
            return (None, None) if self._waiting else self._take(block=False)
