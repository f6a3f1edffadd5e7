"""The parent of a listener's processes: starts them, replaces what died or hangs, and cuts off no open Association.

The sockets are the parent's: connections wait in them while a process is replaced. A process that was not seen alive
for a while is told to finish what it has open, and another one takes its place at once; it is killed only when the
time for finishing is over. What dies again and again is started less and less often.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.domain.errors import Transient
from fiona_dagster.settings import Site
from scp_listener.acceptor import QUEUE
from scp_listener.log import LOG
from scp_listener.manner import Company, Manner
from scp_listener.occupancy import Occupancy
from scp_listener.recovery import recover
from scp_listener.server import Listener
from scp_listener.standing import Standing
from scp_listener.tls import ServerTls
from scp_listener.workers import Stop, announce, worker_name

HANG_SECONDS = 60.0
"""A process that was not seen alive for so long hangs (it shows itself twice a second)."""
START_SECONDS = 60.0
"""A process that does not listen after so long is given up, and another one tried."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
LASTING_SECONDS = 60.0
"""A process that lived for so long does not count as one that dies at once."""

_SIDE_FILES_BEHIND = 3
"""Exit code of a worker that recorded everything and left series JSONs to the next start."""
_SPARE_ROWS = 4


@dataclass
class _Worker:
    process: BaseProcess
    name: str
    row: int
    since: float = field(default_factory=time.monotonic)
    draining_until: float | None = None
    """It hangs, and is killed then (monotonic clock)."""


