"""Parts of one piece of work in processes of their own, for all cores.

A worker is a fresh interpreter that imports what its part needs and nothing of the program that started it: neither
Dagster nor locks of other threads. Parts and results travel by its standard input and output, secrets with them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from fiona_dagster.domain.errors import FionaError, Permanent, Transient

if TYPE_CHECKING:
    import subprocess
    from queue import SimpleQueue

_PROGRAM = "import sys; sys.path[:] = {path}; from fiona_dagster.adapters import parallel; parallel.serve()"
"""Nothing is imported from the folder that it happens to run in."""
LEAST = 128
"""Instances that are worth a process: starting one costs as much as some dozens of images."""

T = TypeVar("T")
Part = Callable[..., T]
"""Takes what to call behind every instance, then the part's own arguments; a function of a module."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(count: int, workers: int) -> list[range]:
    """Positions in as many even parts as there are workers, fewer where the parts would be too small."""
    parts = max(1, min(workers, count // LEAST))
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
    workers = [_start() for _ in parts]
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


def _nothing() -> None:
    return


def _start() -> subprocess.Popen[bytes]:
    import subprocess

    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM.format(path=[one for one in sys.path if one])],
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
    """What a worker does: one part, from standard input to standard output."""
    _work(sys.stdin.buffer, sys.stdout.buffer)


def _work(source: BinaryIO, target: BinaryIO) -> None:
    import pickle

    def say(what: str, value: Any = None) -> None:
        pickle.dump((what, value), target)
        target.flush()

    function, arguments = pickle.load(source)  # noqa: S301 — from the process that started us
    try:
        say("result", function(lambda: say("done"), *arguments))
    except FionaError as error:
        say("error", error)
    except Exception as error:  # noqa: BLE001 — its message may hold values
        say("error", Permanent(f"a part of the work failed ({type(error).__name__})"))
