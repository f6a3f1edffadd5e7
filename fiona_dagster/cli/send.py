"""`fiona send`: files and folders to a receiver, by default our own (FIONA's s2m, `send to me`)."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import config_option
from fiona_dagster.domain.errors import FionaError

if TYPE_CHECKING:
    from rich.console import Console

    from fiona_dagster.settings import DicomPeer

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", "to", metavar="AE@host:port", help="The receiver; by default our own.")
@click.option(
    "--calling", metavar="AE", help="Our AE title; by default CALLINGAETITLE of config.json, else FIONA."
)
@config_option
def send(paths: tuple[Path, ...], to: str | None, calling: str | None, config_file: Path | None) -> None:
    """Send DICOM files and folders, with all below them, one Association a study.

    A JSON summary with counts goes to stdout. Exit status 1 if anything was not stored or is not DICOM.
    """
    from rich.console import Console

    from fiona_dagster.adapters.dicom_scu import peer_from_text
    from fiona_dagster.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(config_file)
    peer = peer_from_text(to) if to else settings.default_site.peer
    studies, foreign = _studies(_files(paths))
    problems = _send_all(studies, peer, calling or settings.calling_ae_title, console)
    for path, problem in foreign:
        console.print(
            f"skipped {path}: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )
    for problem, count in sorted(problems.items()):
        console.print(
            f"{count} not stored: {problem}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    total, failed = sum(map(len, studies.values())), sum(problems.values())
    summary = {
        "to": str(peer),
        "studies": len(studies),
        "instances": total,
        "stored": total - failed,
        "failed": failed,
        "skipped": len(foreign),
    }
    click.echo(json.dumps(summary))
    if failed or foreign or not total:
        raise SystemExit(1)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file once, folders in the order of their names, links followed (FIONA's raw folder is made of them)."""
    seen: set[Path] = set()
    for path in paths:
        found = (
            (Path(folder) / name for folder, _, names in sorted(os.walk(path)) for name in sorted(names))
            if path.is_dir()
            else iter((path,))
        )
        for one in found:
            real = one.resolve()
            if real not in seen:
                seen.add(real)
                yield one


def _studies(files: Iterable[Path]) -> tuple[dict[str, list[Path]], list[tuple[Path, str]]]:
    """DICOM files by Study Instance UID (empty where they have none), and the others with what is wrong."""
    from pydicom import config, dcmread

    from fiona_dagster.adapters.dicom_scu import read_stored_instance
    from fiona_dagster.domain.errors import Permanent

    studies: defaultdict[str, list[Path]] = defaultdict(list)
    foreign: list[tuple[Path, str]] = []
    for path in files:
        try:
            if read_stored_instance(path).sop_class_uid == MEDIA_STORAGE_DIRECTORY:
                raise Permanent("a DICOMDIR, not an instance")
        except Permanent as error:
            foreign.append((path, str(error)))
            continue
        try:
            with config.disable_value_validation():
                found = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
                uid = str(found.get("StudyInstanceUID", ""))
        except Exception:  # noqa: BLE001 — a damaged data set is for the receiver to refuse, not for us to hide
            uid = ""
        studies[uid].append(path)
    return dict(studies), foreign


def _send_all(
    studies: Mapping[str, list[Path]], peer: DicomPeer, calling: str, console: Console
) -> Counter[str]:
    """Send study by study; how many instances were not stored, by reason."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fiona_dagster.adapters.dicom_scu import send as send_files

    problems: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"to {peer}", total=sum(map(len, studies.values())))
        for files in studies.values():
            try:
                report = send_files(files, peer, calling, progress=lambda _: progress.advance(task))
            except FionaError as error:
                problems[str(error)] += len(files)
            else:
                problems.update(outcome.problem for outcome in report.failed)
    return problems
