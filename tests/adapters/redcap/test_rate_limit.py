from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from fiona_dagster.adapters.redcap.rate_limit import RateLimit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_no_minute_has_more_calls_than_the_limit(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit(tmp_path / "state", 60, clock=clock)
    times = []
    for _ in range(200):
        clock.now += limit.reserve()
        times.append(clock.now)
    worst = max(sum(1 for other in times if start <= other < start + 60.0) for start in times)
    assert 55 <= worst <= 61
    assert times[14] == 1000.0  # a burst is not held up


def test_idleness_fills_the_bucket_and_not_more(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit(tmp_path / "state", 60, clock=clock)
    assert [limit.reserve() for _ in range(15)] == [0.0] * 15
    clock.now += 3600
    assert [limit.reserve() for _ in range(15)] == [0.0] * 15
    assert limit.reserve() > 0


def test_processes_share_one_allowance(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from fiona_dagster.adapters.redcap.rate_limit import RateLimit;"
        "limit = RateLimit(Path(sys.argv[1]), 40); print(sum(limit.reserve() == 0 for _ in range(10)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    granted = [int(one.communicate(timeout=60)[0]) for one in running]
    assert 10 <= sum(granted) <= 13  # a burst of ten, and what dripped in meanwhile


def test_a_damaged_state_or_an_older_boot_begins_anew(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "state").write_text("not json")
    limit = RateLimit(tmp_path / "state", 60, clock=clock)
    assert limit.reserve() == 0.0
    (tmp_path / "state").write_bytes(struct.pack("<dd", -50.0, 99_999_999.0))
    assert limit.reserve() == 0.0
