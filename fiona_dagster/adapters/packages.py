"""Builds packages in the outbox: aside, synced, renamed; the manifest comes last and says that all is there.

Every file is compared with the sum that verification took while it is read, so what is packed is what was checked.
Building again when nothing changed leaves the files alone. Memory does not grow with the study or its objects.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters import nifti
from fiona_dagster.adapters.durable import rename_durably, write_durably
from fiona_dagster.adapters.package_sources import (
    Source,
    Verifier,
    dicom_sources,
    nifti_sources,
    pieces,
    value_of,
)
from fiona_dagster.adapters.stored_zip import StoredZip
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.packaging import (
    COMMENT_FILE,
    PROOF_FILE,
    WARNING_FILE,
    Entry,
    ExportType,
    Manifest,
    Package,
    comment_text,
    manifest_head,
    md5_line,
    package_name,
    warning_text,
)

if TYPE_CHECKING:
    from fiona_dagster.domain.verification import VerifiedStudy

Progress = Callable[[int, int], None]
"""Called with the bytes packed so far and their total."""


def md5_file(package: Path) -> Path:
    """Where a package's MD5 stands, in the form of `md5sum`."""
    return package.with_name(f"{package.name}.md5")


def manifest_file(package: Path) -> Path:
    """Where a package's manifest stands."""
    return package.with_name(f"{package.name}.manifest.json")


def build(
    study: VerifiedStudy,
    export_type: ExportType,
    outbox: Path,
    progress: Progress | None = None,
    *,
    proof: Path | None = None,
) -> Package:
    """Build the package of a verified study, or return the one that is already there.

    `proof` of the release goes with its DICOM files; it says nothing of files converted to NIfTI.

    Raises:
        Hold: a file is no longer the one that was verified.
        Permanent: a file is gone or cannot be read as DICOM, the conversion failed, or the outbox holds another
            participant's or event's package under this name.
        Transient: the disk of the outbox is full.
    """
    nifti_wanted = export_type is ExportType.NIFTI
    head = manifest_head(study, export_type, converter=nifti.version() if nifti_wanted else "")
    accession = value_of(study, "AccessionNumber")
    name = package_name(
        study.project, study.participant, study.event, study.study_instance_uid, accession, export_type
    )
    target = outbox / name
    existing = _existing_manifest(target)
    _refuse_another_owner(existing, head)
    current = _current(target, existing, head)
    if current is not None:
        return current
    try:
        if not nifti_wanted:
            sources = dicom_sources(study, export_type)
            manifest = replace(head, files=tuple(s.entry for s in sources))
            more = {PROOF_FILE: proof.read_bytes()} if proof is not None else {}
            return _publish(target, manifest, sources, progress, more)
        with TemporaryDirectory(dir=outbox, prefix="tmp_") as scratch:
            conversion = nifti.convert(study, Path(scratch))
            sources = nifti_sources(study.event, conversion.files)
            manifest = replace(
                head, files=tuple(s.entry for s in sources), not_converted=conversion.not_converted
            )
            return _publish(target, manifest, sources, progress, {})
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Transient("the disk of the outbox is full: make room, the package is built again") from None
        raise Permanent(f"a file of the package cannot be read or written ({error.strerror})") from None


def _publish(
    target: Path,
    manifest: Manifest,
    sources: list[Source],
    progress: Progress | None,
    more: dict[str, bytes],
) -> Package:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        size, md5 = _write(aside, manifest, sources, progress, more)
        package = Package(
            target.name, target, size, md5, manifest.content_sha256, len(sources), manifest.revision
        )
        # An old manifest or MD5 beside a new zip would be a lie, if only for a moment.
        manifest_file(target).unlink(missing_ok=True)
        md5_file(target).unlink(missing_ok=True)
        rename_durably(aside, target)
    except (OSError, FionaError):
        aside.unlink(missing_ok=True)
        raise
    write_durably(md5_file(target), md5_line(target.name, md5).encode())
    write_durably(manifest_file(target), manifest.as_json(package))
    return package


def _write(
    aside: Path,
    manifest: Manifest,
    sources: list[Source],
    progress: Progress | None,
    more: dict[str, bytes],
) -> tuple[int, str]:
    total, done = sum(s.entry.size_bytes for s in sources), 0
    texts = {COMMENT_FILE: comment_text(manifest).encode(), **more} | (
        {} if sources else {WARNING_FILE: warning_text(manifest).encode()}
    )
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        archive, verifier = StoredZip(stream), Verifier()
        try:
            for name, raw in texts.items():
                archive.add(name, len(raw), zlib.crc32(raw), (raw,))
            for source in sources:
                crc, content = verifier.content(source)
                archive.add(source.entry.name, source.entry.size_bytes, crc, content)
                done += source.entry.size_bytes
                if progress:
                    progress(done, total)
            md5 = archive.close()
            verifier.confirm()
        finally:
            archive.stop()
            verifier.stop()
        os.fsync(stream.fileno())
    return archive.size_bytes, md5


def _existing_manifest(target: Path) -> dict[str, Any]:
    """The manifest beside `target`; empty where there is none or it is no manifest: then it is written anew."""
    with suppress(OSError, ValueError):
        found = json.loads(manifest_file(target).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _refuse_another_owner(existing: dict[str, Any], head: Manifest) -> None:
    """Names are cleaned, so two participants or events could share one; neither may replace the other's package."""
    for field in ("project", "participant", "event"):
        if existing.get(field, getattr(head, field)) != getattr(head, field):
            raise Permanent(
                f"the outbox holds a package of the same name with another {field}: rename one of them"
            )


def _current(target: Path, existing: dict[str, Any], head: Manifest) -> Package | None:
    """The package in the outbox, if it was made from these files by this method and its bytes are still right.

    A newer revision of unchanged files gets a manifest that says so; the zip stays.
    """
    wanted = ("sources", "profile", "method_digest", "study_instance_uid", "export_type", "converter")
    if not existing or any(existing.get(name) != getattr(head, name) for name in wanted):
        return None
    recorded = existing.get("package") or {}
    digest = hashlib.md5(usedforsecurity=False)
    try:
        size = target.stat().st_size
        with target.open("rb", buffering=0) as stream:
            for piece in pieces(stream):
                digest.update(piece)
    except OSError:
        return None
    if size != recorded.get("size") or digest.hexdigest() != recorded.get("md5"):
        return None
    files = tuple(Entry(f["name"], f["sha256"], f["size"], f["sop_instance_uid"]) for f in existing["files"])
    package = Package(
        target.name,
        target,
        size,
        str(recorded["md5"]),
        str(recorded["content_sha256"]),
        len(files),
        head.revision,
    )
    line = md5_line(target.name, package.md5).encode()
    if not md5_file(target).exists() or md5_file(target).read_bytes() != line:
        write_durably(md5_file(target), line)
    if existing.get("revision") != head.revision:
        unconverted = tuple(sorted(existing["not_converted"].items()))
        write_durably(
            manifest_file(target), replace(head, files=files, not_converted=unconverted).as_json(package)
        )
    return package
