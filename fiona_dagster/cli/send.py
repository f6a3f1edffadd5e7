"""`fiona send`: files and folders to a receiver, by default our own (FIONA's s2m, `send to me`)."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Permanent

if TYPE_CHECKING:
    from rich.console import Console

    from fiona_dagster.adapters.ledger.archived import Selection
    from fiona_dagster.adapters.own_calls import OwnCalls
    from fiona_dagster.settings import DicomPeer, Site

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_REJECTED = (
    " (our own receiver, with a pass: it must run on this machine with this data directory, be of this version, and "
    "its ACCESS.called must name the AE title that is called)"
)


@dataclass(frozen=True)
class Batch:
    """Files of one study for one receiver, under one calling AE title."""

    peer: DicomPeer
    calling: str
    files: tuple[Path, ...] = field(repr=False)
    label: str = ""
    """The study key of what is archived; files that are named by path have none."""
    own_calls: OwnCalls | None = None
    """Where the receiver is ours and names its callers, what lets us in among them."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--study", "studies", multiple=True, metavar="KEY|UID", help="An archived study; may be repeated."
)
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="Archived studies of a patient (audited)."
)
@click.option("--last", "last_days", type=click.FloatRange(0, min_open=True), metavar="DAYS",
              help="Archived studies with an image received in the last DAYS.")  # fmt: skip
@click.option(
    "--from-ae", default="", metavar="PATTERN", help="Of those only what came from such an AE: 'CT*'."
)
@click.option("--site", default="", help="The site that it is sent to, or whose archive is meant.")
@click.option("--to", "to", metavar="AE@host:port", help="The receiver; by default our own.")
@click.option(
    "--calling",
    metavar="AE",
    help="Our AE title; by default that of the first sender, for files CALLINGAETITLE of config.json, else FIONA.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@config_option
def send(
    paths: tuple[Path, ...],
    studies: tuple[str, ...],
    patients: tuple[str, ...],
    last_days: float | None,
    from_ae: str,
    site: str,
    to: str | None,
    calling: str | None,
    dry_run: bool,
    config_file: Path | None,
) -> None:
    """Send DICOM files and folders, or archived studies, one Association a study and sender.

    Archived studies go to their own receiver under the AE titles by which they came, so that routing is the same as it
    was. What the receiver has already, byte for byte, opens no revision, and asks for no new decision.

    A JSON summary with counts goes to stdout. Exit status 1 if anything was not stored, is not DICOM or is gone.
    """
    from rich.console import Console

    from fiona_dagster.adapters.dicom_files import quiet_pydicom
    from fiona_dagster.adapters.dicom_scu import peer_from_text
    from fiona_dagster.settings import load_settings

    archived = bool(studies or patients or last_days is not None or from_ae)
    if archived == bool(paths):
        raise ConfigurationError(
            "what is to be sent is not clear",
            remedy="name PATHs, or archived studies by --study, --patient, --last or --from-ae, not both",
        )
    console = Console(stderr=True)
    receiver = peer_from_text(to) if to else None
    gone = 0
    foreign: list[tuple[Path, str]] = []
    if archived:
        from fiona_dagster.adapters.ledger.archived import Selection

        chosen = Selection(
            studies,
            patients,
            None if last_days is None else now() - 86_400 * last_days,
            from_ae,
            site,
        )
        batches, gone = _archived(open_gateway(config_file), chosen, receiver, calling, dry_run=dry_run)
        default = None
    else:
        settings = load_settings(config_file)
        ours = settings.site(site) if site else settings.default_site
        default = receiver or ours.peer
        own_calls = None if receiver else _own_calls(ours)
        with quiet_pydicom():
            by_study, foreign = _studies(_files(paths))
        title = calling or settings.calling_ae_title
        batches = [Batch(default, title, tuple(files), own_calls=own_calls) for files in by_study.values()]
    with quiet_pydicom():
        problems = Counter[str]() if dry_run else _send_all(batches, console)
    _tell(console, foreign, problems, gone)
    total, failed = sum(len(one.files) for one in batches), sum(problems.values())
    summary: dict[str, object] = {
        "to": str(receiver or default) if receiver or default else sorted({str(one.peer) for one in batches}),
        "studies": len({one.label or one.files for one in batches}),
        "instances": total,
        "stored": 0 if dry_run else total - failed,
        "failed": failed,
        "skipped": len(foreign),
    }
    if archived:
        summary["gone"] = gone
    if dry_run:
        summary["dry_run"] = [
            {"study": one.label, "instances": len(one.files), "to": str(one.peer), "calling": one.calling}
            for one in batches
        ]
    click.echo(json.dumps(summary))
    if failed or foreign or gone or not total:
        raise SystemExit(1)


def _archived(
    gateway: Opened, selection: Selection, receiver: DicomPeer | None, calling: str | None, *, dry_run: bool
) -> tuple[list[Batch], int]:
    """What is to be sent of the archive, and how many instances were cleaned up; the look-up is audited."""
    from fiona_dagster.adapters.ledger.archived import archived_parts

    parts = archived_parts(gateway.ledger, selection)
    keys = list(dict.fromkeys(one.key for one in parts))
    what = "send --dry-run" if dry_run else "send"
    gateway.ledger.inventory.note_access(whoami(), what, f"{len(keys)} found", now=now())
    if not dry_run:
        for key in keys:
            gateway.ledger.inventory.note_access(whoami(), what, key, now=now())
    batches = []
    for one in parts:
        site = gateway.settings.site(one.site)
        # as it was called: the called AE title carries routing intent
        peer = receiver or replace(site.peer, ae_title=one.called_ae or site.peer.ae_title)
        files = tuple(site.layout.datadir / path for path in one.paths)
        if files:
            title = calling or one.calling_ae or gateway.settings.calling_ae_title
            own_calls = None if receiver else _own_calls(site)
            batches.append(Batch(peer, title, files, one.key, own_calls))
    return batches, sum(one.purged for one in parts)


def _own_calls(site: Site) -> OwnCalls | None:
    from fiona_dagster.adapters.own_calls import OwnCalls

    return OwnCalls(site.layout.own_calls) if site.receiver.access.callers else None


def _tell(console: Console, foreign: Sequence[tuple[Path, str]], problems: Counter[str], gone: int) -> None:
    lines = [(f"skipped {path}: {problem}", "yellow") for path, problem in foreign]
    lines += [(f"{count} not stored: {problem}", "red") for problem, count in sorted(problems.items())]
    if gone:
        lines.append((f"{gone} not sent: cleaned up after delivery; have the source send them again", "red"))
    for line, style in lines:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


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


def _send_all(batches: Sequence[Batch], console: Console) -> Counter[str]:
    """Send batch by batch; how many instances were not stored, by reason."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fiona_dagster.adapters.dicom_scu import send as send_files

    problems: Counter[str] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("sending", total=sum(len(one.files) for one in batches))
        for one in batches:
            progress.update(task, description=f"{one.label} to {one.peer}".strip())
            try:
                report = send_files(
                    one.files, one.peer, one.calling, progress=lambda _: progress.advance(task),
                    own_pass=one.own_calls.issue if one.own_calls else None,
                )  # fmt: skip
            except FionaError as error:
                why = _REJECTED if one.own_calls and isinstance(error, Permanent) else ""
                problems[f"{error}{why}"] += len(one.files)
            else:
                problems.update(outcome.problem for outcome in report.failed)
            finally:
                if one.own_calls:
                    one.own_calls.withdraw()
    return problems
