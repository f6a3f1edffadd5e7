"""A study's copies in a folder: made instance by instance, then verified by reading everything again.

Files are `<new SeriesInstanceUID>/<Modality>.<new SOPInstanceUID>.dcm`, as FIONA names them. Running twice writes
the same bytes; what an earlier run left and this one does not release is removed.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_copies import write_instance
from fiona_dagster.adapters.dicom_files import (
    InstanceFile,
    file_digest,
    patient_of,
    quiet_pydicom,
    read_instance,
)
from fiona_dagster.adapters.durable import sync_tree
from fiona_dagster.adapters.seen_elements import gather_originals
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deidentification import (
    DeidentifiedInstance,
    DeidentifiedStudy,
    Disposition,
    ReleaseRequest,
    SourceInstance,
)
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold, Permanent, Transient

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.engine import CleanInstance, Deidentifier
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.verification import QuarantinedStudy, VerifiedStudy

__all__ = ["ReleaseRequest", "SourceInstance", "deidentify_study", "recall_release", "verify_release"]
Progress = Callable[[int, int], None]
"""Called with the number of instances done and the number of all."""
Write = Callable[[Path, "CleanInstance", InstanceFile], tuple[str, int]]
"""Takes a place, the copy and its original; returns what `write_instance` does."""

_FILE_MODALITY = re.compile(r"[^A-Z0-9_]")


def deidentify_study(
    sources: Sequence[SourceInstance],
    request: ReleaseRequest,
    key: bytes,
    profile: Profile,
    progress: Progress | None = None,
    *,
    write: Write | None = None,
) -> DeidentifiedStudy:
    """Write the copies of one study into `request.folder`. Nothing here is verified yet.

    The copies' pixels are not read: verification does that, and takes the SHA-256 of the files. `write` takes the
    copies in place of the disk, which then stays as it is.

    An instance that cannot be read or treated is failed or held with its reason and costs no other; a study of
    several PatientIDs is held as a whole.

    Raises:
        ConfigurationError: participant, event or UID root cannot be used.
        Transient: the disk refuses (full, not mounted): try again.
    """
    from fiona_dagster.domain.deid.engine import Deidentifier
    from fiona_dagster.domain.deid.method import method_digest

    engine = Deidentifier(profile, request, key, lambda: gather_originals(sources))
    duplicates, familiar = _same_uid(sources), Familiar()
    results: list[DeidentifiedInstance] = []
    patients: list[tuple[str, str] | None] = []
    study = ""
    for index, source in enumerate(sources):
        file = _read(source, familiar)
        patients.append(None if isinstance(file, str) else patient_of(file))
        reason = source.held_reason or duplicates.get(index, "")
        if reason:
            result = _not_released(source, "excluded" if reason == _DUPLICATE else "held", reason)
        elif isinstance(file, str):
            result = _not_released(source, "failed", file)
        else:
            result = _instance(source, file, engine, request.folder, study, write or write_instance)
        study = study or result.study_instance_uid
        results.append(result)
        if progress is not None:
            progress(index + 1, len(sources))
    for index, reason in _several_patients(patients).items():
        if not sources[index].held_reason:
            results[index] = _not_released(sources[index], "held", reason)
    study = next((one.study_instance_uid for one in results if one.study_instance_uid), "")
    if write is None:
        _settle(request.folder, {one.path for one in results if one.disposition == "released"})
    return DeidentifiedStudy(study, tuple(results), profile.name, method_digest(profile, request.project))


_DUPLICATE = "the same file twice"


def _same_uid(sources: Sequence[SourceInstance]) -> dict[int, str]:
    """Reasons, by position, for sources that share a SOP Instance UID: copies of one file count once, others never."""
    by_uid: defaultdict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(sources):
        if not source.held_reason:
            by_uid[source.sop_instance_uid.strip(" \0")].append(index)
    reasons: dict[int, str] = {}
    for uid, positions in by_uid.items():
        if len(positions) < 2 or not uid:
            continue
        if len({_digest_or_path(sources[index].path) for index in positions}) == 1:
            reasons |= dict.fromkeys(positions[1:], _DUPLICATE)
        else:
            reasons |= dict.fromkeys(
                positions, "several instances with different content share one SOP Instance UID"
            )
    return reasons


def _several_patients(found: Sequence[tuple[str, str] | None]) -> dict[int, str]:
    """Reasons, by position, for sources whose study has several PatientIDs: whose images they are, nobody knows.

    `found` are Study Instance UIDs and PatientIDs. An empty PatientID is tolerated: it contradicts no other.
    """
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for one in found:
        if one is not None and one[1]:
            patients[one[0]].add(one[1])
    return {
        index: "several PatientIDs under one Study Instance UID"
        for index, one in enumerate(found)
        if one is not None and len(patients[one[0]]) > 1
    }


def _digest_or_path(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return str(path)  # it will fail by itself when it is read


def _read(source: SourceInstance, familiar: Familiar) -> InstanceFile | str:
    """The file, or why it cannot be treated."""
    try:
        return read_instance(source.path, familiar)
    except FionaError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 — one broken instance costs no other; its message may hold values
        return f"the instance cannot be treated ({type(error).__name__})"


def _instance(
    source: SourceInstance,
    file: InstanceFile,
    engine: Deidentifier,
    folder: Path,
    study: str,
    write: Write,
) -> DeidentifiedInstance:
    try:
        return _released(source, file, engine, folder, study, write)
    except Hold as error:
        return _not_released(source, "held", error.reason)
    except (ConfigurationError, Transient):
        raise
    except FionaError as error:
        return _not_released(source, "failed", str(error))
    except OSError as error:
        raise Transient(
            f"a copy cannot be written ({error.strerror}): free the disk and try again"
        ) from error
    except Exception as error:  # noqa: BLE001 — one broken instance costs no other; its message may hold values
        return _not_released(source, "failed", f"the instance cannot be treated ({type(error).__name__})")


def _released(
    source: SourceInstance,
    file: InstanceFile,
    engine: Deidentifier,
    folder: Path,
    study: str,
    write: Write,
) -> DeidentifiedInstance:
    from fiona_dagster.domain.deid.admission import SOP_INSTANCE_UID
    from fiona_dagster.domain.deid.text import first_text

    uid = first_text(file.dataset, SOP_INSTANCE_UID)
    if source.sop_instance_uid and uid != source.sop_instance_uid.strip(" \0"):
        raise Hold("the file is not the instance that it was received as")
    verdict = engine.admit(file.dataset, file.transfer_syntax_uid)
    if verdict is not None:
        return _not_released(source, verdict.disposition, verdict.reason)
    clean = engine.clean(file.dataset, file.behind)
    if study and clean.study_instance_uid != study:
        raise Hold("the instance belongs to another study")
    modality = _FILE_MODALITY.sub("", clean.modality.upper())[:16] or "OT"
    path = f"{clean.series_instance_uid}/{modality}.{clean.sop_instance_uid}.dcm"
    digest, size = write(folder / path, clean, file)
    return DeidentifiedInstance(
        identity=source.identity,
        source_sop_instance_uid=source.sop_instance_uid,
        disposition="released",
        path=path,
        sop_instance_uid=clean.sop_instance_uid,
        series_instance_uid=clean.series_instance_uid,
        study_instance_uid=clean.study_instance_uid,
        sop_class_uid=clean.sop_class_uid,
        transfer_syntax_uid=file.transfer_syntax_uid,
        modality=modality,
        header_sha256=digest,
        size_bytes=size,
    )


def _not_released(source: SourceInstance, disposition: Disposition, reason: str) -> DeidentifiedInstance:
    return DeidentifiedInstance(source.identity, source.sop_instance_uid, disposition, reason)


def verify_release(
    study: DeidentifiedStudy,
    sources: Sequence[SourceInstance],
    request: ReleaseRequest,
    key: bytes,
    profile: Profile,
    *,
    revision: int = 1,
) -> VerifiedStudy | QuarantinedStudy:
    """Read originals and copies again from disk and decide whether the copies may leave.

    What was removed is recomputed from the originals, independently of the engine: its walk is not used.
    `revision` counts the arrivals that the copies cover, and is only handed on.
    """
    from fiona_dagster.adapters.release_checks import ReleaseReader
    from fiona_dagster.domain.verification import Findings, conclude

    findings = Findings()
    reader = ReleaseReader(request, key, profile, findings)
    waiting: defaultdict[tuple[int | None, str], list[DeidentifiedInstance]] = defaultdict(list)
    for one in study.instances:
        waiting[one.identity, one.source_sop_instance_uid].append(one)
    with quiet_pydicom():
        reader.check_conservation(study, sources)
        pairs, known = [], set()
        for source in sources:
            results = waiting[source.identity, source.sop_instance_uid]
            instance = results.pop(0) if results else None
            released = instance is not None and instance.disposition == "released"
            original = reader.read_original(source, released=released)
            if original is not None:
                known.add(original.sop_instance_uid)
                if instance is not None and released:
                    pairs.append((instance, original))
        sums = reader.read_copies(pairs, known)
    summed = tuple(replace(one, sha256=sums.get(one.path, "")) for one in study.instances)
    return conclude(replace(study, instances=summed), request, findings, revision=revision)


def recall_release(
    study: DeidentifiedStudy, request: ReleaseRequest, *, verified_manifest: str, revision: int
) -> VerifiedStudy:
    """A release that was verified in another process: its files must still be those that were verified.

    Raises:
        Permanent: a file is missing or has other bytes, or other instances were verified.
    """
    from fiona_dagster.domain.verification import recall

    for one in study.released:
        try:
            same = file_digest(request.folder / one.path) == one.sha256
        except OSError:
            same = False
        if not same:
            raise Permanent(f"{one.path} is not the file that was verified: de-identify the study again")
    return recall(study, request, verified_manifest=verified_manifest, revision=revision)


def _settle(folder: Path, released: set[str]) -> None:
    """Remove what an earlier run left and sync the rest, so that exactly the released files survive a crash."""
    if not folder.exists():
        return
    start = len(str(folder)) + 1
    for at, _, names in os.walk(folder, topdown=False):
        left = [name for name in names if f"{at}/{name}"[start:] not in released]
        for name in left:
            Path(at, name).unlink()
        if len(left) == len(names) and Path(at) != folder and not any(Path(at).iterdir()):
            Path(at).rmdir()
    try:
        sync_tree(folder)
    except OSError as error:
        raise Transient(
            f"the copies cannot be written ({error.strerror}): free the disk and try again"
        ) from error
