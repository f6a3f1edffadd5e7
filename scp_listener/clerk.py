"""A process beside a listener process that reads again what was received, for hashes and series JSONs.

It runs at low priority: while images stream in, neither the processor nor the interpreter's lock is taken from those
who receive. It keeps nothing and writes nothing; where it fails, who asked does the work without it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.fiona_layout import read_fields
from fiona_dagster.adapters.received_files import sha256_of_data_set
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.reception import Peer
from scp_listener.log import LOG

FEWEST = 300
"""Files for which the process is started: for fewer, its start costs more than reading them."""

_NICENESS = 10
_PIECE = 100
"""Files of one request: so many are read for nothing at the most when we are told to stop."""
_END_SECONDS = 5.0
_PROGRAM = "from scp_listener import slim\nfrom scp_listener.clerk import work\nwork()"
_LOST = "what the process that reads received files would have done is done without it"


class Clerk:
    """The process, from the first time it is needed until `close`. Safe to call from many threads."""

    def __init__(self, fewest: int = FEWEST) -> None:
        self._fewest = fewest
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def hashes(self, places: Sequence[str]) -> list[str | None]:
        """SHA-256 of the data set of each file; None where it has to be taken without us."""
        return self._ask("hash", list(places))

    def fields(self, images: Sequence[tuple[str, Peer]]) -> list[dict[str, Any] | None]:
        """Series-JSON fields of each image and its sender; None where they have to be read without us."""
        return self._ask("fields", list(images))

    def close(self) -> None:
        """End the process, even while somebody waits for it."""
        taken = self._turn.acquire(timeout=_END_SECONDS)
        try:
            if taken:
                self._end()
            elif self._process is not None:
                self._process.kill()
        finally:
            if taken:
                self._turn.release()

    def _ask(self, what: str, about: list[Any]) -> list[Any]:
        if self._connection is None and len(about) < self._fewest:
            return [None] * len(about)
        answers: list[Any] = []
        with self._turn:
            try:
                connection = self._connection or self._start()
                for at in range(0, len(about), _PIECE):
                    connection.send((what, about[at : at + _PIECE]))
                    answers += connection.recv()
            except (OSError, EOFError) as error:
                LOG.warning("%s (%s)", _LOST, type(error).__name__)
                self._end()
        return answers + [None] * (len(about) - len(answers))

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._connection = Connection(ours.detach())
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        return self._connection

    def _end(self) -> None:
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # which it takes as its end
        if process is not None:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve(connection: Connection) -> None:
    """Answer until who asks is gone."""
    with suppress(EOFError, ConnectionError):
        while True:
            what, about = connection.recv()
            connection.send([_done(_DOES[what], one) for one in about])


def _done(work: Callable[[Any], Any], about: Any) -> Any:
    try:
        return work(about)
    except (FionaError, OSError):  # who asked meets it again, and tells
        return None


_DOES: dict[str, Callable[[Any], Any]] = {
    "hash": lambda place: sha256_of_data_set(Path(place)),
    "fields": lambda image: read_fields(Path(image[0]), image[1]),
}


def work() -> None:
    """The life of the process, which is given its end of the connection as an argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends behind those who ask it
    os.nice(_NICENESS)
    serve(Connection(int(sys.argv[1])))
