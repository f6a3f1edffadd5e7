"""Parts of one piece of work in processes of their own, for all cores.

A worker is a fresh interpreter that imports what its part needs and nothing of the program that started it: neither
Dagster nor locks of other threads. Parts and results travel by its standard input and output, secrets with them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from fiona_dagster.adapters.expendable import become_expendable
from fiona_dagster.domain.errors import FionaError, Permanent, Transient

if TYPE_CHECKING:
    import subprocess
    from queue import SimpleQueue

_PROGRAM = "import sys; sys.path[:] = {path}; from fiona_dagster.adapters import parallel; parallel.{serve}()"
"""Nothing is imported from the folder that it happens to run in."""
LEAST = 128
"""Instances that are worth a process: starting one costs as much as some dozens of images."""
LEAST_TO_READ = 8
"""The same of images whose pixels are read for text."""

_ATTEMPTS = 2
"""Workers that an item may end: the first may have been ended by something else, such as a lack of memory. An item that
does not come back in time is not given to a second."""

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741
Part = Callable[..., T]
"""Takes what to call behind every instance, then the part's own arguments; a function of a module."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(count: int, workers: int, least: int = 0) -> list[range]:
    """Positions in as many even parts as there are workers, fewer where the parts would have less than `least`
    (`LEAST`)."""
    parts = max(1, min(workers, count // (least or LEAST)))
    bounds = [count * number // parts for number in range(parts + 1)]
    return [range(begin, end) for begin, end in pairwise(bounds)]


def run_parts(
    function: Part[T], parts: Sequence[tuple[Any, ...]], done: Callable[[], None] | None = None
) -> list[T]:
    """What `function` makes of each part, in their order; one part is run right here.

    Raises:
        FionaError: what the function raised.
        Permanent: it raised something else; the message names its type alone.
        Transient: a worker was lost.
    """
    report = done or _nothing
    if len(parts) == 1:
        return [function(report, *parts[0])]
    return _run_in_workers(function, parts, report)


def _run_in_workers(
    function: Part[T], parts: Sequence[tuple[Any, ...]], report: Callable[[], None]
) -> list[T]:
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    heard: SimpleQueue[tuple[int, str, Any]] = SimpleQueue()
    results: dict[int, T] = {}
    workers = [_start("serve") for _ in parts]
    try:
        with ThreadPoolExecutor(len(parts)) as listeners:
            for number, (worker, part) in enumerate(zip(workers, parts, strict=True)):
                listeners.submit(_listen, number, worker, (function, part), heard)
            while len(results) < len(parts):
                number, what, value = heard.get()
                if what == "done":
                    report()
                elif what == "result":
                    results[number] = value
                else:
                    for one in workers:
                        one.kill()
                    raise value
    finally:
        for one in workers:
            one.kill()
            one.wait()
    return [results[number] for number in range(len(parts))]


def run_each(
    make: Callable[..., Callable[[I], T]],
    arguments: tuple[Any, ...],
    items: Sequence[I],
    workers: int,
    done: Callable[[], None] | None = None,
) -> list[T | None]:
    """What is made of each item, in their order: None where it ended the processes that it was given to.

    For code that may end its process, such as decoders, or not come back (`expendable`). `done` is called behind every
    item, by one thread at a time. `make(*arguments)` is called once in every worker and gives
    what treats an item; a worker that was ended costs no other item.

    Raises:
        FionaError: what an item raised.
        Permanent: it raised something else; the message names its type alone.
    """
    from concurrent.futures import ThreadPoolExecutor

    attendance: _Attendance[I, T] = _Attendance((make, arguments), items, done or _nothing)
    count = max(1, min(workers, len(items)))
    with ThreadPoolExecutor(count) as attendants:
        try:
            for one in [attendants.submit(attendance.attend) for _ in range(count)]:
                one.result()
        except BaseException:  # also a request to stop; it is raised again
            attendance.stop()
            raise
    return attendance.results


class _Attendance(Generic[I, T]):
    """Items that wait, and the workers that they are given to."""

    def __init__(self, work: tuple[Any, ...], items: Sequence[I], done: Callable[[], None]) -> None:
        self.results: list[T | None] = [None] * len(items)
        self._work, self._waiting = work, deque(enumerate(items))
        self._done, self._turn = done, threading.Lock()
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Nothing more is begun, and what is at work is ended."""
        self._stopped = True
        self._waiting.clear()
        for worker in self._workers.copy():
            worker.kill()

    def attend(self) -> None:
        """Give items to a worker, one after the other, until none waits."""
        worker = None
        try:
            while True:
                try:
                    number, item = self._waiting.popleft()
                except IndexError:
                    return
                worker, self.results[number] = self._treated(item, worker)
                with self._turn:
                    self._done()
        except BaseException:  # whatever ends it, the others begin nothing more; it is raised again
            self._waiting.clear()
            raise
        finally:
            self._end(worker)

    def _treated(
        self, item: I, worker: subprocess.Popen[bytes] | None
    ) -> tuple[subprocess.Popen[bytes] | None, T | None]:
        import pickle

        for _ in range(_ATTEMPTS):
            try:
                worker = worker or self._begin()
                return worker, _asked(worker, item)
            except (OSError, EOFError, pickle.UnpicklingError):
                hung = self._end(worker)
                worker = None
                if self._stopped or hung:
                    break
        return None, None

    def _begin(self) -> subprocess.Popen[bytes]:
        import pickle

        worker = _start("serve_each")
        self._workers.add(worker)
        pickle.dump(self._work, worker.stdin or _no_pipe())
        return worker

    def _end(self, worker: subprocess.Popen[bytes] | None) -> bool:
        """Have it gone; whether its time was over (`expendable`): it would be again."""
        if worker is None:
            return False
        worker.kill()
        with suppress(OSError):  # what it did not read
            worker.communicate()
        self._workers.discard(worker)
        return worker.returncode == -signal.SIGALRM


def _asked(worker: subprocess.Popen[bytes], item: Any) -> Any:
    """What a worker makes of an item.

    Raises:
        FionaError: the item did.
        OSError, EOFError, UnpicklingError: the worker is gone.
    """
    import pickle

    stream = worker.stdin or _no_pipe()
    pickle.dump(item, stream)
    stream.flush()
    what, value = pickle.load(worker.stdout or _no_pipe())  # noqa: S301 — from our own process
    if what == "error":
        raise value
    return value


def _nothing() -> None:
    return


def _start(serve: str) -> subprocess.Popen[bytes]:
    import subprocess

    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM.format(path=[one for one in sys.path if one], serve=serve)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a traceback may hold values
    )


def _no_pipe() -> BinaryIO:
    raise BrokenPipeError


def _listen(
    number: int,
    worker: subprocess.Popen[bytes],
    work: tuple[Part[Any], tuple[Any, ...]],
    heard: SimpleQueue[tuple[int, str, Any]],
) -> None:
    """Hand a worker its part and pass on what it says."""
    import pickle

    try:
        with worker.stdin or _no_pipe() as stream:
            pickle.dump(work, stream)
        with worker.stdout or _no_pipe() as stream:
            while True:
                what, value = pickle.load(stream)  # noqa: S301 — from our own process
                heard.put((number, what, value))
                if what != "done":
                    return
    except Exception:  # noqa: BLE001 — whatever happens to the pipe: the worker is gone
        heard.put((number, "error", Transient("a worker process was lost: is there enough memory?")))


def serve() -> None:
    """What a worker of `run_parts` does: one part, from standard input to standard output."""
    with _voice() as target:
        _work(sys.stdin.buffer, target)


def serve_each() -> None:
    """What a worker of `run_each` does: one item after the other, until there are no more."""
    import pickle

    become_expendable()
    with _voice() as target:
        make, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 — from the process that started us
        treat = None
        with suppress(EOFError):
            while True:
                item = pickle.load(sys.stdin.buffer)  # noqa: S301 — the same
                try:
                    treat = treat or make(*arguments)
                    _say(target, "result", treat(item))
                except Exception as error:  # noqa: BLE001 — its message may hold values
                    _say(target, "error", _told(error))


def _voice() -> BinaryIO:
    """Standard output, which from now on nobody else writes to: libraries print what they complain of."""
    voice = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return voice


def _say(target: BinaryIO, what: str, value: Any = None) -> None:
    import pickle

    pickle.dump((what, value), target)
    target.flush()


def _told(error: Exception) -> FionaError:
    if isinstance(error, FionaError):
        return error
    return Permanent(f"a part of the work failed ({type(error).__name__})")


def _work(source: BinaryIO, target: BinaryIO) -> None:
    import pickle

    function, arguments = pickle.load(source)  # noqa: S301 — from the process that started us
    try:
        _say(target, "result", function(lambda: _say(target, "done"), *arguments))
    except Exception as error:  # noqa: BLE001 — its message may hold values
        _say(target, "error", _told(error))
