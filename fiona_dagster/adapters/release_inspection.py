"""Checks a release that somebody holds, without originals and keys: a folder or zip, with manifest, proofs or none."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters import proofs as proof_files
from fiona_dagster.adapters.dicom_files import file_digest, quiet_pydicom, read_instance
from fiona_dagster.domain.errors import ConfigurationError, Permanent
from fiona_dagster.domain.packaging import PROOF_FILE

if TYPE_CHECKING:
    from fiona_dagster.adapters.dicom_files import InstanceFile
    from fiona_dagster.adapters.proofs import Proof
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.project import DateMode

MANIFEST = "manifest.json"
_7Z_BEGINS = b"7z\xbc\xaf\x27\x1c"
_OURS = frozenset({"fiona.txt", "warning.txt"})
"""Texts that packaging adds and neither manifest nor proof lists."""
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00080016, 0x00080018, 0x00020003
_PATIENT_ID, _CLINICAL_TRIAL_PROTOCOL_ID = 0x00100020, 0x00120020
_PATIENT_IDENTITY_REMOVED, _DEIDENTIFICATION_METHOD = 0x00120062, 0x00120063
_DEIDENTIFICATION_CODES = (0x00120064, 0x00080100)


@dataclass(frozen=True)
class Inspection:
    """`problems` are (file, what is wrong), without values."""

    files: int
    instances: int
    problems: tuple[tuple[str, str], ...]
    summed: int = 0
    """Files whose sums a manifest names."""


def inspect_release(path: Path, profile: Profile | None = None, proofs: Sequence[Proof] = ()) -> Inspection:
    """Look at every file of a release.

    Args:
        path: a folder, or a zip; a zip's manifest may also lie beside it as `<name>.manifest.json`.
        profile: what it was de-identified by; default: as its proofs say, else as far as its own code sequence tells.
        proofs: of all that is in it; empty: there is none to compare with.

    Raises:
        ConfigurationError: the zip or manifest cannot be understood.
    """
    manifest = _manifest(path)
    named = {str(entry["name"]): entry for entry in manifest.get("files", [])}
    problems = proof_files.proof_problems(proofs)
    against = _Proven.by(proofs)
    present: set[str] = set()
    instances = 0
    with quiet_pydicom():
        for name, file in _files(path):
            present.add(name)
            entry, digest = named.get(name), file_digest(file)
            is_dicom = _is_dicom(file)
            if entry is not None and digest != entry.get("sha256"):
                problems.append((name, "its bytes are not those of the manifest"))
            if is_dicom:
                instances += 1
                problems += [
                    (name, what) for what in _instance_problems(file, digest, profile, entry, against)
                ]
            elif file.suffix == ".dcm":
                problems.append((name, "not a DICOM file"))
            if Path(name).name in _OURS and not is_dicom:
                continue
            if named and entry is None:
                problems.append((name, "not in the manifest"))
            if proofs and not is_dicom:
                problems.append((name, "not in the proof"))
    problems += [(name, "in the manifest, but not there") for name in sorted(named.keys() - present)]
    problems += against.missing()
    return Inspection(len(present), instances, tuple(problems), len(named.keys() & present))


@dataclass
class _Proven:
    """What proofs say, by SOP Instance UID, and what was seen of it."""

    asked: bool
    entries: dict[str, list[tuple[dict[str, Any], Proof]]]
    seen: Counter[str] = field(default_factory=Counter)

    @classmethod
    def by(cls, proofs: Sequence[Proof]) -> _Proven:
        from fiona_dagster.domain.deid.proof import is_complete

        entries: defaultdict[str, list[tuple[dict[str, Any], Proof]]] = defaultdict(list)
        for proof in proofs:
            for one in proof.content["instances"] if is_complete(proof.content) else ():
                entries[one["sop_instance_uid"]].append((one, proof))
        return cls(bool(proofs), dict(entries))

    def profile(self, uid: str) -> tuple[Profile, DateMode] | None:
        """What the copy was made by; None where no proof says it or this version does not know it."""
        from fiona_dagster.domain.deid.proof import profile_of

        for _, proof in self.entries.get(uid, ()):
            try:
                return profile_of(proof.content)
            except ConfigurationError:
                return None  # told once, for the proof
        return None

    def problems(self, uid: str, digest: str, texts: dict[int, list[str]]) -> Iterator[str]:
        """Why a copy with these texts is not the one that was proven."""
        if not self.asked:
            return
        self.seen[uid] += 1
        if uid not in self.entries:
            yield "not in the proof"
        if self.seen[uid] > 1:
            yield "an instance that is there twice"
        for entry, proof in self.entries.get(uid, ()):
            if entry["sha256"] != digest:
                yield "its bytes are not those of the proof"
            method = f"sha256 {proof.content['method']['digest'][:48]}"
            if (
                texts[_PATIENT_ID] != [proof.content["participant"]]
                or texts[_CLINICAL_TRIAL_PROTOCOL_ID] != [proof.content["project"]]
                or method not in texts[_DEIDENTIFICATION_METHOD]
            ):
                yield "participant, project or method are not those of the proof"

    def missing(self) -> list[tuple[str, str]]:
        """Instances that no file had."""
        return [
            (str(entry["path"]), "in the proof, but not there")
            for uid in sorted(self.entries.keys() - self.seen.keys())
            for entry, _ in self.entries[uid]
        ]


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


def refuse_encrypted(path: Path) -> None:
    """Raise for a package in an encrypted container, which tells nothing without its password.

    Raises:
        ConfigurationError: it is one.
    """
    encrypted = False
    if path.is_file():
        with path.open("rb") as stream:
            encrypted = stream.read(len(_7Z_BEGINS)) == _7Z_BEGINS
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                encrypted = any(one.flag_bits & 1 for one in archive.infolist())
    if encrypted:
        raise ConfigurationError(
            "is encrypted", place=str(path), remedy="open it with its password, and verify the package inside"
        )


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
    beside = (MANIFEST, PROOF_FILE)
    if path.is_dir():
        for file in sorted(
            p for p in path.rglob("*") if p.is_file() and p.relative_to(path).as_posix() not in beside
        ):
            yield file.relative_to(path).as_posix(), file
        return
    with _opened(path) as archive, tempfile.TemporaryDirectory() as folder:
        for entry in archive.infolist():
            if entry.is_dir() or entry.filename in beside or entry.filename.startswith("proofs/"):
                continue
            file = Path(folder) / f"entry{Path(entry.filename).suffix}"
            with archive.open(entry) as packed, file.open("wb") as stream:
                shutil.copyfileobj(packed, stream, 1 << 20)
            yield entry.filename, file
            file.unlink()


def _instance_problems(
    file: Path, digest: str, profile: Profile | None, entry: dict[str, Any] | None, against: _Proven
) -> list[str]:
    from fiona_dagster.domain.deid.text import first_text
    from fiona_dagster.domain.deid.walk import walk
    from fiona_dagster.domain.profile_compliance import profile_problem, uid_problems

    try:
        instance = read_instance(file)
        uid = first_text(instance.dataset, _SOP_INSTANCE_UID)
        problems = []
        if not uid or uid != first_text(instance.meta, _MEDIA_STORAGE_SOP_INSTANCE_UID):
            problems.append("SOPInstanceUID is missing or not that of the file meta")
        if entry is not None and entry.get("sop_instance_uid") not in {None, "", uid}:
            problems.append("SOPInstanceUID is not that of the manifest")
        texts = _first_level_texts(instance)
        if texts[_PATIENT_IDENTITY_REMOVED] != ["YES"] or not texts[_DEIDENTIFICATION_METHOD]:
            problems.append("PatientIdentityRemoved or DeidentificationMethod is missing")
        problems += against.problems(uid, digest, texts)
        used, dates = against.profile(uid) or _declared(instance)
        rules = (profile or used).rules(first_text(instance.dataset, _SOP_CLASS_UID), dates)
        for part in (instance.meta, instance.dataset, instance.behind):
            for found in walk(part):
                what = profile_problem(found, rules)
                problems += [what] if what else []
                if found.vr == "UI":
                    problems += [f"{place} is not a valid UID" for place in uid_problems(found)]
    except Permanent as error:
        return [str(error)]
    return list(dict.fromkeys(problems))


def _first_level_texts(instance: InstanceFile) -> dict[int, list[str]]:
    """What an instance says of itself; empty lists for what is absent or empty."""
    from fiona_dagster.domain.deid.walk import first_level, walk_element

    level = first_level(instance.dataset)
    wanted = (_PATIENT_ID, _CLINICAL_TRIAL_PROTOCOL_ID, _PATIENT_IDENTITY_REMOVED, _DEIDENTIFICATION_METHOD)
    return {
        tag: [text for found in walk_element(level, tag) for text in found.texts() if text]
        if tag in instance.dataset
        else []
        for tag in wanted
    }


def _declared(instance: InstanceFile) -> tuple[Profile, DateMode]:
    """Options and handling of dates as the copy's own code sequence states them."""
    from fiona_dagster.domain.deid.method import OPTION_CODES
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.deid.walk import walk

    codes = {
        text
        for found in walk(instance.dataset)
        if found.path == _DEIDENTIFICATION_CODES
        for text in found.texts()
    }
    options = frozenset(option for option, (code, _) in OPTION_CODES.items() if code in codes)
    dates: DateMode = "keep" if "113106" in codes else "per_participant" if "113107" in codes else "remove"
    return Profile(options=options), dates
