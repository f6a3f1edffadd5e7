"""Tables for people: as wide as their terminal, and wide enough for every word where there is none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if is_terminal else _WIDE)
