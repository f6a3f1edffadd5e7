"""A part of a study's instances: de-identified, gathered or checked in one process.

The functions here are what `parallel.run_parts` runs, in this process or in others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fiona_dagster.adapters.dicom_copies import write_instance
from fiona_dagster.adapters.dicom_files import InstanceFile, patient_of, quiet_pydicom, read_instance
from fiona_dagster.domain.deid.admission import SERIES_INSTANCE_UID
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.deidentification import (
    DeidentifiedInstance,
    Disposition,
    ReleaseRequest,
    SourceInstance,
)
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold, Transient

if TYPE_CHECKING:
    from fiona_dagster.adapters.release_checks import Original
    from fiona_dagster.domain.deid.engine import CleanInstance, Deidentifier
    from fiona_dagster.domain.deid.originals import OriginalValues
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.pixels.masks import Masking
    from fiona_dagster.domain.pixels.policy import PixelPolicy
    from fiona_dagster.domain.verification import Findings

Progress = Callable[[int, int], None]
"""Called with the number of instances done and the number of all."""
Done = Callable[[], None]
"""Called behind every instance."""
Write = Callable[[Path, "CleanInstance", InstanceFile], tuple[str, int]]
"""Takes a place, the copy and its original; returns what `write_instance` does."""

_EXCLUDED = "the project has the pixels stay as they are"
_FILE_MODALITY = re.compile(r"[^A-Z0-9_]")


@dataclass(frozen=True)
class Task:
    """What is the same for all parts of a study."""

    request: ReleaseRequest
    key: bytes
    profile: Profile
    sources: tuple[SourceInstance, ...]


class Treated(NamedTuple):
    """What became of one source, and whose it says it is: Study Instance UID and PatientID, None where unreadable.

    `suspicion` says why its pixels are to be read before it is released, in which `series` of the originals;
    `keeps_pixels` that the project excludes it from that, whatever others of its series say; `compressed` that reading
    them takes a decoder.
    """

    instance: DeidentifiedInstance
    patient: tuple[str, str] | None
    series: str = ""
    suspicion: str = ""
    keeps_pixels: bool = False
    compressed: bool = False


def reporter(progress: Progress | None, count: int) -> Done:
    """What to call behind each of `count` instances, for somebody who wants to know how far it is."""
    behind = 0

    def report() -> None:
        nonlocal behind
        behind += 1
        if progress is not None:
            progress(behind, count)

    return report


class Suspected(Exception):
    """The pixels of an instance may carry text, and the project has such pixels masked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def deidentify_part(
    done: Done,
    task: Task,
    positions: Sequence[int],
    reasons: dict[int, tuple[Disposition, str]],
    write: Write = write_instance,
) -> list[Treated]:
    """De-identify the sources at `positions`; those that have a reason not to be released are read all the same."""
    from fiona_dagster.domain.deid.engine import Deidentifier
    from fiona_dagster.domain.pixels.suspicion import keeps_pixels

    def originals() -> OriginalValues:
        from fiona_dagster.adapters.seen_elements import gather_originals

        return gather_originals(task.sources, task.request)

    engine = Deidentifier(task.profile, task.request, task.key, originals)
    familiar = Familiar()
    treated = []
    for position in positions:
        source = task.sources[position]
        file = _read(source, familiar)
        suspicion = ""
        if position in reasons:
            result = not_released(source, *reasons[position])
        elif isinstance(file, str):
            result = not_released(source, "failed", file)
        else:
            try:
                result = _instance(source, file, engine, task.request.folder, write)
            except Suspected as found:
                suspicion, result = found.reason, not_released(source, "held", found.reason)
        if isinstance(file, str):
            treated.append(Treated(result, None))
        else:
            series = first_text(file.dataset, SERIES_INSTANCE_UID)
            keeps = keeps_pixels(file.dataset, task.request.project.pixels)
            compressed = file.pixels is not None and file.pixels.undefined_length
            treated.append(Treated(result, patient_of(file), series, suspicion, keeps, compressed))
        done()
    return treated


def gather_part(
    done: Done, task: Task, positions: Sequence[int], released: frozenset[int]
) -> tuple[OriginalValues, list[Original | None], Findings]:
    """Read the originals at `positions`: what identifies in them, and what copies are compared with."""
    from fiona_dagster.adapters.release_checks import ReleaseReader
    from fiona_dagster.domain.verification import Findings

    findings = Findings()
    reader = ReleaseReader(task.request, task.key, task.profile, findings)
    originals = []
    for position in positions:
        originals.append(reader.read_original(task.sources[position], released=position in released))
        done()
    return reader.values, originals, findings


