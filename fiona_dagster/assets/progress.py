"""How far a long piece of work is, in the log of a run: counts alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import Logger

SECONDS = 30.0
"""Between two lines, and before the first: what is done sooner needs none."""


def now_and_then(
    log: Logger, what: str, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int], None]:
    """Takes the number done and the number of all; `what` is behind them in the line."""
    told_at = clock()

    def told(done: int, of: int) -> None:
        nonlocal told_at
        if clock() - told_at >= SECONDS:
            told_at = clock()
            log.info("%d of %d %s", done, of, what)

    return told
