"""Reception against what is in the archive already: images a second with 0 to a million instances there.

Part of `receive.py --archive-curve`. The ledger has a row for every instance, the archive a file for each of as many as
are asked for; of the others the folders of their studies.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import ratios, spread

_A_STUDY = 500
"""Instances of a study in the archive."""
_ROOT = "1.2.826.0.1.3680043.99.77"
_LONG_AGO = 86_400.0
_FLAT = 0.9


@dataclass(frozen=True)
class Point:
    """One run: instances that were there, images that came in how many seconds, and seconds of work behind the last
    answer."""

    instances: int
    round: int
    files: int
    seconds: float
    behind: float
    problem: str = ""


def fill(data_dir: Path, instances: int, files: int) -> None:
    """Make a DATADIR whose ledger has `instances` and whose archive has the first `files` of them, all empty.

    The gateway is asked to make the ledger in a process that imports it; rows are written by SQL.
    """
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.spool import Spool
    from fiona_dagster.domain.layout import Layout
    from fiona_dagster.settings import DEFAULT_SITE

    layout = Layout(data_dir)
    spool = Spool(layout)
    Ledger(f"sqlite:///{layout.ledger}").close()
    site = DEFAULT_SITE  # of a listener without configuration
    at = time.time() - _LONG_AGO
    with sqlite3.connect(layout.ledger) as connection:
        connection.executemany(
            "insert into study (key, site, study_instance_uid, first_received_at, last_received_at, instance_count,"
            " revision, arrived_count, registered_revision, routed_revision, patient_id, patient_name,"
            " accession_number, study_date, study_time, study_description, institution_name, calling_ae, called_ae,"
            " address) values (?, ?, ?, ?, ?, ?, 1, ?, 1, 1, '', '', '', '', '', '', '', 'A', 'B', '10.0.0.1')",
            (
                (f"20260101-{number:012x}", site, f"{_ROOT}.{number}", at, at, _A_STUDY, _A_STUDY)
                for number in range(-(-instances // _A_STUDY))
            ),
        )
        connection.executemany(
            "insert into instance (study_key, site, series_instance_uid, sop_instance_uid, sop_class_uid,"
            " transfer_syntax_uid, modality, sha256, size_bytes, path, received_at, receptions, calling_ae,"
            " called_ae, address, aside, purged)"
            " values (?, ?, ?, ?, '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1', 'MR', ?, 52000, ?, ?, 1, 'A',"
            " 'B', '10.0.0.1', 0, 0)",
            _rows(instances, site, at),
        )
    _make_files(layout.archive, instances, files)
    spool.mark_recorded(time.time())


def made(folder: Path, instances: int, files: int) -> Path:
    """`fill` in a process of its own: what that needs in memory would count as the receiver's."""
    target = folder / f"archive-{instances}"
    if not target.exists():
        print(f"an archive of {instances} instances", file=sys.stderr, flush=True)
        root = Path(__file__).resolve().parent.parent
        environment = {"PYTHONPATH": str(root)} | dict(os.environ)
        command = [sys.executable, str(Path(__file__).resolve()), str(target), str(instances), str(files)]
        subprocess.run(command, check=True, env=environment)
    return target


def table(points: Sequence[Point]) -> str:
    """The report, as Markdown."""
    lines = [
        "# Reception against the size of the archive", "",
        "| instances there | images/s | s behind | x the smallest |", "| ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    sizes = sorted({one.instances for one in points})
    first = _speeds(points, sizes[0])
    verdict = "PASS"
    for size in sizes:
        speeds = _speeds(points, size)
        behind = spread(
            {one.round: one.behind for one in points if one.instances == size and not one.problem}
        )
        found, against = spread(speeds), spread(ratios(speeds, first))
        if found is None or behind is None or against is None:
            lines.append(f"| {size} | failed | | |")
            verdict = "FAIL"
            continue
        if against.median < _FLAT:
            verdict = "FAIL"
        lines.append(f"| {size} | {found.text()} | {behind.text(1)} | {against.text(2)} |")
    problems = [
        f"- {one.instances} instances, round {one.round}: {one.problem}" for one in points if one.problem
    ]
    return "\n".join([*lines, "", f"- {verdict} flat within 10 %", *problems])


def _speeds(points: Sequence[Point], size: int) -> dict[int, float]:
    chosen = (one for one in points if one.instances == size and not one.problem)
    return {one.round: one.files / one.seconds for one in chosen}


def _rows(instances: int, site: str, at: float) -> Iterator[tuple[object, ...]]:
    for number in range(instances):
        study = number // _A_STUDY
        sop = f"{_ROOT}.{study}.1.{number}"
        path = f"site/archive/scp_{_ROOT}.{study}/{sop}"
        yield f"20260101-{study:012x}", site, f"{_ROOT}.{study}.1", sop, f"{number:064x}", path, at


def _make_files(archive: Path, instances: int, files: int) -> None:
    for study in range(-(-instances // _A_STUDY)):
        folder = archive / f"scp_{_ROOT}.{study}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(study * _A_STUDY, min((study + 1) * _A_STUDY, instances, files)):
            name = f"{_ROOT}.{study}.1.{number}"
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=descriptor))
        os.close(descriptor)
        long_ago = time.time() - _LONG_AGO
        os.utime(folder, (long_ago, long_ago))


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
