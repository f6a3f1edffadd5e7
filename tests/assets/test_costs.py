from __future__ import annotations

import subprocess
import sys
import time

from fiona_dagster.assets.costs import Spent


def test_a_stage_is_charged_with_its_own_work_and_that_of_its_ended_children() -> None:
    spent, end = Spent(), time.process_time() + 0.02
    while time.process_time() < end:
        pass
    own = spent.metadata
    assert own["cpu_seconds"] >= 0.02
    subprocess.run([sys.executable, "-S", "-c", "for _ in range(10**6): pass"], check=True)
    assert spent.metadata["cpu_seconds"] > own["cpu_seconds"]
    assert spent.metadata["seconds"] >= own["seconds"]
