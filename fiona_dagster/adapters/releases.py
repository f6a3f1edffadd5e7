"""A study's copies in a folder: made instance by instance, then verified by reading everything again.

Files are `<new SeriesInstanceUID>/<Modality>.<new SOPInstanceUID>.dcm`, as FIONA names them. Running twice writes
the same bytes; what an earlier run left and this one does not release is removed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_files import file_digest, quiet_pydicom
from fiona_dagster.adapters.durable import sync_tree
from fiona_dagster.adapters.parallel import LEAST, LEAST_TO_READ, cores, run_parts, split
from fiona_dagster.adapters.release_parts import (
    Progress,
    Task,
    Write,
    check_part,
    deidentify_part,
    gather_part,
    not_released,
    reporter,
)
from fiona_dagster.domain.deidentification import (
    DeidentifiedInstance,
    DeidentifiedStudy,
    Disposition,
    ReleaseRequest,
    SourceInstance,
)
from fiona_dagster.domain.errors import Permanent, Transient

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.verification import QuarantinedStudy, VerifiedStudy

__all__ = ["ReleaseRequest", "SourceInstance", "deidentify_study", "recall_release", "verify_release"]
UNREAD = "its pixels would be read, and masked"
"""What begins the reason of an image that was tried without a file: whether it would be released, reading tells."""


def deidentify_study(
    sources: Sequence[SourceInstance],
    request: ReleaseRequest,
    key: bytes,
    profile: Profile,
    progress: Progress | None = None,
    *,
    write: Write | None = None,
    workers: int | None = None,
    review: Path | None = None,
    reading: Progress | None = None,
) -> DeidentifiedStudy:
    """Write the copies of one study into `request.folder`. Nothing here is verified yet.

    The copies' pixels are not read: verification does that, and takes the SHA-256 of the files. `write` takes the
    copies in place of the disk, which then stays as it is. Large studies are shared between `workers`
    processes, by default as many as there are cores. Where the project has pixels masked, series that may carry
    text are read behind all others (not with `write`; `reading` is told how far that is, it takes seconds an image),
    and previews for a person are put into `review`.

    An instance that cannot be read or treated is failed or held with its reason and costs no other; a study of
    several PatientIDs is held as a whole.

    Raises:
        ConfigurationError: participant, event or UID root cannot be used.
        Transient: the disk refuses (full, not mounted), or a worker process was lost: try again.
    """
    from fiona_dagster.domain.deid.conventions import check_request
    from fiona_dagster.domain.deid.method import method_digest

    check_request(request)
    task = Task(request, key, profile, tuple(sources))
    reasons = _reasons(sources)
    report = reporter(progress, len(sources))
    with quiet_pydicom():
        if write is not None:
            treated = deidentify_part(report, task, range(len(sources)), reasons, write)
        else:
            parts = [(task, part, reasons) for part in split(len(sources), workers or cores())]
            treated = [one for part in run_parts(deidentify_part, parts, report) for one in part]
    results = [one.instance for one in treated]
    if write is not None:
        results = [
            replace(one.instance, reason=f"{UNREAD}: {one.suspicion}") if one.suspicion else one.instance
            for one in treated
        ]
    several = _several_patients([one.patient for one in treated])
    if write is None and any(one.suspicion for one in treated):
        from fiona_dagster.adapters.pixel_masking import mask_suspected

        left_out = several.keys() | reasons.keys()
        mask_suspected(task, treated, results, left_out, workers or cores(), review, reading)
    study = next((one.study_instance_uid for one in results if one.study_instance_uid), "")
    for index, (source, result) in enumerate(zip(sources, results, strict=True)):
        if index in several and not source.held_reason:
            results[index] = not_released(source, "held", several[index])
        elif result.study_instance_uid not in {"", study}:
            results[index] = not_released(source, "held", "the instance belongs to another study")
    study = next((one.study_instance_uid for one in results if one.study_instance_uid), "")
    if review is not None and review.is_dir():
        from fiona_dagster.adapters.pixel_review import forget_others

        forget_others(review, results)
    if write is None:
        _settle(request.folder, {one.path for one in results if one.disposition == "released"})
    return DeidentifiedStudy(study, tuple(results), profile.name, method_digest(profile, request.project))


def _reasons(sources: Sequence[SourceInstance]) -> dict[int, tuple[Disposition, str]]:
    """Sources that are not released whatever they contain, by position."""
    reasons: dict[int, tuple[Disposition, str]] = {
        index: ("excluded" if reason == _DUPLICATE else "held", reason)
        for index, reason in _same_uid(sources).items()
    }
    held = {index: source.held_reason for index, source in enumerate(sources) if source.held_reason}
    return reasons | {index: ("held", reason) for index, reason in held.items()}


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


def verify_release(
    study: DeidentifiedStudy,
    sources: Sequence[SourceInstance],
    request: ReleaseRequest,
    key: bytes,
    profile: Profile,
    *,
    revision: int = 1,
    workers: int | None = None,
    accepted: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> VerifiedStudy | QuarantinedStudy:
    """Read originals and copies again from disk and decide whether the copies may leave.

    What was removed is recomputed from the originals, independently of the engine: its decisions are not used.
    `revision` counts the arrivals that the copies cover, and is only handed on; `accepted` are places that a person
    has looked at (`domain.acceptance`); `progress` is told of originals and copies that were read. Large studies are
    shared between `workers` processes, by default as many as there are cores.

    Raises:
        Transient: a worker process was lost: try again.
    """
    from fiona_dagster.adapters.release_checks import check_conservation
    from fiona_dagster.domain.deid.method import method_digest
    from fiona_dagster.domain.deid.originals import OriginalValues
    from fiona_dagster.domain.verification import Findings, conclude, participant_problem

    findings = Findings()
    if study.method_digest != method_digest(profile, request.project):
        findings.add("conservation", "the copies were made by another method: de-identify the study again")
    check_conservation(findings, study, sources, request.folder)
    task = Task(request, key, profile, tuple(sources))
    copies = _copies_of(study, sources)
    report = reporter(progress, len(sources) + len(copies))
    with quiet_pydicom():
        parts = [(task, part, frozenset(copies)) for part in split(len(sources), workers or cores())]
        gathered = run_parts(gather_part, parts, report)
        values = OriginalValues()
        if request.made_of is not None:
            values.merge(request.made_of.values)
        originals = []
        for part_values, part, found in gathered:
            values.merge(part_values)
            originals += part
            findings.merge(found)
        problem = participant_problem(values, request, profile.name) if copies else None
        if problem:
            findings.add("no_removed_value_left", problem)
        known = frozenset(one.sop_instance_uid for one in originals if one is not None)
        pairs = [
            (copies[index], original)
            for index, original in enumerate(originals)
            if original is not None and index in copies
        ]
        bare = replace(task, sources=())
        read = sum(one.masking is not None and one.masking.was_searched for one, _ in pairs)
        least = max(1, min(LEAST, len(pairs) * LEAST_TO_READ // read)) if read else 0
        checks = [
            (bare, [pairs[i] for i in part], values, known)
            for part in split(len(pairs), workers or cores(), least)
        ]
        sums: dict[str, str] = {}
        for part_sums, found in run_parts(check_part, checks, report):
            sums |= part_sums
            findings.merge(found)
    summed = tuple(replace(one, sha256=sums.get(one.path, "")) for one in study.instances)
    return conclude(replace(study, instances=summed), request, findings, revision=revision, accepted=accepted)


def _copies_of(
    study: DeidentifiedStudy, sources: Sequence[SourceInstance]
) -> dict[int, DeidentifiedInstance]:
    """The released instances by the position of their source."""
    waiting: defaultdict[tuple[int | None, str], list[DeidentifiedInstance]] = defaultdict(list)
    for one in study.instances:
        waiting[one.identity, one.source_sop_instance_uid].append(one)
    copies = {}
    for index, source in enumerate(sources):
        results = waiting[source.identity, source.sop_instance_uid]
        instance = results.pop(0) if results else None
        if instance is not None and instance.disposition == "released":
            copies[index] = instance
    return copies


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
