from __future__ import annotations

import pytest

from benchmarks import redcap_import


def test_the_rows_are_imported_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["redcap_import.py", "--rows", "3", "--rounds", "2"])
    monkeypatch.setattr(redcap_import, "BAR_SECONDS", float("inf"))
    assert redcap_import.main() == 0
    assert "json" in capsys.readouterr().out


def test_rows_that_are_missing_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["redcap_import.py", "--rows", "2", "--rounds", "1"])
    monkeypatch.setattr(redcap_import, "some_rows", lambda count, seed: ROWS[:count])
    assert redcap_import.main() == 1
    assert "2 records are there, 4 were imported" in capsys.readouterr().out


ROWS = redcap_import.some_rows(2, 0)
