"""NIfTI by dcm2niix, one series at a time, so that a series without a result can be named.

Only `.json .nii .bval .bvec` are kept, as in FIONA. dcm2niix strips little of what names an institution, a device
or a person from its sidecars (`-ba y` leaves InstitutionAddress and DeviceSerialNumber), so they are cleaned again.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.domain.deid.text import all_text, first_text
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.layout import safe_name

if TYPE_CHECKING:
    from fiona_dagster.domain.verification import VerifiedStudy

TIMEOUT_SECONDS = 1800.0
"""For one series; thousands of volumes of functional MR take minutes."""
KEPT = (".json", ".nii", ".bval", ".bvec")
_IMAGE_TYPE = 0x00080008
_SAYS_SLICES = ("SIEMENS CSA HEADER", "SIEMENS MR HEADER", "SIEMENS MR SD")
"""Private creators whose elements tell how many slices a mosaic has."""
_NOTHING_TO_CONVERT = 2
"""dcm2niix's exit status for a folder without images that it knows."""
IDENTIFYING = re.compile(
    r"^(Patient(?!Position$).*|Other.*|.*PhysicianName|.*Physicians?$|Operators?Name|Institution.*|Station.*"
    r"|Device.*|AccessionNumber|Study(ID|Date|Time)|.*UID|.*DateTime|.*Date|ImageComments|.*Comments"
    r"|ProcedureStepDescription|RequestedProcedure.*|SeriesTime)$"
)
"""Names in a BIDS sidecar that never leave, whatever the profile let into the copy."""


@dataclass(frozen=True)
class Conversion:
    """Files in the order of their names, and the series without a result with dcm2niix's reason."""

    files: tuple[Path, ...]
    not_converted: tuple[tuple[str, str], ...]


@functools.cache
def version() -> str:
    """Name and version of the converter, which belong to how a package came to be."""
    answer = _run([_program(), "--version"], timeout=30)
    found = re.search(r"v\d[\w.]*", answer.stdout)
    return f"dcm2niix {found.group()}" if found else "dcm2niix"


def convert(study: VerifiedStudy, folder: Path, *, timeout: float = TIMEOUT_SECONDS) -> Conversion:
    """Convert a verified study below `folder`, which the caller removes.

    Args:
        study: its series are converted in the order of their Series Instance UIDs.
        folder: an empty folder on the file system of the package.
        timeout: seconds for one series.

    Raises:
        Permanent: dcm2niix failed and nothing could be converted; the message is its own summary without names.
    """
    series: dict[str, list[Path]] = defaultdict(list)
    for one in study.instances:
        series[one.series_instance_uid].append(study.folder / one.path)
    results = folder / "results"
    results.mkdir()
    unconverted: list[tuple[str, str]] = []
    broken = False
    for number, uid in enumerate(sorted(series), start=1):
        reason, failed = _convert_series(sorted(series[uid]), folder / str(number), results, timeout)
        broken = broken or failed
        if reason:
            unconverted.append((uid, reason))
    files = tuple(sorted(results.iterdir()))
    if broken and not files:
        raise Permanent(f"no series could be converted to NIfTI: {unconverted[0][1]}")
    return Conversion(files, tuple(unconverted))


def sidecar_without_identity(sidecar: dict[str, object]) -> dict[str, object]:
    """A BIDS sidecar without what names a person, an institution, a device or a moment."""
    return {name: value for name, value in sidecar.items() if not IDENTIFYING.match(name)}


def _convert_series(files: list[Path], work: Path, results: Path, timeout: float) -> tuple[str, bool]:
    """Convert one series into `results`; returns why there is no result (or blank), and whether that is a failure."""
    source, made = work / "in", work / "out"
    source.mkdir(parents=True)
    made.mkdir()
    for number, path in enumerate(files):
        (source / f"{number:06d}.dcm").symlink_to(path.absolute())
    if _lost_its_slices(files[0]):
        return "a Siemens mosaic without its private elements: choose the option Retain Safe Private", False
    command = [_program(), "-b", "y", "-ba", "y", "-c", "", "-z", "n", "-w", "2", "-f", "%s_%d"]
    try:
        answer = _run([*command, "-o", str(made), str(source)], timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"dcm2niix did not finish within {timeout:g} s", True
    kept = [path for path in sorted(made.iterdir()) if path.suffix in KEPT]
    if answer.returncode == _NOTHING_TO_CONVERT or (answer.returncode == 0 and not kept):
        return "holds no images that dcm2niix converts", False
    if answer.returncode != 0:
        return f"dcm2niix ended with status {answer.returncode}: {_summary(answer, work)}", True
    mark = _free_mark(results, kept)
    for path in kept:
        if path.suffix == ".json":
            write_json_durably(path, sidecar_without_identity(json.loads(path.read_bytes())))
        path.rename(results / f"{safe_name(path.stem)}{mark}{path.suffix}")
    return "", False


def _lost_its_slices(file: Path) -> bool:
    """Whether a copy is a Siemens mosaic that no longer says of how many slices: dcm2niix would guess, and add empty
    ones without a word.
    """
    dataset = read_instance(file).dataset
    if "MOSAIC" not in all_text(dataset, _IMAGE_TYPE):
        return False
    creators = (tag for tag in dataset.places if (tag >> 16) % 2 and 0x10 <= tag & 0xFFFF <= 0xFF)
    return not any(first_text(dataset, tag).startswith(_SAYS_SLICES) for tag in creators)


def _free_mark(results: Path, made: list[Path]) -> str:
    """Tells a second series of the same number and description apart; all files of a series get the same mark."""
    taken = {path.name for path in results.iterdir()}
    for number in range(1, len(taken) + 2):
        mark = "" if number == 1 else f"-{number}"
        if not any(f"{safe_name(path.stem)}{mark}{path.suffix}" in taken for path in made):
            return mark
    raise Permanent("the converted series cannot be named apart")


def _summary(answer: subprocess.CompletedProcess[str], work: Path) -> str:
    """dcm2niix's last error, without paths and file names."""
    lines = [line for line in (answer.stderr + answer.stdout).splitlines() if line.strip()]
    chosen = next((line for line in lines if line.startswith("Error")), lines[-1] if lines else "no message")
    chosen = chosen.replace(str(work), "")
    return re.sub(r"\S*[/\\]\S*|\S+\.dcm\S*", "…", chosen)[:200]


def _program() -> str:
    import dcm2niix

    return str(dcm2niix.bin)


def _run(command: list[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
    # An environment of its own: dcm2niix reads defaults from HOME, and results may not depend on who runs it.
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        env=environment,
    )