class Supervisor:
    """Recovers once, starts the workers, and keeps so many of them at work."""

    def __init__(
        self,
        site: Site,
        ledger_url: str,
        *,
        count: int,
        grace_seconds: float,
        manner: Manner,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._site, self._ledger_url, self._manner = site, ledger_url, manner
        self._count, self._grace_seconds, self._hang_seconds = count, grace_seconds, hang_seconds
        self._workers: list[_Worker] = []
        self._sockets: tuple[socket.socket, ...] = ()
        self._occupancy = Occupancy(2 * count + _SPARE_ROWS)
        self._standing = Standing(site.layout, workers=count)
        self._pause, self._next_start = FIRST_PAUSE_SECONDS, 0.0
        self._recovered = True
        self._looked = self._watching_since = time.monotonic()
        self._alive, self._lifeline = os.pipe()

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; whether every worker ended well with everything recorded.

        Raises:
            Transient: the ledger cannot be opened.
            ConfigurationError: the certificate cannot be used.
            OSError: an address is taken, or the data directory cannot be written.
        """
        stop = Stop()
        if self._site.receiver.tls is not None:
            ServerTls(self._site.receiver.tls)  # what is wrong with it is for us to say, not for each worker
        self._recover()
        try:
            return self._serve(stop)
        finally:
            os.close(self._lifeline)  # workers that are left stop by themselves

    def _serve(self, stop: Stop) -> bool:
        self._sockets = tuple(listening(self._site.host, port) for port in self._site.ports)
        try:
            for _ in range(self._count):
                self._start_worker()
            names = [one.getsockname() for one in self._sockets]
            self._standing.listens(*(int(name[1]) for name in names))
            announce(*names)
            while stop.asked not in connection.wait([stop.asked, *self._sentinels()], self._patience()):
                self._look_after(stop)
        finally:
            for one in self._sockets:
                one.close()
        LOG.info("stopping: open Associations may finish")
        began = time.time()
        for worker in self._workers:
            worker.process.terminate()
        return self._ended_well(began)

    def _sentinels(self) -> list[int]:
        return [worker.process.sentinel for worker in self._workers]

    def _patience(self) -> float:
        """Seconds until something is to be looked at, though nobody died."""
        if self._missing():
            return max(0.0, self._next_start - time.monotonic())
        return min(self._hang_seconds / 4, 15.0)

    def _missing(self) -> int:
        return self._count - sum(worker.draining_until is None for worker in self._workers)

    def _recover(self) -> None:
        ledger = Ledger(self._ledger_url)
        try:
            found = recover(self._site, ledger, [worker.name for worker in self._workers])
        finally:
            ledger.close()  # a connection must not be inherited by a worker
        LOG.info("recovery: %s", found)
        self._standing.recovered(found)

    def _start_worker(self) -> None:
        context = get_context("fork")
        ready, tell = context.Pipe(duplex=False)
        row = min(set(range(2 * self._count + _SPARE_ROWS)) - {worker.row for worker in self._workers})
        self._occupancy.clear(row)
        process = context.Process(target=self._work, args=(row, tell.send))
        process.start()
        tell.close()
        try:
            if not ready.poll(START_SECONDS):
                process.kill()
            self._workers.append(_Worker(process, ready.recv(), row))
            self._occupancy.beat(row)  # it may have taken its time to begin
        except EOFError:
            process.join()
            raise OSError("a worker ended before it listened") from None
        finally:
            ready.close()

    def _look_after(self, stop: Stop) -> None:
        died = self._bury()
        self._drain_the_hanging()
        self._fill_up(stop)
        if died:
            try:
                self._recover()
                self._recovered = True
            except (Transient, OSError) as error:
                LOG.error("what a dead worker left is recovered at the next start: %s", error)

    def _bury(self) -> bool:
        """Forget who is gone; whether somebody died who should not have."""
        dead = [worker for worker in self._workers if not worker.process.is_alive()]
        now, died = time.monotonic(), False
        for worker in dead:
            self._workers.remove(worker)
            self._occupancy.clear(worker.row)
            code = worker.process.exitcode
            worker.process.close()
            if worker.draining_until is not None and code in (0, _SIDE_FILES_BEHIND):
                LOG.info("a worker that hung has finished what it had open")
                continue
            died, self._recovered = True, False
            lasted = now - worker.since >= LASTING_SECONDS
            self._pause = FIRST_PAUSE_SECONDS if lasted else min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._next_start = now + (FIRST_PAUSE_SECONDS if lasted else self._pause / 2)
            LOG.error("a worker died (exit code %s); another one takes its place", code)
            self._standing.died(f"exit code {code}", pause_seconds=max(0.0, self._next_start - now))
        return died

    def _drain_the_hanging(self) -> None:
        now = time.monotonic()
        if now - self._looked > self._hang_seconds / 2:  # we did not run ourselves: nor may they have
            self._watching_since = now
        self._looked = now
        for worker in self._workers:
            if worker.draining_until is not None:
                if now >= worker.draining_until:
                    LOG.error("a worker that hangs did not finish in time and is killed")
                    worker.process.kill()
            elif (
                min(self._occupancy.silent_seconds(worker.row), now - self._watching_since)
                > self._hang_seconds
            ):
                LOG.error("a worker hangs: it may finish what it has open, another one takes its place")
                worker.draining_until = now + self._grace_seconds + 30.0
                worker.process.terminate()
                self._standing.hung()

    def _fill_up(self, stop: Stop) -> None:
        while self._missing() > 0 and time.monotonic() >= self._next_start:
            try:
                self._start_worker()
            except OSError as error:  # no memory for a process, or it could not listen
                self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
                self._next_start = time.monotonic() + self._pause
                LOG.error("a worker could not be started, tried again in %.0f s: %s", self._pause, error)
                self._standing.died("it could not be started", pause_seconds=self._pause)
            else:
                self._standing.at_work(self._count - self._missing())
            if connection.wait([stop.asked], 0):
                return

    def _work(self, row: int, ready: Callable[[str], None]) -> None:
        """The life of one worker; it also ends when the parent does."""
        os.close(self._lifeline)
        stop = Stop()
        name = worker_name()
        ledger = Ledger(self._ledger_url)
        company = Company(self._occupancy, row, self._count, self._sockets)
        listener = Listener(self._site, ledger, worker=name, company=company, manner=self._manner)
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
                os.kill(worker.process.pid or 0, signal.SIGKILL)
                worker.process.join()
        codes = {worker.process.exitcode for worker in self._workers}
        if codes <= {0} and self._recovered:
            Spool(self._site.layout).mark_recorded(began)
        self._standing.stopped()
        return codes <= {0, _SIDE_FILES_BEHIND}


def listening(host: str, port: int) -> socket.socket:
    """A socket from which all workers accept; connections wait in it while none is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=QUEUE)
