"""Processes of one listener: they share the port, a crash of one takes only its own Associations along."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from types import FrameType

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.domain.errors import Transient
from fiona_dagster.settings import Site
from scp_listener.log import LOG
from scp_listener.recovery import recover
from scp_listener.server import QUEUE, Listener, Manner

_RESTART_SECONDS = 1.0
_SIDE_FILES_BEHIND = 3
"""Exit code of a worker that recorded everything and left series JSONs to the next start."""


def worker_name() -> str:
    """A name for this process that no other listener process has had."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{int(time.time())}"


class Stop:
    """SIGTERM or SIGINT, as something that can be waited for."""

    def __init__(self) -> None:
        self.asked, self._writing = os.pipe()
        """Readable once we were asked to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def wait(self) -> None:
        """Return when we were asked to stop."""
        os.read(self.asked, 1)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._writing, b"!")


def run_alone(site: Site, ledger_url: str, *, grace_seconds: float, manner: Manner) -> bool:
    """Serve in this process until SIGTERM or SIGINT; whether everything was recorded.

    Raises:
        Transient: the ledger cannot be opened.
        OSError: the address is taken, or the data directory cannot be written.
    """
    stop = Stop()
    ledger = Ledger(ledger_url)
    LOG.info("recovery: %s", recover(site, ledger))
    listener = Listener(site, ledger, worker=worker_name(), manner=manner)
    _announce(*listener.start())
    stop.wait()
    LOG.info("stopping: open Associations may finish")
    recorded = listener.stop(grace_seconds)
    ledger.close()
    return recorded


@dataclass
class _Worker:
    process: BaseProcess
    name: str


class Supervisor:
    """The parent: recovers once, starts the workers, and starts one anew that died."""

    def __init__(
        self, site: Site, ledger_url: str, *, count: int, grace_seconds: float, manner: Manner
    ) -> None:
        self._site, self._ledger_url, self._manner = site, ledger_url, manner
        self._count, self._grace_seconds = count, grace_seconds
        self._workers: list[_Worker] = []
        self._shared: socket.socket | None = None
        self._recovered = True
        self._alive, self._lifeline = os.pipe()

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; whether every worker ended well with everything recorded.

        Raises:
            Transient: the ledger cannot be opened.
            OSError: the address is taken, or the data directory cannot be written.
        """
        stop = Stop()
        self._recover()
        try:
            return self._serve(stop)
        finally:
            os.close(self._lifeline)  # workers that are left stop by themselves

    def _serve(self, stop: Stop) -> bool:
        with _listening(self._site.host, self._site.port) as self._shared:
            host, port = self._shared.getsockname()[:2]
            for _ in range(self._count):
                self._start_worker()
            _announce(host, port)
            while stop.asked not in connection.wait([stop.asked, *self._sentinels()]):
                self._replace_dead(stop)
        LOG.info("stopping: open Associations may finish")
        began = time.time()
        for worker in self._workers:
            worker.process.terminate()
        return self._ended_well(began)

    def _sentinels(self) -> list[int]:
        return [worker.process.sentinel for worker in self._workers]

    def _recover(self) -> None:
        ledger = Ledger(self._ledger_url)
        try:
            LOG.info("recovery: %s", recover(self._site, ledger, [worker.name for worker in self._workers]))
        finally:
            ledger.close()  # a connection must not be inherited by a worker

    def _start_worker(self) -> None:
        context = get_context("fork")
        ready, tell = context.Pipe(duplex=False)
        process = context.Process(target=self._work, args=(tell.send,))
        process.start()
        tell.close()
        try:
            self._workers.append(_Worker(process, ready.recv()))
        except EOFError:
            raise OSError("a worker ended before it listened") from None

    def _replace_dead(self, stop: Stop) -> None:
        dead = [worker for worker in self._workers if not worker.process.is_alive()]
        self._workers = [worker for worker in self._workers if worker not in dead]
        self._recovered = self._recovered and not dead
        for worker in dead:
            LOG.error("a worker died (exit code %s); another one takes its place", worker.process.exitcode)
            worker.process.close()
        for _ in dead:
            # A worker that dies at once must not take the machine with it.
            if connection.wait([stop.asked], _RESTART_SECONDS):
                return
            self._start_worker()
        if dead:
            try:
                self._recover()
                self._recovered = True
            except (Transient, OSError) as error:
                LOG.error("what a dead worker left is recovered at the next start: %s", error)

    def _work(self, ready: Callable[[str], None]) -> None:
        """The life of one worker; it also ends when the parent does."""
        os.close(self._lifeline)
        stop = Stop()
        name = worker_name()
        ledger = Ledger(self._ledger_url)
        listener = Listener(self._site, ledger, worker=name, shared=self._shared, manner=self._manner)
        listener.start()
        ready(name)
        connection.wait([stop.asked, self._alive])
        recorded = listener.stop(self._grace_seconds)
        ledger.close()
        os._exit(1 if not recorded else 0 if listener.side_files_written else _SIDE_FILES_BEHIND)

    def _ended_well(self, began: float) -> bool:
        deadline = time.monotonic() + self._grace_seconds + 30.0
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                LOG.error("a worker does not end and is killed")
                worker.process.kill()
                worker.process.join()
        codes = {worker.process.exitcode for worker in self._workers}
        if codes <= {0} and self._recovered:
            Spool(self._site.layout).mark_recorded(began)
        return codes <= {0, _SIDE_FILES_BEHIND}


def _listening(host: str, port: int) -> socket.socket:
    """The socket from which all workers accept; connections wait in it while none is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=QUEUE)


def _announce(host: str, port: int) -> None:
    print(f"listening on {host}:{port}", flush=True)
