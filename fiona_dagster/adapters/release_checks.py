"""Reads originals and copies again from disk and finds what is wrong: the reading half of verification."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_copies import examine_copy, pixel_value
from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.seen_elements import SeenElements
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deidentification import (
    DeidentifiedInstance,
    DeidentifiedStudy,
    ReleaseRequest,
    SourceInstance,
)
from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from fiona_dagster.adapters.dicom_copies import PixelValue
    from fiona_dagster.adapters.dicom_files import InstanceFile
    from fiona_dagster.adapters.pixel_gate import PixelGate
    from fiona_dagster.adapters.pixel_segments import PixelSearch
    from fiona_dagster.domain.deid.elements import DataSet
    from fiona_dagster.domain.deid.free_text import FreeText
    from fiona_dagster.domain.deid.originals import OriginalValues
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.deid.residuals import ResidualSearch
    from fiona_dagster.domain.deid.walk import Found
    from fiona_dagster.domain.verification import Findings


_ENCAPSULATED_DOCUMENT = 0x00420011
_REFERENCED_SOP_INSTANCE_UID = 0x00081155


@dataclass(frozen=True)
class Original:
    """What a copy is compared with. `references` are empty where it has no copy."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    pixels: PixelValue
    references: frozenset[str] = frozenset()


class ReleaseReader:
    """Everything that is the same for all instances of one release."""

    def __init__(
        self,
        request: ReleaseRequest,
        key: bytes,
        profile: Profile,
        findings: Findings,
        values: OriginalValues | None = None,
    ) -> None:
        """`values` are those of all originals, where they were gathered before."""
        from fiona_dagster.domain.deid.dates import DateShift, shift_days
        from fiona_dagster.domain.deid.originals import OriginalValues
        from fiona_dagster.domain.deid.profile import Option
        from fiona_dagster.domain.deid.uids import uid_map
        from fiona_dagster.domain.verification import written_values

        project = request.project
        self.request, self.profile, self.findings = request, profile, findings
        self.dates = project.date_mode
        self.values = values or OriginalValues()
        self._retains_uids = Option.RETAIN_UIDS in profile.options
        origin = request.made_of
        of_copies = origin.uids if origin else frozenset()
        self._days_of_copies = origin.days if origin else frozenset()
        self.map_uid = uid_map(project, key, retained=self._retains_uids, of_copies=of_copies)
        self._shift = DateShift(
            shift_days(project, request.participant, key),
            year_only=self.dates == "year",
            moved=self._days_of_copies,
        )
        self._written = written_values(profile, request)
        self._originals, self._copies = SeenElements(), SeenElements()
        self._like_originals, self._like_copies = Familiar(), Familiar()

    def read_original(self, source: SourceInstance, *, released: bool) -> Original | None:
        """Gather the identifying values of a source; None where it cannot be read (it is then not released)."""
        from fiona_dagster.domain.deid.admission import SOP_CLASS_UID, SOP_INSTANCE_UID
        from fiona_dagster.domain.deid.origin import not_of_the_copies
        from fiona_dagster.domain.deid.text import first_text
        from fiona_dagster.domain.profile_compliance import reference_uids, stays

        try:
            file = read_instance(source.path, self._like_originals)
            sop_class = first_text(file.dataset, SOP_CLASS_UID)
            rules = self.profile.rules(sop_class, self.dates)

            def gather(elements: Iterator[Found]) -> tuple[bool, set[str]]:
                found = list(elements)
                theirs = not_of_the_copies(found, self.request)
                self.values.gather(theirs, lambda one: stays(one, rules))
                return True, {uid for one in found for uid in reference_uids(one, rules)}

            references = self._originals.uids(file, sop_class, gather)
            uid = first_text(file.dataset, SOP_INSTANCE_UID)
        except Exception:  # noqa: BLE001 — a damaged original has no copy; one that has is reported below
            if released:
                self.findings.add("pixels_unchanged", "an original that cannot be read again")
            return None
        return Original(
            uid,
            sop_class,
            file.transfer_syntax_uid,
            pixel_value(file),
            frozenset(references) if released else frozenset(),
        )

    def read_copies(
        self,
        pairs: Sequence[tuple[DeidentifiedInstance, Original]],
        known: Set[str],
        read: Callable[[DeidentifiedInstance], InstanceFile] | None = None,
        done: Callable[[], None] | None = None,
    ) -> dict[str, str]:
        """Check every copy.

        Args:
            pairs: copies with their originals.
            known: UIDs of all originals of the study, also of those not released.
            read: gives a copy whose bytes are in no file yet; by default it is read from the release's folder, and
                its bytes and pixels are compared, too.
            done: called behind every copy.

        Returns:
            SHA-256 of the copies' files, by path; empty where `read` gives the copies.
        """
        from fiona_dagster.adapters.pixel_segments import PixelSearch
        from fiona_dagster.domain.deid.residuals import ResidualSearch
        from fiona_dagster.domain.profile_compliance import expected_dates

        moved = self.dates != "keep"
        search = ResidualSearch(self.values, self._written, dates=moved, uids=not self._retains_uids)
        pixel_search = PixelSearch(search)
        allowed = (
            expected_dates(self.values, self._shift)
            if self.dates != "remove"
            else {"", "19000101", "19000101000000"}
        )
        for name in self.findings.examined.keys() - {"conservation"}:
            self.findings.examined[name] += len(pairs)
        sums: dict[str, str] = {}
        for instance, original in pairs:
            try:
                file = (read or self._read_copy)(instance)
            except Permanent:
                self.findings.add("still_readable", instance.path)
                self.findings.add("conservation", instance.path)
            else:
                self._check_identity(file, instance, original)
                if read is None:
                    sums[instance.path] = self._check_bytes(file, instance, original)
                    self._check_pixels(file, instance, pixel_search)
                uids = self._check_elements(file, search, allowed if moved else None)
                referenced = original.references & known
                wanted = {self.map_uid(uid, _REFERENCED_SOP_INSTANCE_UID) for uid in referenced}
                for _ in wanted - uids:
                    self.findings.add("references_resolve", instance.path)
            if done is not None:
                done()
        return sums

    def _check_pixels(
        self, file: InstanceFile, instance: DeidentifiedInstance, pixel_search: PixelSearch
    ) -> None:
        if instance.masking is not None and instance.masking.was_searched:
            for problem in self._pixel_gate.problems(file.path, instance.masking):
                self.findings.add("no_removed_value_left", problem)
        for problem in pixel_search.problems(file):
            self.findings.add("no_removed_value_left", problem)

    def _read_copy(self, instance: DeidentifiedInstance) -> InstanceFile:
        return read_instance(self.request.folder / instance.path, self._like_copies)

    def _check_bytes(self, file: InstanceFile, instance: DeidentifiedInstance, original: Original) -> str:
        """Every byte of a copy is one that the engine wrote, or one of the original's pixels; returns its SHA-256."""
        found = examine_copy(file, original.pixels)
        same_pixels = found.same_pixels
        if instance.masking is not None and instance.masking.changes_pixels:
            same_pixels = self._pixel_gate.only_masked(original.pixels.path, file.path, instance.masking)
        if not same_pixels:
            self.findings.add("pixels_unchanged", instance.path)
        if not same_pixels or found.header_sha256 != instance.header_sha256:
            self.findings.add("conservation", instance.path)
        return found.sha256

    @cached_property
    def _pixel_gate(self) -> PixelGate:
        from fiona_dagster.adapters.pixel_gate import PixelGate

        return PixelGate(self.values, self.request.project)

    def _cleaned(self, text: str) -> str:
        return self._free_text.clean(text)

    @cached_property
    def _free_text(self) -> FreeText:
        """As the engine has it: it knows the study's names where the profile lets people's own words stay."""
        from fiona_dagster.domain.deid.chosen_actions import cleans_for_people, free_text_of
        from fiona_dagster.domain.deid.originals import OriginalValues

        return free_text_of(self.values if cleans_for_people(self.profile) else OriginalValues())

    @cached_property
    def _free_text_of_people(self) -> FreeText:
        """Knows the study's names: asked for when all originals were read."""
        from fiona_dagster.domain.deid.chosen_actions import free_text_of

        return free_text_of(self.values)

    def _check_identity(self, file: InstanceFile, instance: DeidentifiedInstance, original: Original) -> None:
        dataset, meta, first = file.dataset, file.meta, _first_text
        same = (
            first(dataset, 0x00080018)
            == first(meta, 0x00020003)
            == instance.sop_instance_uid
            == self.map_uid(original.sop_instance_uid, 0x00080018)
            and first(dataset, 0x0020000E) == instance.series_instance_uid != ""
            and first(dataset, 0x0020000D) == instance.study_instance_uid != ""
            and first(dataset, 0x00080016) == first(meta, 0x00020002) == original.sop_class_uid
            and file.transfer_syntax_uid == (_new_syntax(instance) or original.transfer_syntax_uid)
        )
        if not same or not file.has_blank_preamble:
            self.findings.add("still_readable", instance.path)

    def _check_elements(
        self, file: InstanceFile, search: ResidualSearch, allowed: set[str] | None
    ) -> set[str]:
        """Walk one copy; returns its UIDs."""
        from fiona_dagster.domain.deid.admission import is_document
        from fiona_dagster.domain.deid.documents import is_made_anew
        from fiona_dagster.domain.deid.elements import PIXEL_TAGS
        from fiona_dagster.domain.profile_compliance import profile_problem, uid_problems

        sop_class = _first_text(file.dataset, 0x00080016)
        mime = _first_text(file.dataset, 0x00420012) if is_document(sop_class) else ""
        rules = self.profile.rules(sop_class, self.dates)

        def check(elements: Iterator[Found]) -> tuple[bool, set[str]]:
            uids: set[str] = set()
            settled = True
            for found in elements:
                if found.tag in PIXEL_TAGS and len(found.path) == 1:
                    continue
                if mime and found.path == (_ENCAPSULATED_DOCUMENT,):
                    made = is_made_anew(found.value, mime, search.in_text, self._free_text_of_people.clean)
                    problem = None if made else f"{found.keyword} is not made of searched text alone"
                else:
                    problem = profile_problem(found, rules, self._cleaned)
                if problem is None and search.leaks(found):
                    problem = f"{found.keyword} has an original value"
                if problem is None and allowed is not None and self._is_other_date(found, allowed):
                    problem = f"{found.keyword} is not a moved date"
                if problem is not None:
                    self.findings.add("no_removed_value_left", problem)
                    settled = False
                if found.vr == "UI":
                    uids.update(found.texts())
                    for place in uid_problems(found, self.request.project):
                        self.findings.add("valid_uids", place)
                        settled = False
            return settled, uids

        return self._copies.uids(file, sop_class, check)

    def _is_other_date(self, found: Found, allowed: set[str]) -> bool:
        return found.vr in {"DA", "DT"} and any(
            text not in allowed and text[:8] not in self._days_of_copies for text in found.texts()
        )


