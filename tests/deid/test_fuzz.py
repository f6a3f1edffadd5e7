"""A few hundred broken files, the same every time; `fuzz.py` makes as many as one has time for."""

from __future__ import annotations

import random
import warnings

import pytest

from tests.deid import fuzz

EACH = 60


@pytest.mark.parametrize("seed", range(5))
def test_broken_files_break_no_promise(seed: int) -> None:
    warnings.simplefilter("ignore")
    fuzz.outcomes.clear()
    chance, originals = random.Random(seed), fuzz.seeds()
    problems = [fuzz.broken_promise(fuzz.mutated(chance, chance.choice(originals))) for _ in range(EACH)]
    assert [one for one in problems if one] == []
    assert sum(fuzz.outcomes.values()) >= EACH
    assert fuzz.outcomes["released, verified"] > EACH // 10, fuzz.outcomes


def test_a_file_that_never_ends_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_content: bytes, **_options: bool) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.deid.examination.examine", hang)
    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 0.05)
    assert "was worked on" in fuzz.broken_promise(b"")
