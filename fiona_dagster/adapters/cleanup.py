"""Deletes what retention decided, and nothing else: every path is resolved and must lie where it should.

A study's files are unlinked one by one, by the names that were decided upon, so that an image which arrives in the
middle stays: its folder is then not empty and remains. Everything can be interrupted and called again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.package_files import manifest_file, md5_file
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.retention import DiskUse, Leftover, is_leftover

STALE_SECONDS = 3600.0
"""Reception makes folders, links and JSON one after the other: nothing younger is ever called stale."""


@dataclass
class CleanupReport:
    """What was deleted. `left` counts entries that had to stay: late images, or a folder that filled again."""

    files: int = 0
    links: int = 0
    folders: int = 0
    bytes: int = 0
    left: int = 0


def disk_use(path: Path, usage: Callable[[Path], Any] = shutil.disk_usage) -> DiskUse:
    """Use of the file system that holds `path`."""
    found = usage(path)
    return DiskUse(used_bytes=int(found.used), free_bytes=int(found.free))


def remove_study(
    layout: Layout, study_instance_uid: str, *, only: Collection[str] | None = None
) -> CleanupReport:
    """Delete a study's files with all that points to them.

    The links go first, instance by instance, then the files, then what names the study as a whole: a crash leaves
    no dangling link that the next call, or `stale_links`, would not find.

    Args:
        layout: the site's.
        study_instance_uid: of the received study.
        only: SOP Instance UIDs whose deletion was decided; anything else stays. Default: what is there now.

    Raises:
        Permanent: the UID cannot be part of a path, or a folder is not where it should be.
    """
    if not is_safe_uid_path(study_instance_uid):
        raise Permanent("a Study Instance UID cannot be part of a path: nothing was deleted")
    report = CleanupReport()
    archive = _inside(layout.study_archive(study_instance_uid), layout.archive)
    raw = _inside(layout.study_raw(study_instance_uid), layout.raw)
    names = frozenset(_names(archive) if only is None else only)
    participant_links = _participant_links(layout, raw)
    for manufacturer in _folders(layout.srs):
        folder = _inside(manufacturer / study_instance_uid, layout.srs)
        for link in [folder / name for name in _names(folder) if name in names]:
            _unlink(link, report)
        _rmdir(folder, report)
        _rmdir(manufacturer, report, expected=True)
    for series in _folders(raw):
        for link in [series / name for name in _names(series) if name in names]:
            _unlink(link, report)
        if _rmdir(series, report):
            _unlink(raw / f"{series.name}.json", report)
    for name in sorted(names):
        if "/" not in name:
            _unlink(archive / name, report)
    if _rmdir(archive, report):
        for link in participant_links:
            _unlink(link, report)
            _rmdir(link.parent, report, expected=True)
        _remove_names_of_study(layout, study_instance_uid, raw, report)
    return report


def remove_copies(layout: Layout, study_key: str) -> CleanupReport:
    """Delete a study's de-identified copies, which can be made again from what a source sends again, and the previews
    of masked images, which show the originals.

    Raises:
        Permanent: the folder is not where it should be.
    """
    previews = _remove_tree(_inside(layout.pixel_previews / study_key, layout.pixel_previews))
    copies = _remove_tree(_inside(layout.output / study_key, layout.output))
    both = zip(astuple(previews), astuple(copies), strict=True)
    return CleanupReport(*(one + other for one, other in both))


def remove_release(layout: Layout, folder: Path) -> CleanupReport:
    """Delete the de-identified copies of one transfer, in `output` or in the quarantine.

    Raises:
        Permanent: the folder is not where it should be.
    """
    quarantined = folder.is_relative_to(layout.quarantine)
    return _remove_tree(_inside(folder, layout.quarantine if quarantined else layout.output))


def _remove_tree(folder: Path) -> CleanupReport:
    report = CleanupReport()
    for path in reversed(_below(folder)):
        if path.is_dir() and not path.is_symlink():
            _rmdir(path, report)
        else:
            _unlink(path, report)
    _rmdir(folder, report)
    return report


def stale_links(layout: Layout, *, now: float) -> CleanupReport:
    """Delete dangling links, empty folders, and series JSON without their folder, in raw, participants and srs.

    Args:
        layout: the site's.
        now: seconds since the epoch; nothing changed within the hour before is touched.

    Raises:
        Transient: the archive is not there, so that every link would dangle.
    """
    if not layout.archive.is_dir():
        raise Transient("the archive folder is not there: is its disk mounted? No link was deleted")
    report = CleanupReport()
    for top in (layout.raw, layout.participants, layout.srs):
        if top.is_dir() and not top.is_symlink():
            for entry in sorted(top.iterdir()):
                _clean(entry, now, report)
    for name in _names(layout.arrived):
        touched, uid = layout.arrived / name, name.split(" ")[3:4]
        if uid and _is_old(touched, now) and not layout.study_archive(uid[0].removeprefix("scp_")).exists():
            _unlink(touched, report)
    return report


def leftovers(outbox: Path) -> tuple[Leftover, ...]:
    """What in the outbox looks unfinished, with its age and size, for `retention.choose_leftovers`."""
    found = []
    for name in _names(outbox):
        if is_leftover(name):
            path = outbox / name
            states = [one.lstat() for one in (path, *_below(path))]
            found.append(Leftover(name, sum(s.st_size for s in states), max(s.st_mtime for s in states)))
    return tuple(found)


def remove_exports(layout: Layout, names: Collection[str], *, delivered: bool = False) -> CleanupReport:
    """Delete packages with their `.md5` and manifest, or unfinished work, by their names in the outbox,
    or in the folder of it that holds what was delivered.

    Raises:
        Permanent: a name is not that of an entry of the outbox.
    """
    report = CleanupReport()
    folder = layout.delivered if delivered else layout.outbox
    for name in names:
        path = _inside(folder / name, folder)
        if path.name != name or name in (".", ".."):
            raise Permanent("a name leads out of the outbox: nothing more was deleted")
        # The zip goes last: its manifest and MD5 never name a package that is gone.
        for one in (*reversed(_below(path)), manifest_file(path), md5_file(path), path):
            if one.is_dir() and not one.is_symlink():
                _rmdir(one, report)
            else:
                _unlink(one, report)
    return report


def _participant_links(layout: Layout, raw: Path) -> list[Path]:
    """The links below participants that lead to `raw`, by its series JSON: no walk through all participants."""
    found = set()
    for name in _names(raw):
        if name.endswith(".json"):
            with suppress(
                OSError, ValueError, AttributeError
            ):  # unreadable: `stale_links` finds the link later
                series = json.loads((raw / name).read_bytes())
                words = (str(series.get(key) or "") for key in ("PatientID", "StudyDate", "StudyTime"))
                link = layout.participant_link(*words)
                if link.is_symlink() and Path(os.path.normpath(link.parent / link.readlink())) == raw:
                    found.add(link)
    return sorted(found)


def _remove_names_of_study(layout: Layout, study_instance_uid: str, raw: Path, report: CleanupReport) -> None:
    """The touch files and raw folder of a study whose files are gone."""
    for name in _names(layout.arrived):
        if study_instance_uid in [word.removeprefix("scp_") for word in name.split(" ")[3:4]]:
            _unlink(layout.arrived / name, report)
    for name in _names(raw):
        if name.endswith(".json") and not (raw / name.removesuffix(".json")).exists():
            _unlink(raw / name, report)
    _rmdir(raw, report)


def _clean(path: Path, now: float, report: CleanupReport) -> None:
    """Clean one entry and what lies below it. Ages are taken first: deleting from a folder makes it young."""
    old = _is_old(path, now)
    if path.is_symlink():
        if old and not path.exists():
            _unlink(path, report)
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.suffix != ".json" or entry.is_symlink():
                _clean(entry, now, report)
        for entry in sorted(path.glob("*.json")):
            if not entry.with_suffix("").exists() and not entry.is_symlink() and _is_old(entry, now):
                _unlink(entry, report)
        if old:
            _rmdir(path, report, expected=True)


def _is_old(path: Path, now: float) -> bool:
    with suppress(FileNotFoundError):
        return now - path.lstat().st_mtime > STALE_SECONDS
    return False


def _inside(path: Path, top: Path) -> Path:
    """`path`, once it is certain that it lies directly or deeper below `top` and is no link itself."""
    if (
        path.is_symlink()
        or not path.parent.resolve().is_relative_to(top.resolve())
        or path.resolve() == top.resolve()
    ):
        raise Permanent(
            "a folder is not where the layout has it: nothing was deleted; look for links in the data folder"
        )
    return path


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folders(top: Path) -> list[Path]:
    return [top / name for name in _names(top) if (top / name).is_dir() and not (top / name).is_symlink()]


def _below(path: Path) -> list[Path]:
    """Everything below a folder, folders before what they hold; links are not followed."""
    return list(_walk(path)) if path.is_dir() and not path.is_symlink() else []


def _walk(folder: Path) -> Iterator[Path]:
    for name in _names(folder):
        yield folder / name
        yield from _below(folder / name)


def _unlink(path: Path, report: CleanupReport) -> None:
    try:
        size, link = path.lstat().st_size, path.is_symlink()
        path.unlink()
    except FileNotFoundError:
        return
    except IsADirectoryError:
        report.left += 1
        return
    if link:
        report.links += 1
    else:
        report.files += 1
        report.bytes += size


def _rmdir(path: Path, report: CleanupReport, *, expected: bool = False) -> bool:
    """Remove an empty folder; whether it is gone. `expected`: that it holds something is nothing to report."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        report.left += 0 if expected else 1
        return False
    report.folders += 1
    return True
