"""Packages of many studies, written as they are read: neither memory nor disk grows with the project.

One study after the other is verified, converted if need be, packed and forgotten. What has to wait for the end, the
zip's directory and the manifest, waits on disk, some hundred bytes a file. A study that is not as it was verified ends
the package: there is none with a hole in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.bids import written
from fiona_dagster.adapters.durable import rename_durably, write_durably
from fiona_dagster.adapters.encryption import Seal, container, md5_of
from fiona_dagster.adapters.export_parts import converter, is_derived, proof_entry, study_part
from fiona_dagster.adapters.package_files import manifest_file, md5_file
from fiona_dagster.adapters.package_sources import Source, Verifier, converted_sources, pieces
from fiona_dagster.adapters.packages import generators
from fiona_dagster.adapters.stored_zip import StoredZip
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.exports.bids import Participant, dataset_files
from fiona_dagster.domain.exports.changes import ExportContext
from fiona_dagster.domain.exports.formats import Encryption, ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.exports.statement import STATEMENT_FILE, statement_of
from fiona_dagster.domain.packaging import COMMENT_FILE, Entry, Package, encrypted_name, md5_line

if TYPE_CHECKING:
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.domain.exports.collections import Place
    from fiona_dagster.domain.verification import VerifiedStudy

COLLECTION_FORMAT = "fiona-collection/1"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class CollectedStudy:
    """One study as it is due: verified when it is asked for, not before."""

    study: VerifiedStudy
    place: Place
    context: ExportContext
    proof: Path | None


def build_collection(
    studies: Iterable[CollectedStudy],
    profile: ExportProfile,
    project: str,
    name: str,
    outbox: Path,
    *,
    password: str = "",
    encryption: Encryption | None = None,
    site: SigningKey | None = None,
) -> Package:
    """Pack studies of one project, in their order, into one zip or, encrypted, into a zip or 7z that holds it.

    The same studies give the same bytes, but for encryption, which salts them. The manifest lies inside, and beside a
    package that is not encrypted.

    Raises:
        ConfigurationError: the password is too weak.
        Hold: a file is no longer the one that was verified.
        Permanent: a file cannot be read, converted or named.
        Transient: the disk is full.
    """
    seal = Seal(encryption, password, name) if encryption else None
    target = outbox / (encrypted_name(name, encryption) if encryption else name)
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "w+b") as stream:
            with container(stream, seal) as inside:
                writing = _Collection(inside, profile, project, outbox, site)
                try:
                    for one in studies:
                        writing.add(one)
                    plain_md5 = writing.close()
                finally:
                    writing.stop()
            stream.flush()
            os.fsync(stream.fileno())
        size = aside.stat().st_size
        md5 = md5_of(aside) if encryption else plain_md5
        manifest_file(target).unlink(missing_ok=True)
        md5_file(target).unlink(missing_ok=True)
        rename_durably(aside, target)
        write_durably(md5_file(target), md5_line(target.name, md5).encode())
        return Package(target.name, target, size, md5, writing.content_sha256, writing.files, 1)
    except OSError as error:
        aside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Transient("the disk of the export is full: make room and export again") from None
        raise Permanent(f"a file of the export cannot be read or written ({error.strerror})") from None
    except FionaError:
        aside.unlink(missing_ok=True)
        raise


class _Collection:
    """The zip while it is written."""

    def __init__(
        self, stream: Any, profile: ExportProfile, project: str, outbox: Path, site: SigningKey | None
    ) -> None:
        self._site = site
        self._sums: dict[str, str] = {}
        self._proofs: set[str] = set()
        self._methods: set[str] = set()
        self._profile, self._project, self._outbox = profile, project, outbox
        self._archive = StoredZip(stream)
        self._converter = converter(profile)
        self._names: set[str] = set()
        self._participant: str | None = None
        self._participants: dict[str, Participant] = {}
        self._digest = hashlib.sha256()
        self._studies = 0
        self.files = 0
        self._manifest = tempfile.TemporaryFile(dir=outbox)  # noqa: SIM115 — closed by stop
        head = {"format": COLLECTION_FORMAT, "project": project, "export_type": profile.export_type.value,
                "export_digest": profile.digest, "converter": self._converter}  # fmt: skip
        self._manifest.write(f"{json.dumps(head, ensure_ascii=False)[:-1]},\n".encode())
        self._manifest.write(b'"files": [')

    @property
    def content_sha256(self) -> str:
        """SHA-256 over names and sums of all files in their order, as in a package of one study."""
        return self._digest.hexdigest()

    def add(self, one: CollectedStudy) -> None:
        study, profile = one.study, self._profile
        if study.participant != self._participant:
            self._participant, self._names = study.participant, set()
        prefix = f"{one.place.prefix}/" if one.place.prefix else ""
        with tempfile.TemporaryDirectory(dir=self._outbox, prefix="tmp_") as scratch:
            part = study_part(study, profile, one.context, Path(scratch), one.place.session)
            sources = [
                replace(source, entry=replace(source.entry, name=prefix + source.entry.name))
                for source in part.sources
            ]
            self._pack(sources)
        if part.participant is not None:
            self._participants.setdefault(part.participant.subject, part.participant)
        if one.proof is not None:
            entries = proof_entry(study.study_instance_uid, profile, one.proof, alone=False)
            for name, content in entries.items():
                self._text(name, content)
                self._proofs.add(name)
            self._methods.add(study.method_digest)
        self._studies += 1

    def close(self) -> str:
        """Write what stands at the end; returns the MD5 of the zip."""
        if self._profile.export_type is ExportType.BIDS:
            with tempfile.TemporaryDirectory(dir=self._outbox, prefix="tmp_") as scratch:
                made_by = generators(self._converter)
                files = dataset_files(self._project, list(self._participants.values()), made_by)
                self._pack(converted_sources(written(files, Path(scratch))))
        if self._profile.export_type is not ExportType.RAM_MS:
            self._text(COMMENT_FILE, self._comment().encode())
        end = {"studies": self._studies, "content_sha256": self.content_sha256}
        self._manifest.write(f"],\n{json.dumps(end)[1:]}\n".encode())
        size, crc, digest = 0, 0, hashlib.sha256()
        self._manifest.seek(0)
        for piece in pieces(self._manifest):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            digest.update(piece)
        self._manifest.seek(0)
        self._archive.add(MANIFEST_FILE, size, crc, pieces(self._manifest))
        self._sign(digest.hexdigest())
        return self._archive.close()

    def _sign(self, manifest_sha256: str) -> None:
        """The statement: of the manifest, which has the files, and of what it does not list."""
        if self._site is None or not self._proofs or not is_derived(self._profile):
            return
        files = [(name, one) for name, one in self._sums.items() if name not in self._proofs]
        content = statement_of(
            project=self._project, export_type=self._profile.export_type.value,
            export_digest=self._profile.digest, converter=self._converter, methods=sorted(self._methods),
            departures=self._profile.departures,
            files=[*files, (MANIFEST_FILE, manifest_sha256)],
            proofs=[(name, self._sums[name]) for name in self._proofs],
        )  # fmt: skip
        self._text(STATEMENT_FILE, self._site.sign(content))

    def stop(self) -> None:
        self._archive.stop()
        self._manifest.close()

    def _pack(self, sources: list[Source]) -> None:
        verifier = Verifier()
        try:
            for source in sources:
                if source.entry.name in self._names:
                    raise Permanent(
                        "two studies of a participant want one name in the package: put {study} into the template"
                    )
                self._names.add(source.entry.name)
                crc, content = verifier.content(source)
                self._archive.add(source.entry.name, source.entry.size_bytes, crc, content)
            verifier.confirm()
        finally:
            verifier.stop()
        for entry in verifier.entries():
            self._listed(entry)

    def _listed(self, entry: Entry) -> None:
        separator = "\n" if self.files == 0 else ",\n"
        self._manifest.write(f"{separator}{json.dumps(entry.as_json(), ensure_ascii=False)}".encode())
        line = f"{entry.sha256}  {entry.name}"
        self._digest.update((line if self.files == 0 else f"\n{line}").encode())
        self.files += 1

    def _text(self, name: str, content: bytes) -> None:
        self._archive.add(name, len(content), zlib.crc32(content), (content,))
        self._sums[name] = hashlib.sha256(content).hexdigest()

    def _comment(self) -> str:
        rows = [("project", self._project), ("export type", self._profile.export_type.value),
                ("studies", str(self._studies)), ("files", str(self.files))]  # fmt: skip
        if self._converter:
            rows.append(("converted by", self._converter))
        return "".join(f"{name}: {value}\n" for name, value in rows)
