"""The benchmark of reception runs, and says when something was lost; no figure is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import receive
from benchmarks.receive_report import BARS, Case, Measurement, line, text
from benchmarks.receivers import receivers
from tests.conftest import need_program


def measured(receiver: str, seconds: float, *, problem: str = "") -> Measurement:
    return Measurement(
        receiver, Case("ct", 4, nagle=False), 1, 10, 5_000_000, seconds, 1.0, 80_000_000, 0.5, problem,
        receiver.startswith("ours"),
    )  # fmt: skip


def test_bars_are_ratios_of_one_round() -> None:
    found = [measured("ours", 1.0), measured("ours, no sync", 0.5), measured("storescp tuned", 0.9)]
    told = text(found, receivers(frozenset(), 1), "a machine", "tiny")
    assert (
        "PASS ours, no sync, CT, 0.53 MB, 4 Associations, sender without delay: at least 1.2 x storescp tuned: 1.80"
        in told
    )
    assert told.count("PASS") == 2
    assert told.count("OPEN") == len(BARS) - 2


def test_a_run_that_lost_something_has_no_figure() -> None:
    lost = measured("ours", 1.0, problem="10 files, 10 acknowledged, 9 stored")
    told = text([lost, measured("storescp tuned", 0.9)], [], "a machine", "tiny")
    assert "| ours | failed |" in told
    assert "9 stored" in told
    assert "9 stored" in line(lost)


def test_it_runs_on_tiny_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_program("dcmsend")
    arguments = [
        "--sizes",
        "tiny",
        "--rounds",
        "1",
        "--only",
        "ours",
        "--sets",
        "mr",
        "--nagle",
        "off",
        "--associations",
        "2",
    ]
    assert receive.main([*arguments, "--folder", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "| ours |" in told
    assert "| the disk alone, synced |" in told
