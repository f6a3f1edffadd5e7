"""Verification decides whether copies may leave: only here is a `VerifiedStudy` made (law 4).

The checks compare what was read again from disk with the originals; `adapters.releases` reads, this module judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.domain import acceptance
from fiona_dagster.domain.deid.actions import DUMMIES, DUMMY_TEXT
from fiona_dagster.domain.deid.conventions import EVENT_PREFIX
from fiona_dagster.domain.deid.encoding import Element
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.participants import names_patient
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.residuals import vocabulary
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy, ReleaseRequest
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.pixels.masked_attributes import DERIVATIONS

CHECKS = {
    "conservation": "Every source is released, held, excluded or failed, and on disk lie exactly the released files.",
    "no_removed_value_left": "No value that was taken out stands anywhere in the copies, file meta included.",
    "pixels_unchanged": "The pixel data of every copy is the original's, bit by bit, outside of what was masked.",
    "references_resolve": "Every reference inside the study names the copy of what it named before.",
    "valid_uids": "Every UID is valid (PS3.5 9.1).",
    "still_readable": "Every copy can be read, has its required UIDs and the original's transfer syntax.",
}
"""The checks in their order, with what they promise; each is a blocking asset check."""
MAXIMUM_PLACES = 20


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


def participant_problem(
    values: OriginalValues, request: ReleaseRequest, profile_name: str = ""
) -> str | None:
    """Why participant, event or the profile's name tells who the patient is, or None.

    What de-identification itself writes is no leak to the search of copies: it is asked here.
    Studies that come pseudonymised keep their PatientID in a project whose naming rule it matches.
    """
    project, participant = request.project, request.participant
    if request.event and names_patient(request.event, values.patient, vocabulary()):
        return "the event is the original's PatientID or name, or holds it: choose another"
    if profile_name and names_patient(profile_name, values.patient, vocabulary()):
        return "the profile is called as the patient is: give it another name"
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
        *DERIVATIONS,
    }
    return (
        written
        | set(DUMMIES.values())
        | set(_texts(method_elements(profile, request.project, searched=True)))
    )


def _texts(elements: Iterable[Element]) -> Iterable[str]:
    for element in elements:
        if isinstance(element.value, bytes):
            yield from element.value.decode().split("\\")
        else:
            for item in element.value:
                yield from _texts(item)