def check_part(
    done: Done,
    task: Task,
    pairs: Sequence[tuple[DeidentifiedInstance, Original]],
    values: OriginalValues,
    known: frozenset[str],
) -> tuple[dict[str, str], Findings]:
    """Read and check copies; returns SHA-256 of their files by path."""
    from fiona_dagster.adapters.release_checks import ReleaseReader
    from fiona_dagster.domain.verification import Findings

    findings = Findings()
    reader = ReleaseReader(task.request, task.key, task.profile, findings, values)
    with quiet_pydicom():
        sums = reader.read_copies(pairs, known, done=done)
    return sums, findings


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
    write: Write,
) -> DeidentifiedInstance:
    return attempted(source, lambda: _released(source, file, engine, folder, write))


def attempted(source: SourceInstance, make: Callable[[], DeidentifiedInstance]) -> DeidentifiedInstance:
    """What `make` returns, or why there is none: one instance that cannot be treated costs no other.

    Raises:
        ConfigurationError, Transient, Suspected: as `make` does.
    """
    try:
        return make()
    except Suspected:
        raise
    except Hold as error:
        return not_released(source, "held", error.reason)
    except (ConfigurationError, Transient):
        raise
    except FionaError as error:
        return not_released(source, "failed", str(error))
    except OSError as error:
        raise Transient(
            f"a copy cannot be written ({error.strerror}): free the disk and try again"
        ) from error
    except Exception as error:  # noqa: BLE001 — one broken instance costs no other; its message may hold values
        return not_released(source, "failed", f"the instance cannot be treated ({type(error).__name__})")


def _released(
    source: SourceInstance,
    file: InstanceFile,
    engine: Deidentifier,
    folder: Path,
    write: Write,
) -> DeidentifiedInstance:
    from fiona_dagster.adapters.pixel_segments import examine_pixels
    from fiona_dagster.domain.deid.admission import SOP_INSTANCE_UID, admit
    from fiona_dagster.domain.deid.pixel_data import without_fragment_tables

    uid = first_text(file.dataset, SOP_INSTANCE_UID)
    if source.sop_instance_uid and uid != source.sop_instance_uid.strip(" \0"):
        raise Hold("the file is not the instance that it was received as")
    project, syntax = engine.request.project, file.transfer_syntax_uid
    verdict = admit(file.dataset, syntax, project, engine.profile, source.classified)
    if verdict is not None:
        if verdict.disposition == "suspected":
            raise Suspected(verdict.reason)
        return not_released(source, verdict.disposition, verdict.reason)
    found = examine_pixels(file)
    if found.reason:
        raise Hold(found.reason)
    dataset = file.dataset if found.offsets_fit else without_fragment_tables(file.dataset)
    clean = engine.clean(dataset, file.behind)
    path = copy_path(clean)
    digest, size = write(folder / path, clean, file)
    copy = copy_of(source, clean, path, digest, size, syntax)
    return replace(copy, masking=_excluded(file, project.pixels)) if project.pixels.exclusions else copy


def _excluded(file: InstanceFile, policy: PixelPolicy) -> Masking | None:
    """What is written down of an image that the project has keep its pixels."""
    from fiona_dagster.domain.deid.elements import PIXEL_TAGS
    from fiona_dagster.domain.pixels.masks import Masking
    from fiona_dagster.domain.pixels.suspicion import excluded_by

    has_pixels = file.pixels is not None or not PIXEL_TAGS.isdisjoint(file.dataset.places)
    keyword = excluded_by(file.dataset, policy) if has_pixels else ""
    return Masking(_EXCLUDED, excluded_by=keyword) if keyword else None


def copy_path(clean: CleanInstance) -> str:
    """Where a copy lies in its release, as FIONA named it."""
    return f"{clean.series_instance_uid}/{_modality(clean)}.{clean.sop_instance_uid}.dcm"


def _modality(clean: CleanInstance) -> str:
    return _FILE_MODALITY.sub("", clean.modality.upper())[:16] or "OT"


def copy_of(
    source: SourceInstance, clean: CleanInstance, path: str, digest: str, size: int, transfer_syntax_uid: str
) -> DeidentifiedInstance:
    """A copy that was written."""
    return DeidentifiedInstance(
        identity=source.identity,
        source_sop_instance_uid=source.sop_instance_uid,
        disposition="released",
        path=path,
        sop_instance_uid=clean.sop_instance_uid,
        series_instance_uid=clean.series_instance_uid,
        study_instance_uid=clean.study_instance_uid,
        sop_class_uid=clean.sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        modality=_modality(clean),
        header_sha256=digest,
        size_bytes=size,
    )


def not_released(source: SourceInstance, disposition: Disposition, reason: str) -> DeidentifiedInstance:
    """A source that has no copy, and why."""
    return DeidentifiedInstance(source.identity, source.sop_instance_uid, disposition, reason)
