"""Proofs on disk: made and signed when a release was verified, found again beside or inside of what somebody holds.

A proof that says the same as the one on disk, at another time, is not written again: what was proven stays proven, and
packages keep their bytes.
"""

from __future__ import annotations

import base64
import platform
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.signing import Signed, signed_by
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.packaging import PROOF_FILE as NAME
from fiona_dagster.domain.project_keys import fingerprint, key_id
from fiona_dagster.domain.signed import parsed

if TYPE_CHECKING:
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.deid.proof import Conformance, OriginalUids
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.verification import VerifiedStudy


@dataclass(frozen=True)
class Proof:
    """A proof as it was read. `signed` is "unknown" for a sound signature while nobody said whose it should be."""

    place: str
    content: Mapping[str, Any]
    signed: Signed
    key_id: str


def prove_release(
    target: Path,
    study: VerifiedStudy,
    sources: Sequence[SourceInstance],
    project: Project,
    profile: Profile,
    key: bytes,
    site: SigningKey,
    now: float,
) -> None:
    """Write the proof of a verified release, by the project's `key`, signed by `site`; the target's folder is made.

    Raises:
        ConfigurationError: the signing key cannot be used.
        Permanent: an original cannot be read any more.
        Transient: the disk refuses: try again.
    """
    from fiona_dagster.domain.deid.proof import build_proof

    content = build_proof(
        study,
        project,
        profile,
        key=key,
        key_id=key_id(fingerprint(key)),
        versions=versions(),
        conformance=conformance_of(study, sources),
        series=_series_of(study, sources),
        made_at=datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    write_proof(target, content, site)


def write_proof(path: Path, content: dict[str, Any], site: SigningKey) -> None:
    """Sign `content` and write it, unless a proof by the same key that says the same is there. Raises as above."""
    if _says(path, content, site.public_key()):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        write_durably(path, site.sign(content))
    except OSError as error:
        raise Transient(
            f"a proof cannot be written ({error.strerror}): free the disk and try again"
        ) from error


def same_proof(one: Path, other: Path) -> bool:
    """Whether two proofs are by the same key and say the same, apart from the time."""
    try:
        content, signature = parsed(one.read_bytes())
        return _says(other, content, base64.b64decode(signature["public_key"]))
    except (OSError, ValueError, KeyError):
        return False


def _says(path: Path, content: dict[str, Any], public_key: bytes) -> bool:
    try:
        there, signature = parsed(path.read_bytes())
    except (OSError, ValueError):
        return False
    same = {**there, "made_at": ""} == {**content, "made_at": ""}
    return same and signed_by(there, signature, public_key) == "known"


def conformance_of(study: VerifiedStudy, sources: Sequence[SourceInstance]) -> Conformance:
    """Compare one copy a series and SOP Class with its original."""
    from fiona_dagster.adapters.conformance import summary

    chosen: dict[tuple[str, str], tuple[Path, Path]] = {}
    for original, copy in _pairs(study, sources):
        chosen.setdefault(
            (copy.series_instance_uid, copy.sop_class_uid), (original, study.folder / copy.path)
        )
    return summary(list(chosen.values()), len(study.instances))


def _series_of(study: VerifiedStudy, sources: Sequence[SourceInstance]) -> dict[str, OriginalUids]:
    """UIDs of the originals by the new Series Instance UID."""
    from fiona_dagster.adapters.dicom_files import quiet_pydicom, read_instance
    from fiona_dagster.domain.deid.admission import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID
    from fiona_dagster.domain.deid.proof import OriginalUids
    from fiona_dagster.domain.deid.text import first_text

    found: dict[str, OriginalUids] = {}
    with quiet_pydicom():
        for original, copy in _pairs(study, sources):
            if copy.series_instance_uid not in found:
                dataset = read_instance(original).dataset
                found[copy.series_instance_uid] = OriginalUids(
                    first_text(dataset, STUDY_INSTANCE_UID), first_text(dataset, SERIES_INSTANCE_UID)
                )
    return found


def _pairs(
    study: VerifiedStudy, sources: Sequence[SourceInstance]
) -> Iterator[tuple[Path, DeidentifiedInstance]]:
    """Every copy behind the file of its original, in the order of the copies' paths."""
    paths: dict[tuple[int | None, str], Path] = {}
    for source in sources:  # of the same file twice the first one is released
        paths.setdefault((source.identity, source.sop_instance_uid), source.path)
    for one in sorted(study.instances, key=lambda one: one.path):
        yield paths[one.identity, one.source_sop_instance_uid], one


@cache
def versions() -> dict[str, str]:
    """What decides about the content of copies besides the profile."""
    from fiona_dagster.domain.deid.provenance import engine_digest

    try:
        ours = version("fiona-dagster")
    except PackageNotFoundError:
        ours = "not installed"
    return {
        "fiona-dagster": ours,
        "python": platform.python_version(),
        "pydicom": version("pydicom"),
        "engine_sha256": engine_digest(),
    }


def read_proof(path: Path, public_key: bytes | None = None) -> Proof:
    """Read a proof and look at its signature.

    Args:
        path: its file.
        public_key: whose signature it should be.

    Raises:
        ConfigurationError: it is no proof.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the proof cannot be read ({error.strerror})", place=str(path), remedy="check the path"
        ) from error
    return _proof(content, str(path), public_key)


def proofs_folder(release: Path) -> Path:
    """Where the proofs of a folder lie into which several studies may be released."""
    return release.with_name(f"{release.name}.proofs")


def withdraw_proofs(release: Path, written: Mapping[str, str]) -> int:
    """Delete proofs of a folder that no longer hold, and count them: a file is gone, or has other bytes.

    Args:
        release: the folder of copies.
        written: SHA-256 of the files that were written now, by their path in the folder.
    """
    withdrawn = 0
    for path in sorted(proofs_folder(release).glob("*.json")):
        try:
            content, _ = parsed(path.read_bytes())
            holds = all(
                written.get(one["path"], one["sha256"]) == one["sha256"] and (release / one["path"]).exists()
                for one in content["instances"]
            )
        except (ValueError, KeyError, TypeError):
            holds = False
        if not holds:
            path.unlink()
            withdrawn += 1
    return withdrawn


def find_proofs(release: Path, public_key: bytes | None = None) -> list[Proof]:
    """The proofs inside (`proof.json`, `proofs/<uid>.proof.json`) or beside (`<name>.proof.json`, `<name>.proofs/`) of
    a folder or zip.

    Raises:
        ConfigurationError: one is no proof.
    """
    beside = release.with_name(f"{release.name}.{NAME}")
    files = [
        *([release / NAME] if release.is_dir() else []),
        beside,
        *sorted(proofs_folder(release).glob("*.json")),
    ]
    inside = [] if release.is_dir() else [_proof(text, NAME, public_key) for text in _inside(release)]
    return inside + [read_proof(file, public_key) for file in files if file.exists()]


def check_proof(path: Path, release: Path, public_key: bytes | None = None) -> list[str]:
    """What is wrong with a release by its proof: signature, the proof itself, files, elements. Empty: nothing.

    A sound signature of a key that nobody named is no problem here; `read_proof(...).signed` tells.
    """
    from fiona_dagster.adapters.release_inspection import inspect_release

    found = inspect_release(release, proofs=[read_proof(path, public_key)])
    return [f"{file}: {what}" for file, what in found.problems]


def proof_problems(proofs: Iterable[Proof]) -> list[tuple[str, str]]:
    """(place, what is wrong) with proofs in themselves."""
    from fiona_dagster.domain.deid.proof import content_problems, profile_of

    problems = []
    for proof in proofs:
        found = content_problems(proof.content)
        if proof.signed == "wrong":
            found.append("the signature is not right: the proof was changed, or signed by another key")
        if not found:
            try:
                profile_of(proof.content)
            except ConfigurationError as error:
                found.append(str(error))
        problems += [(proof.place, what) for what in found]
    return problems


def _proof(text: bytes, place: str, public_key: bytes | None) -> Proof:
    try:
        content, signature = parsed(text)
    except ValueError:
        raise ConfigurationError("is not a proof", place=place, remedy="ask for the proof again") from None
    signed = signed_by(content, signature, public_key)
    return Proof(place, content, signed, signature.get("key_id", "") if signed != "wrong" else "")


def is_proof(name: str) -> bool:
    """Whether an entry of a package is a proof of files in it: `proof.json`, or one for each study."""
    return name == NAME or (name.startswith("proofs/") and name.endswith(f".{NAME}"))


def _inside(release: Path) -> list[bytes]:
    try:
        with zipfile.ZipFile(release) as archive:
            return [archive.read(name) for name in sorted(archive.namelist()) if is_proof(name)]
    except (OSError, zipfile.BadZipFile):
        return []  # said by whoever reads the release itself
