"""What a command costs: CPU seconds and peak memory of its process tree, wall time; and medians of rounds."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_OUTPUT_KEPT = 2000


@dataclass(frozen=True)
class Run:
    """One run of a command. CPU is user and system time of the process and all children that it waited for; `rss` is
    the largest resident set of any single process among them, in bytes (getrusage(2))."""

    cpu: float
    wall: float
    rss: int
    status: int
    output: str = ""


def run(command: Sequence[str], folder: Path, *, limit: float, home: Path | None = None) -> Run:
    """Run `command` in `folder` and wait for it; killed after `limit` seconds, which gives status -9.

    A child counts its parent's resident set as its own until it is replaced by the new program, so the caller should
    be small: import nothing large in it.
    """
    log = folder / "output.log"
    environment = dict(os.environ) | ({"HOME": str(home)} if home else {})
    environment.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # as installed: compiled modules are there from the first run
    with log.open("wb") as stream:
        begin = time.perf_counter()
        child = subprocess.Popen(
            list(command), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        alarm = threading.Timer(limit, os.killpg, (child.pid, signal.SIGKILL))
        alarm.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:  # whatever ends the wait, no tool goes on behind it; it is raised again
            os.killpg(child.pid, signal.SIGKILL)
            raise
        finally:
            alarm.cancel()
        wall = time.perf_counter() - begin
    text = log.read_text(encoding="utf-8", errors="replace")[-_OUTPUT_KEPT:]
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, child.returncode, text.strip())


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several rounds."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """`median [low-high]`, or the median alone where all rounds agree as written."""
        middle, low, high = (f"{value:.{digits}f}" for value in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} [{low}-{high}]"


def spread(values: Mapping[int, float]) -> Spread | None:
    """The spread of values by round; None where there is none."""
    if not values:
        return None
    return Spread(statistics.median(values.values()), min(values.values()), max(values.values()))


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Round by round, so that a busy moment of the machine weighs on both sides; rounds that both have."""
    return {number: ours[number] / theirs[number] for number in ours if theirs.get(number)}