def check_conservation(
    findings: Findings, study: DeidentifiedStudy, sources: Sequence[SourceInstance], folder: Path
) -> None:
    """Sources = released + held + excluded + failed, and on disk lie exactly the released files.

    That they are as they were written is seen when they are read.
    """
    for _ in range(abs(len(sources) - len(study.instances))):
        findings.add("conservation", "a source without a disposition")
    if Counter(_who(source) for source in sources) != Counter(
        (one.identity, one.source_sop_instance_uid) for one in study.instances
    ):
        findings.add("conservation", "an instance that is not its source's")
    if sum(study.counts().values()) != len(study.instances):
        findings.add("conservation", "an unknown disposition")
    findings.examined["conservation"] = len(sources)
    expected = {instance.path: instance for instance in study.released}
    if len(expected) != len(study.released):
        findings.add("conservation", "two instances in one file")
    for path in sorted(expected.keys() ^ _files(folder)):
        findings.add("conservation", path)


def _new_syntax(instance: DeidentifiedInstance) -> str:
    """The transfer syntax that a copy has because its pixels were masked."""
    return instance.masking.transfer_syntax_uid if instance.masking is not None else ""


def _who(source: SourceInstance) -> tuple[int | None, str]:
    return source.identity, source.sop_instance_uid


def _first_text(dataset: DataSet, tag: int) -> str:
    from fiona_dagster.domain.deid.text import first_text

    return first_text(dataset, tag)


def _files(folder: Path) -> set[str]:
    """Everything below a folder that is no folder, relative to it."""
    start = len(str(folder)) + 1
    return {f"{at}/{name}"[start:] for at, _, names in os.walk(folder) for name in names}
