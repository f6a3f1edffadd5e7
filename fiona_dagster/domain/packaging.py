"""What a package is called and what stands in it: FIONA's names, from values of the research copy only.

Packages are named and filled from the copy, so that file names in the outbox never carry patient data (law 8).
Packaging takes a `VerifiedStudy` and nothing else: publishing before checking is a type error.
Nothing here depends on the clock: the same copy gives the same bytes (law 6). Formats: fiona-behaviour 5.2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.domain.exports.formats import Encryption, ExportType
from fiona_dagster.domain.layout import safe_name

if TYPE_CHECKING:
    from fiona_dagster.domain.verification import VerifiedStudy

MANIFEST_FORMAT = "fiona-package/1"
COMMENT_FILE = "fiona.txt"
WARNING_FILE = "warning.txt"
PROOF_FILE = "proof.json"
PACKAGE_SUFFIXES = (".zip", ".7z")
NAME_LIMIT = 220
"""Bytes: `_encrypted`, `.manifest.json` and the ends of temporary names must still fit into the 255 of a file name."""
_PART_LIMIT = 120
"""Characters that `safe_name` keeps of a part."""
_NOT_PURE = re.compile(r"[^a-zA-Z0-9_^åÅøØæÆ]")


@dataclass(frozen=True)
class CopyHeader:
    """What folders of an export are named after, as it stands in the copy; blank where the copy has nothing."""

    institution_name: str = ""
    patient_id: str = ""
    study_date: str = ""
    study_time: str = ""
    series_number: str = ""
    series_description: str = ""
    modality: str = ""
    accession_number: str = ""


@dataclass(frozen=True)
class Entry:
    """One file of a package. `size_bytes` and `sha256` are of the file; blank UID: not one SOP Instance's file.

    `source_sha256` is that of the verified copy, where the export changed attributes of it.
    """

    name: str
    sha256: str
    size_bytes: int
    sop_instance_uid: str = ""
    source_sha256: str = ""

    def as_json(self) -> dict[str, str | int]:
        """The entry in a manifest."""
        more = {"source_sha256": self.source_sha256} if self.source_sha256 else {}
        return {
            "name": self.name,
            "sha256": self.sha256,
            "size": self.size_bytes,
            "sop_instance_uid": self.sop_instance_uid,
            **more,
        }


@dataclass(frozen=True)
class Package:
    """A finished zip in the outbox.

    `md5` is of the zip, for whoever receives it; `content_sha256` is the manifest's (a second sum over the same
    bytes would cost a fifth of the speed and say nothing more). `entries` counts the study's files, not `fiona.txt`.
    `destination` is the only one that gets it; blank: all. `export`: the label of the project's export that it is of.
    """

    name: str
    path: Path
    size_bytes: int
    md5: str
    content_sha256: str
    entries: int
    revision: int
    destination: str = ""
    export: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a package holds and how it came to be, without a time and without anything of the original.

    `sources` is the digest of the verified instances that it was made from: it tells whether a package is current.
    `not_converted` holds, for NIFTI, the copy's Series Instance UIDs without a result, with the reason.
    `left_out` counts instances that the format does not take, by reason. `export_digest` stands for the project's
    choices (see `domain.exports.profiles`), `context_digest` for demographics, keyed. `statement`: the format of the
    signed statement inside, see `domain.exports.statement`. `encryption`: of the container that the package lies in.
    """

    project: str
    participant: str
    event: str
    study_instance_uid: str
    export_type: str
    profile: str
    method_digest: str
    revision: int
    sources: str
    files: tuple[Entry, ...] = ()
    not_converted: tuple[tuple[str, str], ...] = ()
    converter: str = ""
    left_out: tuple[tuple[str, int], ...] = ()
    export_digest: str = ""
    context_digest: str = ""
    statement: str = ""
    encryption: str = ""

    @property
    def content_sha256(self) -> str:
        """SHA-256 over names and sums of all files: it stands for every byte of the study in the package."""
        lines = (f"{f.sha256}  {f.name}" for f in self.files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def as_json(self, package: Package) -> bytes:
        """The manifest's file: indented JSON with sorted keys and the package's own sums."""
        body = asdict(self) | {
            "format": MANIFEST_FORMAT,
            "files": [f.as_json() for f in self.files],
            "left_out": dict(self.left_out),
            "not_converted": dict(self.not_converted),
            "package": {
                "name": package.name,
                "size": package.size_bytes,
                "md5": package.md5,
                "content_sha256": package.content_sha256,
            },
        }
        return manifest_as_json(body)


def manifest_as_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it stands in its file."""
    return (json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def manifest_head(study: VerifiedStudy, export_type: ExportType, *, converter: str = "") -> Manifest:
    """The manifest of a study before its files are listed."""
    return Manifest(
        project=study.project,
        participant=study.participant,
        event=study.event,
        study_instance_uid=study.study_instance_uid,
        export_type=export_type.value,
        profile=study.profile_name,
        method_digest=study.method_digest,
        revision=study.revision,
        sources=sources_digest(study),
        converter=converter,
    )


def sources_digest(study: VerifiedStudy) -> str:
    """SHA-256 over all verified instances, in an order of their own: equal digests mean an equal package."""
    lines = sorted(f"{i.sop_instance_uid} {i.sha256} {i.path}" for i in study.instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def package_name(
    project: str,
    participant: str,
    event: str,
    study_instance_uid: str,
    accession: str,
    export_type: str,
) -> str:
    """FIONA's `<project>_<patientid>_<event>_<studyUID>_<accession>_<exportType>.zip`.

    All values are those of the research copy; an empty one leaves its place empty, as in FIONA. A name that would
    not fit into a file system has its participant and event cut, and a digest of both tells it from others.
    """
    values = (project, participant, event, study_instance_uid, accession)
    names = [_part(value) for value in values]
    whole = "_".join((*names, str(export_type))) + ".zip"
    if len(whole.encode()) <= NAME_LIMIT and max(map(len, values)) <= _PART_LIMIT:
        return whole
    digest = hashlib.sha256(f"{participant}\x1f{event}".encode()).hexdigest()[:12]
    names[0], names[1], names[2], names[4] = (
        names[0][:20],
        names[1][:24],
        f"{names[2][:16]}-{digest}",
        names[4][:16],
    )
    return "_".join((*names, str(export_type))) + ".zip"


def encrypted_name(name: str, encryption: Encryption) -> str:
    """`<name>_encrypted.7z`, as FIONA has it, or `<name>_encrypted.zip`."""
    return f"{stem_of(name)}_encrypted.{encryption}"


def forms_of(name: str) -> frozenset[str]:
    """Every name that a package may have had, encrypted or not, of one that is called `name`."""
    stem = stem_of(name).removesuffix("_encrypted")
    return frozenset({f"{stem}.zip", f"{stem}_encrypted.zip", f"{stem}_encrypted.7z"})


def stem_of(name: str) -> str:
    """A package's name without its ending."""
    return next((name.removesuffix(one) for one in PACKAGE_SUFFIXES if name.endswith(one)), name)


def told_beside(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a manifest may lie beside its package: of an encrypted one nothing about its files, which are hidden."""
    if not manifest.get("encryption"):
        return manifest
    return {name: one for name, one in manifest.items() if name not in ("files", "not_converted", "left_out")}


def entry_name(
    export_type: ExportType,
    event: str,
    file_name: str,
    header: CopyHeader = CopyHeader(),
    *,
    series_uid: str = "",
) -> str:
    """Where a file lies inside the zip.

    native: `<event>/DICOM/<file>`, NIFTI: `<event>/NIFTI/<file>`, without the event's folder where there is none;
    PURE: `Institution/PatientID/StudyDate_StudyTime[_event]/NNNN_SeriesDescription/<file>.dcm`.
    `series_uid` tells two series of one number and description apart; give it where they meet.
    """
    file = safe_name(file_name)
    folder = "NIFTI" if export_type is ExportType.NIFTI else "DICOM"
    if export_type is not ExportType.PURE:
        return "/".join((*((safe_name(event),) if event.strip() else ()), folder, file))
    when = "_".join(
        (
            pure_part(header.study_date),
            pure_part(header.study_time),
            *((pure_part(event),) if event.strip() else ()),
        )
    )
    series = f"{padded_series_number(header.series_number)}_{pure_part(header.series_description)}"
    if series_uid:
        series += f"-{hashlib.sha256(series_uid.encode()).hexdigest()[:8]}"
    file = file if file.endswith(".dcm") else f"{file}.dcm"
    return "/".join((pure_part(header.institution_name), pure_part(header.patient_id), when, series, file))


def comment_text(manifest: Manifest) -> str:
    """`fiona.txt`: what the package is, for the person who opens it; no date of ours, so that it stays the same."""
    rows = [
        ("project", manifest.project),
        ("participant", manifest.participant),
        ("event", manifest.event),
        ("study", manifest.study_instance_uid),
        ("export type", manifest.export_type),
        ("files", str(len(manifest.files))),
        ("de-identification profile", manifest.profile),
        ("method digest", manifest.method_digest),
    ]
    if manifest.converter:
        rows.append(("converted by", manifest.converter))
    rows += [("not converted", f"{series}: {reason}") for series, reason in manifest.not_converted]
    rows += [("left out", f"{count} ({reason})") for reason, count in manifest.left_out]
    return "".join(f"{name}: {value}\n" for name, value in rows)


def warning_text(manifest: Manifest) -> str:
    """`warning.txt`: why a package holds no file of the study."""
    if manifest.export_type in {ExportType.NIFTI, ExportType.BIDS}:
        return "This package is empty: no series of the study could be converted to NIfTI.\n"
    if manifest.left_out:
        return "This package is empty: the study has nothing that the format takes.\n"
    return "This package is empty: no file of the study was released.\n"


def md5_line(package_file: str, md5: str) -> str:
    """One line as `md5sum` writes and checks it."""
    return f"{md5}  {package_file}\n"


def _part(value: str) -> str:
    return safe_name(value, fallback="") if value.strip() else ""


def pure_part(value: str) -> str:
    """FIONA's sanitising of the PURE tree: anything else becomes `-`; what is missing is `unknown`."""
    return _NOT_PURE.sub("-", value.strip())[:64] or "unknown"


def padded_series_number(value: str) -> str:
    """Four digits, or `unknown` where the number is missing or -1 (fiona-behaviour 5.2)."""
    return f"{int(value):04d}" if value.strip().isdigit() else "unknown"
