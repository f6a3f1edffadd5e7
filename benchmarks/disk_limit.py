"""What the disk alone gives to `receive.py`: the same files written and synced by as many writers, and nothing else.

Each writer makes a file, writes it in pieces of a PDU, syncs it, and makes the next one: fsync(2) of a new file brings
its content, its size and its name's entry to the disk. No receiver that syncs before it answers can be faster.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.receive_report import DISK_ALONE, Case, Measurement

_PIECE = 131_072


def measured(case: Case, parts: Sequence[Path], place: Path, number: int) -> Measurement:
    """Write the files of every part into `place`, a process for each part."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(len(parts) + 1)
    writers = []
    for index, part in enumerate(parts):
        target = place / f"writer-{index}"
        target.mkdir()
        writers.append(context.Process(target=_write, args=(part, target, together)))
    for writer in writers:
        writer.start()
    together.wait()
    began = time.perf_counter()
    for writer in writers:
        writer.join()
    seconds = time.perf_counter() - began
    sizes = [path.stat().st_size for part in parts for path in part.iterdir()]
    problem = "" if all(writer.exitcode == 0 for writer in writers) else "a writer failed"
    return Measurement(
        DISK_ALONE, case, number, len(sizes), sum(sizes), seconds, 0.0, 0, 0.0, problem, ours=False
    )


def _write(part: Path, target: Path, together: Barrier) -> None:
    sources = sorted(part.iterdir())
    content = max((path.read_bytes() for path in sources[:1]), default=b"")
    together.wait()
    for source in sources:
        view = memoryview(content)
        descriptor = os.open(target / source.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        for at in range(0, len(view), _PIECE):
            os.write(descriptor, view[at : at + _PIECE])
        os.fsync(descriptor)
        os.close(descriptor)
