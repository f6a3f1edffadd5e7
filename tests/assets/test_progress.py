from __future__ import annotations

import logging

import pytest

from fiona_dagster.assets.progress import SECONDS, now_and_then


def test_a_line_comes_every_half_minute_and_none_before(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    told = now_and_then(logging.getLogger("run"), "images read for text", clock=lambda: now)
    with caplog.at_level(logging.INFO):
        for done in range(1, 71):
            now = float(done)
            told(done, 70)
    assert [one.getMessage() for one in caplog.records] == [
        f"{done:.0f} of 70 images read for text" for done in (SECONDS, 2 * SECONDS)
    ]
