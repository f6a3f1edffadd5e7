"""The CSV of old and new UIDs that `fiona deidentify --map` writes, and places that can be written to."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fiona_dagster.domain.deidentification import DeidentifiedInstance

MAP_COLUMNS = ("source", "output", "sop_instance_uid", "new_sop_instance_uid", "disposition", "reason")


@dataclass(frozen=True)
class Row:
    """What became of one file of IN."""

    source: Path
    instance: DeidentifiedInstance


def check_places(files: Mapping[str, Path | None]) -> None:
    """Refuse files that cannot be written, by their options, before anything is released.

    Raises:
        ConfigurationError: one cannot.
    """
    for option, file in files.items():
        if file is not None:
            with writing(option):
                os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Say what the system refuses as a ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"cannot be written ({error.strerror})",
            place=place,
            remedy="choose a place that can be written to",
        ) from None


@contextmanager
def staging_beside(target: Path) -> Iterator[Path]:
    """A folder beside `target`, gone at the end, also where SIGTERM asks for it: what is in it was not verified."""
    target.parent.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, _ended)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def write_map(path: Path, rows: Sequence[Row]) -> None:
    """The old and new UIDs, for us only: the file leads back to the patient."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(MAP_COLUMNS)
        for row in rows:
            one = row.instance
            out = one.path if one.disposition == "released" else ""
            new = one.sop_instance_uid if one.disposition == "released" else ""
            writer.writerow([row.source, out, one.source_sop_instance_uid, new, one.disposition, one.reason])
