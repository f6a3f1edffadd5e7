"""Verification decides whether copies may leave: only here is a `VerifiedStudy` made (law 4).

The checks compare what was read again from disk with the originals; `adapters.releases` reads, this module judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.domain import acceptance
from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.actions import DUMMIES, DUMMY_TEXT
from fiona_dagster.domain.deid.conventions import EVENT_PREFIX
from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.elements import PIXEL_TAGS
from fiona_dagster.domain.deid.encoding import Element
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.participants import names_patient
from fiona_dagster.domain.deid.private import canonical, fits, safe_private
from fiona_dagster.domain.deid.profile import Code, Option, Profile, Rules
from fiona_dagster.domain.deid.residuals import vocabulary
from fiona_dagster.domain.deid.text import TEXT
from fiona_dagster.domain.deid.uids import is_acceptable_uid
from fiona_dagster.domain.deid.walk import Found
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy, ReleaseRequest
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.project import Project

CHECKS = {
    "conservation": "Every source is released, held, excluded or failed, and on disk lie exactly the released files.",
    "no_removed_value_left": "No value that was taken out stands anywhere in the copies, file meta included.",
    "pixels_unchanged": "The pixel data of every copy is the original's, bit by bit.",
    "references_resolve": "Every reference inside the study names the copy of what it named before.",
    "valid_uids": "Every UID is valid (PS3.5 9.1).",
    "still_readable": "Every copy can be read, has its required UIDs and the original's transfer syntax.",
}
"""The checks in their order, with what they promise; each is a blocking asset check."""
MAXIMUM_PLACES = 20
IDENTITY_TAGS = frozenset({0x00080018, 0x0020000D, 0x0020000E})
"""UIDs by which an instance is known, as opposed to those by which it refers to others."""
_KEPT = frozenset({Code.KEEP, Code.CLEAN})
_ENTERED = _KEPT | {Code.REPLACE}
"""Actions after which a sequence may have items."""
_WRITTEN_BY_US = frozenset(
    {
        0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013,
        0x00080005, 0x00080050, 0x00080080, 0x00080090, 0x00100010, 0x00100020,
        0x00120010, 0x00120020, 0x00120021, 0x00120030, 0x00120031, 0x00120040,
        0x00120050, 0x00120051, 0x00120062, 0x00120063, 0x00120064,
        0x00200010, 0x00280303, 0x00401002, 0x00402001,
    }
)  # fmt: skip
"""First-level elements that the gateway writes itself; the residual search sees to their values."""


@dataclass(frozen=True)
class Check:
    """One blocking check over `examined` things (sources or copies).

    `found` counts problems; `places` names some of them by keyword or path in the copy, never by value. `accepted` are
    places, with how often, in which a person accepted what the residual search found: they count as no problems.
    """

    name: str
    passed: bool
    found: int
    places: tuple[str, ...] = ()
    examined: int = 0
    accepted: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class VerifiedStudy:
    """Copies that may leave: forwarding and packaging take nothing else, and only this module makes it.

    `instances` are the released ones; their paths are relative to `folder`. `revision` counts the study's arrivals.
    """

    study: DeidentifiedStudy
    folder: Path
    project: str
    participant: str
    event: str
    revision: int
    checks: tuple[Check, ...] = ()

    @property
    def instances(self) -> tuple[DeidentifiedInstance, ...]:
        return self.study.released

    @property
    def study_instance_uid(self) -> str:
        return self.study.study_instance_uid

    @property
    def profile_name(self) -> str:
        return self.study.profile

    @property
    def method_digest(self) -> str:
        return self.study.method_digest


@dataclass(frozen=True)
class QuarantinedStudy:
    """Copies that stay, with the checks of which some failed."""

    study: DeidentifiedStudy
    checks: tuple[Check, ...]

    @property
    def reason(self) -> str:
        """What failed, in a sentence without patient data."""
        return "verification failed: " + ", ".join(c.name for c in self.checks if not c.passed)


@dataclass
class Findings:
    """Problems by check, gathered while files are read, and how many things were looked at."""

    problems: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in CHECKS})
    examined: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHECKS, 0))

    def add(self, check: str, place: str) -> None:
        self.problems[check].append(place)

    def merge(self, other: Findings) -> None:
        """Add what was found in another part of the study."""
        for name, places in other.problems.items():
            self.problems[name] += places
            self.examined[name] += other.examined[name]

    def checks(self, accepted: frozenset[str] = frozenset()) -> tuple[Check, ...]:
        """All checks in order, with the first places of each; `accepted` as `conclude` has them."""
        return tuple(self._check(name, accepted) for name in self.problems)

    def _check(self, name: str, accepted: frozenset[str]) -> Check:
        problems, fine = self.problems[name], list[str]()
        if name == acceptance.CHECK:
            problems, fine = acceptance.split_accepted(problems, accepted)
        return Check(
            name,
            not problems,
            len(problems),
            tuple(dict.fromkeys(problems))[:MAXIMUM_PLACES],
            self.examined[name],
            tuple(sorted(Counter(fine).items())),
        )


def conclude(
    study: DeidentifiedStudy,
    request: ReleaseRequest,
    findings: Findings,
    *,
    revision: int,
    accepted: frozenset[str] = frozenset(),
) -> VerifiedStudy | QuarantinedStudy:
    """The verdict over a study whose files have all been read.

    `accepted` are places in which a person has looked at an original value that was found (`domain.acceptance`).
    """
    checks = findings.checks(accepted)
    if any(not check.passed for check in checks):
        return QuarantinedStudy(study, checks)
    return _verified(study, request, revision, checks)


def recall(
    study: DeidentifiedStudy, request: ReleaseRequest, *, verified_manifest: str, revision: int
) -> VerifiedStudy:
    """A study that was verified before, known by its manifest; the caller has compared the files with it.

    Raises:
        Permanent: these are not the instances that were verified.
    """
    if study.manifest_sha256 != verified_manifest:
        raise Permanent("the copies are not those that were verified: de-identify and verify the study again")
    return _verified(study, request, revision, ())


def _verified(
    study: DeidentifiedStudy, request: ReleaseRequest, revision: int, checks: tuple[Check, ...]
) -> VerifiedStudy:
    return VerifiedStudy(
        study=study,
        folder=request.folder,
        project=request.project.name,
        participant=request.participant,
        event=request.event,
        revision=revision,
        checks=checks,
    )


def participant_problem(values: OriginalValues, request: ReleaseRequest) -> str | None:
    """Why the participant tells who the patient is, or None: what de-identification writes is no leak to the search.

    Studies that come pseudonymised keep their PatientID in a project whose naming rule it matches.
    """
    project, participant = request.project, request.participant
    if project.has_naming_rule and project.participant_problem(participant) is None:
        return None
    if not names_patient(participant, values.patient, vocabulary()):
        return None
    return (
        "the participant is the original's PatientID or name, or holds it: choose another, or a naming rule"
    )


def written_values(profile: Profile, request: ReleaseRequest) -> set[str]:
    """Texts that de-identification itself writes."""
    written = {
        request.participant,
        request.project.name,
        request.event,
        EVENT_PREFIX + request.event,
        DUMMY_TEXT,
    }
    return written | set(DUMMIES.values()) | set(_texts(method_elements(profile, request.project)))


def _texts(elements: Iterable[Element]) -> Iterable[str]:
    for element in elements:
        if isinstance(element.value, bytes):
            yield from element.value.decode().split("\\")
        else:
            for item in element.value:
                yield from _texts(item)


def profile_problem(found: Found, rules: Rules, cleaned: Callable[[str], str] | None = None) -> str | None:
    """Why an element may not stand in a copy by the profile, or None: the opposite question to the engine's.

    `cleaned` is the cleaner of free text: what was cleaned does not change when it is cleaned again.
    """
    if len(found.path) == 1 and (found.tag in _WRITTEN_BY_US or found.tag in PIXEL_TAGS):
        return None
    if len(found.path) == 1 and found.tag >> 16 in {0x0002, 0x0012}:
        return f"{found.keyword} is there"
    if found.tag in {0x00100010, 0x00100020, 0x00080050}:
        return None  # made anew at every depth; the residual search sees to the values
    problem = ""
    code = _code(found, rules, len(found.path) - 1, found.declared_vr)
    wrongly_entered = any(
        _code(found, rules, depth, "SQ") not in _ENTERED for depth in range(len(found.path) - 1)
    )
    if code is Code.REMOVE or wrongly_entered:
        problem = "is there"
    elif code is Code.EMPTY and found.value.strip(b" \0"):
        problem = "is not empty"
    elif code is Code.CLEAN and cleaned is not None and _is_unclean(found, cleaned):
        problem = "is not cleaned"
    elif code is Code.TECHNICAL and _is_unknown(found):
        problem = "is not technical text"
    elif found.creator and not _fits(found):
        problem = "is not what the safe list says"
    elif code is Code.REPLACE and any(t not in {"", DUMMY_TEXT, *DUMMIES.values()} for t in found.texts()):
        problem = "is not a dummy"
    return f"{found.keyword} {problem}" if problem else None


def _is_unclean(found: Found, cleaned: Callable[[str], str]) -> bool:
    return found.vr in TEXT and any(cleaned(text) != text for text in found.texts() if text != DUMMY_TEXT)


def _is_unknown(found: Found) -> bool:
    return any(technical.unknown(found.tag, found.vr, text) for text in found.texts() if text != DUMMY_TEXT)


def _fits(found: Found) -> bool:
    row = safe_private(found.creator, canonical(found.tag))
    return row is not None and fits(row, found.declared_vr or "UN", found.value)


def _code(found: Found, rules: Rules, depth: int, vr: str) -> Code:
    """What the profile says of the element at a depth of a path."""
    tag = found.path[depth]
    if not tag >> 16 & 1:
        return rules.code(tag, vr, found.path[:depth])
    if not tag >> 8 & 0xFF:  # a Private Creator: it may stay where the profile keeps private elements at all
        return Code.KEEP if Option.RETAIN_SAFE_PRIVATE in rules.options else Code.REMOVE
    return rules.private(found.creators[depth] if found.creators else "", tag & 0xFFFF00FF, vr)


def stays(found: Found, rules: Rules) -> bool:
    """Whether the profile lets an original's value stay as it is, so that it identifies nobody by its own word."""
    last = len(found.path) - 1
    code = _code(found, rules, last, found.declared_vr)
    kept = code is Code.KEEP or (code is Code.TECHNICAL and not _is_unknown(found))
    return kept and all(_code(found, rules, depth, "SQ") in _KEPT for depth in range(last))


def expected_dates(values: OriginalValues, shift: DateShift) -> set[str]:
    """All date values that a copy may have."""
    moved = {shift.value(vr, text) for vr, text in values.date_texts}
    return moved | {"", DUMMIES["DA"], DUMMIES["DT"]}


def uid_problems(found: Found, project: Project | None = None) -> list[str]:
    """UIDs of an element that are not valid (PS3.5 9.1), nor as the project's scheme makes them."""

    def good(uid: str) -> bool:
        return is_valid_uid(uid) if project is None else is_acceptable_uid(uid, project)

    return [found.keyword for text in found.texts() if text and not good(text)]


def reference_uids(found: Found, rules: Rules) -> list[str]:
    """UIDs by which an element of an original refers to other instances, where the profile lets it stay."""
    if found.vr != "UI" or (len(found.path) == 1 and found.tag in IDENTITY_TAGS):
        return []
    last = len(found.path) - 1
    if _code(found, rules, last, found.declared_vr) not in {Code.UID, Code.KEEP}:
        return []
    if any(_code(found, rules, depth, "SQ") not in _KEPT for depth in range(last)):
        return []
    return [text for text in found.texts() if text and not is_registered(text)]
