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

from fiona_dagster.adapters.bids import written
from fiona_dagster.adapters.durable import rename_durably, write_durably
from fiona_dagster.adapters.export_parts import converter, is_derived, proof_entry, study_part
from fiona_dagster.adapters.package_sources import (
    Source,
    Verifier,
    converted_sources,
    pieces,
    value_of,
)
from fiona_dagster.adapters.proofs import versions
from fiona_dagster.adapters.stored_zip import StoredZip
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.exports.bids import dataset_files
from fiona_dagster.domain.exports.changes import NO_CONTEXT, ExportContext
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.exports.statement import STATEMENT_FILE, STATEMENT_FORMAT, statement_of
from fiona_dagster.domain.layout import DELIVERED_FOLDER
from fiona_dagster.domain.packaging import (
    COMMENT_FILE,
    WARNING_FILE,
    Entry,
    Manifest,
    Package,
    comment_text,
    manifest_head,
    md5_line,
    package_name,
    warning_text,
)

if TYPE_CHECKING:
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.domain.verification import VerifiedStudy

Progress = Callable[[int, int], None]
"""Called with the bytes packed so far and their total."""


def md5_file(package: Path) -> Path:
    """Where a package's MD5 stands, in the form of `md5sum`."""
    return package.with_name(f"{package.name}.md5")


def manifest_file(package: Path) -> Path:
    """Where a package's manifest stands."""
    return package.with_name(f"{package.name}.manifest.json")


def local_manifest(package: Package) -> bytes:
    """The manifest beside a package in the outbox.

    Raises:
        Permanent: it is not there.
    """
    try:
        return manifest_file(package.path).read_bytes()
    except OSError as error:
        raise Permanent(f"the manifest is not in the outbox ({error.strerror}): build it again") from None


def build(
    study: VerifiedStudy,
    export: ExportProfile | ExportType,
    outbox: Path,
    progress: Progress | None = None,
    *,
    proof: Path | None = None,
    context: ExportContext = NO_CONTEXT,
    site: SigningKey | None = None,
) -> Package:
    """Build the package of a verified study, or return the one that is already there.

    Args:
        study: verified.
        export: what the project wants, or a format as it comes.
        outbox: where it is built.
        progress: told as the bytes go.
        proof: of the release; it goes with its files.
        context: what the format needs besides the copies.
        site: signs which files a package of changed or converted copies has, and which proof they come from.

    Raises:
        Hold: a file is no longer the one that was verified.
        Permanent: a file is gone or cannot be read as DICOM, the conversion failed, a value does not fit, or the outbox
            holds another participant's or event's package under this name.
        Transient: the disk of the outbox is full.
    """
    profile = ExportProfile(export) if isinstance(export, ExportType) else export
    head = replace(
        manifest_head(study, profile.export_type, converter=converter(profile)),
        export_digest=profile.digest,
        context_digest=context.digest if profile.wants_demographics else "",
        statement=STATEMENT_FORMAT if site is not None and proof is not None and is_derived(profile) else "",
    )
    accession = value_of(study, "AccessionNumber")
    name = package_name(
        study.project, study.participant, study.event, study.study_instance_uid, accession, profile.label
    )
    target = outbox / name
    for place in (target, outbox / DELIVERED_FOLDER / name):
        existing = _existing_manifest(place)
        _refuse_another_owner(existing, head)
        current = _current(place, existing, head)
        if current is not None:
            return replace(current, destination=profile.destination, export=profile.label)
    try:
        with TemporaryDirectory(dir=outbox, prefix="tmp_") as scratch:
            return replace(
                _built(study, profile, context, Path(scratch), target, head, progress, proof, site),
                destination=profile.destination,
                export=profile.label,
            )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Transient("the disk of the outbox is full: make room, the package is built again") from None
        raise Permanent(f"a file of the package cannot be read or written ({error.strerror})") from None


def _built(
    study: VerifiedStudy,
    profile: ExportProfile,
    context: ExportContext,
    scratch: Path,
    target: Path,
    head: Manifest,
    progress: Progress | None,
    proof: Path | None,
    site: SigningKey | None,
) -> Package:
    part = study_part(study, profile, context, scratch)
    sources = list(part.sources)
    if part.participant is not None:
        files = dataset_files(study.project, [part.participant], generators(head.converter))
        sources += converted_sources(written(files, scratch))
    manifest = replace(
        head,
        files=tuple(s.entry for s in sources),
        not_converted=part.not_converted,
        left_out=part.left_out,
    )
    more = proof_entry(study.study_instance_uid, profile, proof, alone=True) if proof is not None else {}
    # a RAM-MS package has no text of ours, as in FIONA: its receiver takes folders of patients only
    texts = (
        {} if profile.export_type is ExportType.RAM_MS else {COMMENT_FILE: comment_text(manifest).encode()}
    )
    texts |= more
    if not part.sources:
        texts[WARNING_FILE] = warning_text(manifest).encode()

    def sealed(files: tuple[Entry, ...]) -> dict[str, bytes]:
        if site is None or not head.statement:
            return {}
        sums = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
        content = statement_of(
            project=head.project, export_type=head.export_type, export_digest=head.export_digest,
            converter=head.converter, methods=[head.method_digest],
            departures=profile.departures,
            files=[(one.name, one.sha256) for one in files] + [(n, s) for n, s in sums.items() if n not in more],
            proofs=[(name, sums[name]) for name in more],
            more={"participant": head.participant, "event": head.event,
                  "study_instance_uid": head.study_instance_uid},
        )  # fmt: skip
        return {STATEMENT_FILE: site.sign(content)}

    return _publish(target, manifest, sources, progress, texts, sealed)


def generators(converted_by: str) -> list[tuple[str, str]]:
    """Name and version of what makes a dataset, ours first."""
    name, _, number = converted_by.partition(" ")
    return [("fiona-dagster", versions()["fiona-dagster"]), (name, number)]


def _publish(
    target: Path,
    manifest: Manifest,
    sources: list[Source],
    progress: Progress | None,
    texts: dict[str, bytes],
    sealed: Callable[[tuple[Entry, ...]], dict[str, bytes]],
) -> Package:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        size, md5, files = _write(aside, sources, progress, texts, sealed)
        manifest = replace(manifest, files=files)
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
    sources: list[Source],
    progress: Progress | None,
    texts: dict[str, bytes],
    sealed: Callable[[tuple[Entry, ...]], dict[str, bytes]],
) -> tuple[int, str, tuple[Entry, ...]]:
    total, done = sum(s.entry.size_bytes for s in sources), 0
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
            verifier.confirm()
            for name, raw in sealed(verifier.entries()).items():
                archive.add(name, len(raw), zlib.crc32(raw), (raw,))
            md5 = archive.close()
        finally:
            archive.stop()
            verifier.stop()
        os.fsync(stream.fileno())
    return archive.size_bytes, md5, verifier.entries()


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
    wanted = ("sources", "profile", "method_digest", "study_instance_uid", "export_type", "converter",
              "export_digest", "context_digest", "statement")  # fmt: skip
    # manifests of earlier versions lack what was blank
    if not existing or any(existing.get(name, "") != getattr(head, name) for name in wanted):
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
    files = tuple(
        Entry(f["name"], f["sha256"], f["size"], f["sop_instance_uid"], f.get("source_sha256", ""))
        for f in existing["files"]
    )
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
        omitted = tuple(sorted((existing.get("left_out") or {}).items()))
        manifest = replace(head, files=files, not_converted=unconverted, left_out=omitted)
        write_durably(manifest_file(target), manifest.as_json(package))
    return package
