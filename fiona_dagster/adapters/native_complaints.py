"""What native code writes to standard error: the only way in which some decoders say that they guessed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


@contextmanager
def native_complaints() -> Iterator[Callable[[], bool]]:
    """Keep what is written to standard error; afterwards the result says whether anything was.

    It is the process's own: what another thread writes meanwhile is taken for a complaint, and lost. What is written
    is not repeated, for it may hold values. Where there is no standard error, nothing is heard.
    """
    complained = False
    try:
        before = os.dup(_STANDARD_ERROR)
    except OSError:  # it is closed
        yield lambda: False
        return
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), _STANDARD_ERROR)
            try:
                yield lambda: complained
            finally:
                os.dup2(before, _STANDARD_ERROR)
                complained = os.fstat(kept.fileno()).st_size > 0
    finally:
        os.close(before)
