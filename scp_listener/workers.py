"""A process of a listener: how it is told to stop, and how it runs alone (with others: `supervisor`)."""

from __future__ import annotations

import os
import signal
import socket
import time
from types import FrameType

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.settings import Site
from scp_listener.log import LOG
from scp_listener.manner import Manner
from scp_listener.recovery import recover
from scp_listener.server import Listener
from scp_listener.standing import Standing


def worker_name() -> str:
    """A name for this process that no other listener process has had."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{int(time.time())}"


class Stop:
    """SIGTERM or SIGINT, as something that can be waited for."""

    def __init__(self) -> None:
        self.asked, self._writing = os.pipe()
        """Readable once we were asked to stop."""
        # Written where the signal arrives, which may be any thread: Python runs handlers in the main one alone, and
        # that may sleep in a system call that the signal did not interrupt.
        os.set_blocking(self._writing, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def wait(self) -> None:
        """Return when we were asked to stop."""
        os.read(self.asked, 1)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        """The byte in the pipe says it."""


def run_alone(site: Site, ledger_url: str, *, grace_seconds: float, manner: Manner) -> bool:
    """Serve in this process until SIGTERM or SIGINT; whether everything was recorded.

    Raises:
        Transient: the ledger cannot be opened.
        OSError: the address is taken, or the data directory cannot be written.
    """
    stop = Stop()
    ledger = Ledger(ledger_url)
    standing = Standing(site.layout, workers=1)
    found = recover(site, ledger)
    LOG.info("recovery: %s", found)
    standing.recovered(found)
    listener = Listener(site, ledger, worker=worker_name(), manner=manner)
    host, port = listener.start()
    names = [(host, port), *([(host, listener.tls_port)] if listener.tls_port else [])]
    standing.listens(*(number for _, number in names))
    announce(*names)
    stop.wait()
    LOG.info("stopping: open Associations may finish")
    recorded = listener.stop(grace_seconds)
    ledger.close()
    standing.stopped()
    return recorded


def announce(plain: tuple[object, ...], *secure: tuple[object, ...]) -> None:
    """Say that connections are taken: whoever started us waits for the first line."""
    lines = [
        f"listening on {plain[0]}:{plain[1]}",
        *(f"listening with TLS on {one[0]}:{one[1]}" for one in secure),
    ]
    print("\n".join(lines), flush=True)
