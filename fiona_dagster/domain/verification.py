"""Verification decides whether copies may leave: only here is a `VerifiedStudy` made (law 4).

The checks compare what was read again from disk with the originals; `adapters.releases` reads, this module judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.actions import DUMMIES, DUMMY_TEXT
from fiona_dagster.domain.deid.conventions import EVENT_PREFIX
from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.encoding import Element
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.residuals import OriginalValues
from fiona_dagster.domain.deid.table import is_registered
from fiona_dagster.domain.deid.walk import Found, walk
from fiona_dagster.domain.deidentification import DeidentifiedStudy, ReleaseRequest
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.project import DateMode

CHECKS = (
    "conservation",
    "no_removed_value_left",
    "pixels_unchanged",
    "references_resolve",
    "valid_uids",
    "still_readable",
)
MAXIMUM_PLACES = 20
IDENTITY_TAGS = frozenset({0x00080018, 0x0020000D, 0x0020000E})
"""UIDs by which an instance is known, as opposed to those by which it refers to others."""
_WRITTEN_BY_US = frozenset(
    {
        0x00080005, 0x00080050, 0x00080080, 0x00080090, 0x00100010, 0x00100020,
        0x00200010, 0x00280303, 0x00401002, 0x00402001,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One blocking check. `found` counts problems; `places` names some of them by keyword or path, never by value."""

    name: str
    passed: bool
    found: int
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifiedStudy:
    """Copies that may leave: forwarding and packaging take nothing else."""

    study: DeidentifiedStudy
    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        if [check.name for check in self.checks] != list(CHECKS) or not all(c.passed for c in self.checks):
            raise ValueError("a study is verified when every check has passed")


@dataclass(frozen=True)
class QuarantinedStudy:
    """Copies that stay, with the checks that failed."""

    study: DeidentifiedStudy
    checks: tuple[Check, ...]

    @property
    def reason(self) -> str:
        """What failed, in a sentence without patient data."""
        return "verification failed: " + ", ".join(c.name for c in self.checks if not c.passed)


@dataclass
class Problems:
    """Problems by check, gathered while files are read."""

    found: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in CHECKS})

    def add(self, check: str, place: str) -> None:
        self.found[check].append(place)


def conclude(study: DeidentifiedStudy, problems: Problems) -> VerifiedStudy | QuarantinedStudy:
    """The verdict over a study whose files have all been read."""
    checks = tuple(
        Check(name, not found, len(found), tuple(dict.fromkeys(found))[:MAXIMUM_PLACES])
        for name, found in problems.found.items()
    )
    made = VerifiedStudy if all(check.passed for check in checks) else QuarantinedStudy
    return made(study, checks)


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


def profile_problem(found: Found, profile: Profile, dates: DateMode) -> str | None:
    """Why an element may not stand in a copy by the profile, or None: the opposite question to the engine's."""
    if len(found.path) == 1 and (found.tag in _WRITTEN_BY_US or found.tag >> 16 in {0x0002, 0x0012, 0x7FE0}):
        return None
    if found.tag in {0x00100010, 0x00100020, 0x00080050}:
        return None  # made anew at every depth; the residual search sees to the values
    sequences = [
        tag for tag in found.path[:-1] if profile.code(tag, "SQ", dates) not in {Code.KEEP, Code.REPLACE}
    ]
    code = profile.code(found.tag, found.declared_vr, dates)
    if code is Code.REMOVE or sequences:
        return f"{found.keyword} is there"
    if code is Code.EMPTY and found.value.strip(b" \0"):
        return f"{found.keyword} is not empty"
    if code is Code.REPLACE and any(
        text not in {"", DUMMY_TEXT, *DUMMIES.values()} for text in found.texts()
    ):
        return f"{found.keyword} is not a dummy"
    return None


def expected_dates(values: OriginalValues, shift: DateShift) -> set[str]:
    """All date values that a copy may have."""
    moved = {shift.value(vr, text) for vr, text in values.date_texts}
    return moved | {"", DUMMIES["DA"], DUMMIES["DT"]}


def uid_problems(found: Found) -> list[str]:
    """UIDs of an element that are not valid (PS3.5 9.1)."""
    return [found.keyword for text in found.texts() if text and not is_valid_uid(text)]


def references(dataset: Dataset, profile: Profile, dates: DateMode) -> set[str]:
    """UIDs by which the instance refers to others, outside of what the profile removes."""

    def enter(tag: int, declared_vr: str) -> bool:
        return profile.code(tag, declared_vr or "SQ", dates) is Code.KEEP

    return {
        text
        for found in walk(dataset, enter)
        if found.vr == "UI"
        and not (len(found.path) == 1 and found.tag in IDENTITY_TAGS)
        and profile.code(found.tag, found.declared_vr, dates) in {Code.UID, Code.KEEP}
        for text in found.texts()
        if text and not is_registered(text)
    }
