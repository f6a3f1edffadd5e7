"""A limit for native code that may not come back, in processes that may be ended for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class _Process:
    is_expendable = False


def become_expendable() -> None:
    """This process treats what may never end: whoever gave it the work goes on without it."""
    _Process.is_expendable = True
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End this process where what follows takes longer, by the clock; nothing where it is not expendable.

    The kernel does it (setitimer(2)): code that hangs outside of Python hears no exception and no handler.
    """
    if not _Process.is_expendable:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
