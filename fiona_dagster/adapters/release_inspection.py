"""Checks a release that somebody holds, without its originals: a folder or a zip, with or without a manifest."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.dicom_files import file_digest, quiet_pydicom, read_instance
from fiona_dagster.domain.errors import ConfigurationError, Permanent

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.project import DateMode

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Inspection:
    """`problems` are (file, what is wrong), without values."""

    files: int
    instances: int
    problems: tuple[tuple[str, str], ...]


def inspect_release(path: Path, profile: Profile | None = None) -> Inspection:
    """Look at every file of a release.

    Args:
        path: a folder, or a zip; a zip's manifest may also lie beside it as `<name>.manifest.json`.
        profile: what it was de-identified by; default: as far as its own code sequence tells.

    Raises:
        ConfigurationError: the zip or manifest cannot be understood.
    """
    problems: list[tuple[str, str]] = []
    manifest = _manifest(path)
    named = {str(entry["name"]): entry for entry in manifest.get("files", [])}
    present: set[str] = set()
    instances = 0
    with quiet_pydicom():
        for name, file in _files(path):
            present.add(name)
            entry = named.get(name)
            if entry is not None and file_digest(file) != entry.get("sha256"):
                problems.append((name, "its bytes are not those of the manifest"))
            if _is_dicom(file):
                instances += 1
                problems += [(name, what) for what in _instance_problems(file, profile, entry)]
            elif file.suffix == ".dcm":
                problems.append((name, "not a DICOM file"))
            elif named and entry is None and not _is_ours(name):
                problems.append((name, "not in the manifest"))
            if named and entry is None and _is_dicom(file):
                problems.append((name, "not in the manifest"))
    problems += [(name, "in the manifest, but not there") for name in sorted(named.keys() - present)]
    return Inspection(len(present), instances, tuple(problems))


def _is_ours(name: str) -> bool:
    """Texts that packaging adds and the manifest does not list."""
    return Path(name).name in {"fiona.txt", "warning.txt"}


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _manifest(path: Path) -> dict[str, Any]:
    beside = path.with_name(f"{path.name}.{MANIFEST}")
    if path.is_dir():
        text = (path / MANIFEST).read_bytes() if (path / MANIFEST).exists() else b"{}"
    elif beside.exists():
        text = beside.read_bytes()
    else:
        with _opened(path) as archive:
            text = archive.read(MANIFEST) if MANIFEST in archive.namelist() else b"{}"
    try:
        content = json.loads(text)
        sound = isinstance(content, dict) and all("name" in one for one in content.get("files", []))
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise ConfigurationError(
            "its manifest cannot be read", place=str(path), remedy="ask for the release again"
        )
    return dict(content)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile:
        raise ConfigurationError(
            "is neither a folder nor a sound zip", place=str(path), remedy="fetch it again"
        ) from None


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of the release; those of a zip one after the other in a place of their own."""
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and p != path / MANIFEST):
            yield file.relative_to(path).as_posix(), file
        return
    with _opened(path) as archive, tempfile.TemporaryDirectory() as folder:
        for entry in archive.infolist():
            if entry.is_dir() or entry.filename == MANIFEST:
                continue
            file = Path(folder) / f"entry{Path(entry.filename).suffix}"
            with archive.open(entry) as packed, file.open("wb") as stream:
                shutil.copyfileobj(packed, stream, 1 << 20)
            yield entry.filename, file
            file.unlink()


def _instance_problems(file: Path, profile: Profile | None, entry: dict[str, Any] | None) -> list[str]:
    from fiona_dagster.domain.deid.walk import walk
    from fiona_dagster.domain.verification import profile_problem, uid_problems

    try:
        dataset = read_instance(file).dataset
    except Permanent as error:
        return [str(error)]
    problems = []
    uid = str(dataset.get("SOPInstanceUID", ""))
    if not uid or uid != str(dataset.file_meta.get("MediaStorageSOPInstanceUID", "")):
        problems.append("SOPInstanceUID is missing or not that of the file meta")
    if entry is not None and entry.get("sop_instance_uid") not in {None, "", uid}:
        problems.append("SOPInstanceUID is not that of the manifest")
    if dataset.get("PatientIdentityRemoved") != "YES" or not dataset.get("DeidentificationMethod"):
        problems.append("PatientIdentityRemoved or DeidentificationMethod is missing")
    used, dates = _declared(dataset)
    for part in (dataset, dataset.file_meta):
        for found in walk(part):
            what = profile_problem(found, profile or used, dates)
            problems += [what] if what else []
            if found.vr == "UI":
                problems += [f"{place} is not a valid UID" for place in uid_problems(found)]
    return list(dict.fromkeys(problems))


def _declared(dataset: Any) -> tuple[Profile, DateMode]:
    """Options and handling of dates as the copy's own code sequence states them."""
    from fiona_dagster.domain.deid.method import OPTION_CODES
    from fiona_dagster.domain.deid.profile import Profile

    codes = {
        str(item.get("CodeValue", "")) for item in dataset.get("DeidentificationMethodCodeSequence") or []
    }
    options = frozenset(option for option, (code, _) in OPTION_CODES.items() if code in codes)
    dates: DateMode = "keep" if "113106" in codes else "per_participant" if "113107" in codes else "remove"
    return Profile(options=options), dates
