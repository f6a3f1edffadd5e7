"""All studies of the suite. `python -m tests.deid.suite FOLDER` writes them, so that other tools can be scored, too."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.deid.colleagues import colleagues
from tests.deid.generator import Study, follow_up, modalities, scripts
from tests.deid.hidden import known_and_kept


def studies() -> list[Study]:
    """Every study, the same each time."""
    return [modalities(), scripts(), follow_up(), colleagues(), *known_and_kept()]


if __name__ == "__main__":
    for made in studies():
        written = made.write(Path(sys.argv[1]) / made.name)
        sys.stdout.write(f"{made.name}: {len(written)} files, {len(made.key)} rows of the key\n")
