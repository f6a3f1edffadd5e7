"""The curve over the size of the archive: a real run on a small one, and what its table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import receive
from benchmarks.archive_curve import Point, table
from tests.conftest import need_program


def test_it_is_flat_where_a_large_archive_costs_less_than_a_tenth() -> None:
    points = [Point(0, 1, 100, 1.0, 0.5), Point(1000, 1, 100, 1.05, 0.5)]
    assert "PASS flat" in table(points)
    assert "FAIL flat" in table([*points, Point(5000, 1, 100, 1.2, 0.5)])
    lost = Point(5000, 1, 100, 1.0, 0.5, "100 files, 100 acknowledged, 2 stored")
    assert "2 stored" in table([*points, lost])


def test_images_come_into_an_archive_that_has_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_program("dcmsend")
    arguments = ["--archive-curve", "--archive-sizes", "600", "--sizes", "tiny", "--rounds", "1"]
    assert receive.main([*arguments, "--folder", str(tmp_path)]) == 0
    assert "| 600 |" in capsys.readouterr().out
