"""What would become of files by a profile, without writing anything: copies are made in memory.

Pixel Data stays in its file. Everything else of a copy is made and searched as in a release; what needs files on disk
(`conservation`, `pixels_unchanged`) cannot be told.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_files import InstanceFile, quiet_pydicom, read_instance
from fiona_dagster.domain.deid.elements import EMPTY, DataSet, find_elements
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE, Syntax
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deidentification import DeidentifiedInstance, ReleaseRequest, SourceInstance
from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.difference import Comparison, Copy
    from fiona_dagster.domain.deid.engine import CleanInstance
    from fiona_dagster.domain.deid.tally import Tally
    from fiona_dagster.domain.project import Project

TOLD = ("no_removed_value_left", "references_resolve", "valid_uids")
NOT_TOLD = ("conservation", "pixels_unchanged", "still_readable")
"""Checks of verification that need the copies' files."""
_NOWHERE = Path(os.devnull) / "copies"
"""No file can lie there."""
_META_START = 132


@dataclass(frozen=True)
class Trial:
    """What would become of a study's sources, in their order.

    `copies` by their sources' path, as far as they could be made. `problems` are counted by check and place in the
    copy, never by value; where there are any, verification would hold the whole study.
    """

    instances: tuple[DeidentifiedInstance, ...]
    copies: dict[Path, CleanInstance]
    problems: Counter[tuple[str, str]]


def try_study(
    sources: Sequence[SourceInstance],
    project: Project,
    participant: str,
    event: str,
    key: bytes,
    progress: Callable[[int, int], None] | None = None,
) -> Trial:
    """De-identify and search one study in memory, by the project's profile.

    Raises:
        ConfigurationError: participant, event or UID root cannot be used.
    """
    from fiona_dagster.adapters.releases import deidentify_study

    request = ReleaseRequest(project, participant, event, _NOWHERE)
    made: dict[Path, CleanInstance] = {}

    def take(_: Path, clean: CleanInstance, file: InstanceFile) -> tuple[str, int]:
        made[file.path] = clean
        return "", 0

    study = deidentify_study(sources, request, key, project.profile, progress, write=take)
    results = list(zip(sources, study.instances, strict=True))
    copies = {source.path: made[source.path] for source, one in results if one.disposition == "released"}
    problems = _problems(results, copies, request, key)
    failed = ", ".join(check for check in TOLD if any(check == one for one, _ in problems))
    instances = tuple(
        replace(one, disposition="held", reason=f"verification would fail: {failed}")
        if failed and one.disposition == "released"
        else one
        for one in study.instances
    )
    return Trial(instances, copies, problems)


def compare_copies(
    sources: Sequence[SourceInstance], trials: Sequence[Trial], comparison: Comparison, tally: Tally
) -> None:
    """Count what became of the elements of each source that has a copy in all of `trials`."""
    familiar = Familiar()
    for source in sources:
        cleans = [one.copies[source.path] for one in trials if source.path in one.copies]
        if len(cleans) < len(trials):
            continue
        file = read_instance(source.path, familiar)
        tally.add(comparison.changes(file.dataset, file.behind, [_copy(one, file.dataset) for one in cleans]))


def object_types(sources: Sequence[SourceInstance]) -> set[str]:
    """SOP Class UIDs of sources that are known to the standard: others are text that somebody wrote."""
    from fiona_dagster.domain.deid.admission import SOP_CLASS_UID
    from fiona_dagster.domain.deid.table import sop_classes
    from fiona_dagster.domain.deid.text import first_text

    familiar = Familiar()
    found = {first_text(read_instance(source.path, familiar).dataset, SOP_CLASS_UID) for source in sources}
    return found & sop_classes().keys()


def _problems(
    results: Sequence[tuple[SourceInstance, DeidentifiedInstance]],
    copies: dict[Path, CleanInstance],
    request: ReleaseRequest,
    key: bytes,
) -> Counter[tuple[str, str]]:
    from fiona_dagster.adapters.release_checks import Original, ReleaseReader
    from fiona_dagster.domain.verification import Findings, participant_problem

    findings = Findings()
    reader = ReleaseReader(request, key, request.project.profile, findings)
    pairs: list[tuple[DeidentifiedInstance, Original]] = []
    known: set[str] = set()
    made: dict[str, tuple[Path, CleanInstance]] = {}
    familiar = Familiar()

    def read(instance: DeidentifiedInstance) -> InstanceFile:
        path, clean = made[instance.path]
        return _as_file(clean, read_instance(path, familiar))

    with quiet_pydicom():
        for source, instance in results:
            released = source.path in copies
            original = reader.read_original(source, released=released)
            if original is None:
                continue
            known.add(original.sop_instance_uid)
            if released:
                pairs.append((instance, original))
                made[instance.path] = (source.path, copies[source.path])
        reader.read_copies(pairs, known, read)
    problem = participant_problem(reader.values, request, request.project.profile.name) if pairs else None
    if problem:
        findings.add("no_removed_value_left", problem)
    return Counter(
        (check, "" if check == "references_resolve" else place)
        for check in TOLD
        for place in findings.problems[check]
    )


def _as_file(clean: CleanInstance, source: InstanceFile) -> InstanceFile:
    """A copy as it would be read from disk, but for its pixels."""
    from fiona_dagster.domain.deid.method import file_start

    start = file_start(clean.sop_class_uid, clean.sop_instance_uid, source.transfer_syntax_uid)
    copy = _copy(clean, source.dataset)
    return InstanceFile(
        path=source.path,
        size=len(start) + len(clean.before) + len(clean.behind),
        meta=_level(start, EXPLICIT_LITTLE, _META_START),
        dataset=copy.before,
        behind=copy.behind,
        transfer_syntax_uid=source.transfer_syntax_uid,
        pixels=None,
        has_blank_preamble=True,
    )


def _copy(clean: CleanInstance, original: DataSet) -> Copy:
    from fiona_dagster.domain.deid.difference import Copy

    behind = _level(clean.behind, original.syntax) if clean.behind else EMPTY
    return Copy(_level(clean.before, original.syntax), behind)


def _level(content: bytes, syntax: Syntax, start: int = 0) -> DataSet:
    places, stop = find_elements(content, start, len(content), syntax)
    if stop != len(content):
        raise Permanent("a copy cannot be read again: tell us, with the version of the gateway")
    return DataSet(content, places, syntax)
