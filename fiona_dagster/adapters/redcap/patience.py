"""Whoever waits for a REDCap that hangs is told so, long before the call fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger(__name__)

SLOW_SECONDS = 10.0


@contextmanager
def told_when_slow(longest_seconds: float) -> Iterator[None]:
    """Warn once when the block takes more than `SLOW_SECONDS`; it is given up after `longest_seconds`."""
    message = "REDCap has not answered for %.0f s: it is waited for, up to %.0f s"
    timer = threading.Timer(SLOW_SECONDS, LOG.warning, (message, SLOW_SECONDS, longest_seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
