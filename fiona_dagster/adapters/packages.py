"""Builds packages in the outbox: aside, synced, renamed; the manifest comes last and says that all is there.

Every file is compared with the sum that verification took while it is read, so what is packed is what was checked.
Building again when nothing changed leaves the files alone. Memory does not grow with the study or its objects.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fiona_dagster.adapters.bids import written
from fiona_dagster.adapters.durable import rename_durably, write_durably
from fiona_dagster.adapters.encryption import Seal, container, md5_of
from fiona_dagster.adapters.export_parts import converter, is_derived, proof_entry, study_part
from fiona_dagster.adapters.package_files import (
    current_package,
    manifest_at,
    manifest_file,
    md5_file,
    refuse_another_owner,
)
from fiona_dagster.adapters.package_sources import Source, Verifier, converted_sources, value_of
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
    encrypted_name,
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


def build(
    study: VerifiedStudy,
    export: ExportProfile | ExportType,
    outbox: Path,
    progress: Progress | None = None,
    *,
    proof: Path | None = None,
    context: ExportContext = NO_CONTEXT,
    site: SigningKey | None = None,
    password: str = "",
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
        password: of a package that the project wants encrypted; it is nowhere kept.

    Raises:
        ConfigurationError: the package is to be encrypted, and the password is missing or too weak.
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
        encryption=profile.encryption,
    )
    accession = value_of(study, "AccessionNumber")
    name = package_name(
        study.project, study.participant, study.event, study.study_instance_uid, accession, profile.label
    )
    seal = None
    if profile.encryption:
        seal, name = Seal(profile.encryption, password, name), encrypted_name(name, profile.encryption)
    target = outbox / name
    for place in (target, outbox / DELIVERED_FOLDER / name):
        existing = manifest_at(place)
        refuse_another_owner(existing, head)
        current = current_package(place, existing, head, seal)
        if current is not None:
            return replace(current, destination=profile.destination, export=profile.label)
    try:
        with TemporaryDirectory(dir=outbox, prefix="tmp_") as scratch:
            return replace(
                _built(study, profile, context, Path(scratch), target, head, progress, proof, site, seal),
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
    seal: Seal | None,
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

    def signed(files: tuple[Entry, ...]) -> dict[str, bytes]:
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

    return _publish(target, manifest, sources, progress, texts, signed, seal)


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
    signed: Callable[[tuple[Entry, ...]], dict[str, bytes]],
    seal: Seal | None,
) -> Package:
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        size, md5, files = _write(aside, sources, progress, texts, signed, seal)
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
    signed: Callable[[tuple[Entry, ...]], dict[str, bytes]],
    seal: Seal | None,
) -> tuple[int, str, tuple[Entry, ...]]:
    total, done = sum(s.entry.size_bytes for s in sources), 0
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "w+b", buffering=0 if seal is None else -1) as stream:
        with container(stream, seal) as inside:
            archive, verifier = StoredZip(inside), Verifier()
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
                for name, raw in signed(verifier.entries()).items():
                    archive.add(name, len(raw), zlib.crc32(raw), (raw,))
                md5 = archive.close()
            finally:
                archive.stop()
                verifier.stop()
        stream.flush()
        os.fsync(stream.fileno())
    return aside.stat().st_size, md5 if seal is None else md5_of(aside), verifier.entries()
