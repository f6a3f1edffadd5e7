"""The machine's clocks, read."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from fiona_dagster.domain.moments import Moment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def moment() -> Moment:
    """Now."""
    if not _boot():
        return Moment(time.time())
    return Moment(time.time(), _boot(), time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot() -> str:
    """What names this start of the machine; '' where the system does not tell (other than Linux)."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()[:36] if hasattr(time, "CLOCK_BOOTTIME") else ""
    except OSError:
        return ""
