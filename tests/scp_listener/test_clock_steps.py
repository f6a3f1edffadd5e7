from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.domain.layout import Layout
from fiona_dagster.settings import Site
from scp_listener import clock_steps
from scp_listener.recovery import recover
from tests.scp_listener.instances import STUDY, instance, write


@pytest.mark.parametrize(
    ("step", "until"),
    [(0.0, 10_000.0), (-20.0, 10_000.0), (3600.0, 10_000.0), (-3600.0, 6_500.0)],
)
def test_only_a_clock_that_was_put_back_counts(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, step: float, until: float
) -> None:
    spool, now = Spool(layout), {"clock": 10_000.0, "steady": 50.0}
    spool.mark_recorded(10_000.0)
    clocks = SimpleNamespace(time=lambda: now["clock"], monotonic=lambda: now["steady"])
    monkeypatch.setattr(clock_steps, "time", clocks)
    steps = clock_steps.ClockSteps(spool)
    now["clock"] += 100.0 + step
    now["steady"] += 100.0
    steps.look()
    assert spool.recorded_until() == until
    now["clock"] += 100.0
    now["steady"] += 100.0
    steps.look()
    assert spool.recorded_until() == until, "once for each step"


def test_what_a_clock_ahead_of_time_left_is_no_measure_for_recovery(layout: Layout) -> None:
    spool, ledger = Spool(layout), Ledger(f"sqlite:///{layout.ledger}")
    folder = layout.study_archive(STUDY)
    folder.mkdir(parents=True)
    image = instance(1)
    write(folder / image.SOPInstanceUID, image)
    os.utime(folder, (1000.0, 1000.0))
    spool.mark_recorded(2.0**33)
    assert recover(Site("ABCD", layout, "127.0.0.1", 0, "FIONA"), ledger).recorded == 1
    assert spool.recorded_until() < 2.0**33
    ledger.close()
