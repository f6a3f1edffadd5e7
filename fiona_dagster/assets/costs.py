"""What a stage costs, as metadata of its asset: Dagster's pages draw it over all studies."""

from __future__ import annotations

import resource
import time


class Spent:
    """Time and CPU since it was made: of this process, which runs one stage at a time, and of its ended children."""

    def __init__(self) -> None:
        self._began, self._cpu = time.monotonic(), _cpu_seconds()

    @property
    def metadata(self) -> dict[str, float]:
        """`seconds` by the clock, and `cpu_seconds` (user and system)."""
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
        }


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
