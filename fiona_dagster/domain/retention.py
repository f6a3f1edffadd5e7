"""What may be deleted now, and why the rest stays: nothing unconfirmed is ever deleted.

FIONA deleted the oldest archive folder above 80 % disk use, whatever had become of it (clearOldFiles). Here a study
goes only when every instance of its newest revision is confirmed at every destination of a transfer, or a person
said so; above the limit with nothing that may go, the answer is a full disk and a list of reasons, never a loss.
Times are seconds since the epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fiona_dagster.domain.transfer import TransferState

STUDY_LIMIT_PERCENT = 80.0
EXPORT_LIMIT_PERCENT = 90.0
LEFTOVER_SECONDS = 1000 * 60.0
"""FIONA's 1000 minutes for `tmp_*`; the same for parts that nobody finished."""
SETTLED_SECONDS = 3600.0
"""How long a study must have been quiet: its last images may still be on their way to us."""


@dataclass(frozen=True)
class DiskUse:
    """Bytes of a file system; `free_bytes` as an unprivileged user may use it."""

    used_bytes: int
    free_bytes: int

    @property
    def percent(self) -> float:
        """As `df` shows it: blocks reserved for root count neither as used nor as free."""
        whole = self.used_bytes + self.free_bytes
        return 100.0 * self.used_bytes / whole if whole else 0.0

    def bytes_above(self, limit_percent: float) -> int:
        """How many bytes must go until use is at the limit; 0 when it is not above."""
        allowed = (self.used_bytes + self.free_bytes) * limit_percent / 100.0
        return max(0, int(self.used_bytes - allowed))


@dataclass(frozen=True)
class TransferStanding:
    """How far a study's transfer into one project is.

    `confirmed_revision` is the newest that the research PACS confirmed, `delivered_revision` the newest confirmed
    at every destination of the project (equal to it where a project has none). `unconfirmed_instances` counts
    instances of the newest revision that are held, failed or not confirmed; those excluded by a rule are done.
    """

    project: str
    state: TransferState
    confirmed_revision: int
    delivered_revision: int
    unconfirmed_instances: int = 0

    def problem(self, revision: int) -> str | None:
        """Why this transfer is not complete for `revision`, or None."""
        if self.state is TransferState.RETIRED:
            return None  # its copies are to be nowhere: nothing is missing there
        if self.state is not TransferState.DELIVERED:
            return f"its transfer into {self.project} is {self.state.value}"
        if self.confirmed_revision < revision:
            return f"its newest revision is not confirmed by the research PACS for {self.project}"
        if self.delivered_revision < revision:
            return f"its newest revision is not delivered for {self.project}"
        if self.unconfirmed_instances:
            return f"{self.unconfirmed_instances} of its instances are not confirmed for {self.project}"
        return None


@dataclass(frozen=True)
class StudyStanding:
    """All that decides whether a study's files may be deleted.

    `instance_count` counts what was received, `arrived_count` what the newest `revision` covers. `ended`: no phase
    is running or due. `given_up`: a person said that it may be deleted although it went nowhere. `aside_count`:
    instances that are held under a known SOP Instance UID with other content.
    """

    study_key: str
    study_instance_uid: str
    last_received_at: float
    instance_count: int
    arrived_count: int
    transfers: tuple[TransferStanding, ...]
    revision: int
    ended: bool
    held_reason: str
    bytes: int
    given_up: bool = False
    aside_count: int = 0


@dataclass(frozen=True)
class Decision:
    """Whether `name` (a study key, package or file) is to be deleted now, with the reason either way."""

    name: str
    delete: bool
    reason: str
    bytes: int = 0


def why_study_stays(study: StudyStanding, *, now: float) -> str | None:
    """Why a study's files may not be deleted, whatever the disk says; None when they may."""
    if now - study.last_received_at < SETTLED_SECONDS:
        return "its last image came less than an hour ago"
    if study.given_up:
        return None
    checks = (
        (study.revision == 0, "it has not arrived completely"),
        (study.arrived_count != study.instance_count, "late images wait"),
        (bool(study.held_reason), "it waits for a person"),
        (study.aside_count > 0, "instances with other content under a known UID wait for a person"),
        (not study.ended, "it is being worked on"),
        (not study.transfers, "it went nowhere yet"),
        (
            all(one.state is TransferState.RETIRED for one in study.transfers),
            "its copies were taken back and it went nowhere else: assign it or give it up",
        ),
    )
    for stays, reason in checks:
        if stays:
            return reason
    problems = (transfer.problem(study.revision) for transfer in study.transfers)
    return next((problem for problem in problems if problem), None)


def choose_studies(
    studies: Iterable[StudyStanding], disk: DiskUse, *, now: float, limit_percent: float = STUDY_LIMIT_PERCENT
) -> tuple[Decision, ...]:
    """Decide for every study, oldest first, until use is at the limit."""
    excess = disk.bytes_above(limit_percent)
    decisions = []
    for study in sorted(studies, key=lambda s: (s.last_received_at, s.study_key)):
        reason = why_study_stays(study, now=now)
        if reason is None and excess <= 0:
            reason = f"the disk is not above {limit_percent:g} %"
        if reason is None:
            excess -= study.bytes
            said = "a person gave it up" if study.given_up else "confirmed everywhere"
        decisions.append(Decision(study.study_key, reason is None, reason or said, study.bytes))
    return tuple(decisions)


@dataclass(frozen=True)
class ExportStanding:
    """A package in the outbox. `pending` counts the destinations that have not confirmed it.

    `confirmed_at`: the last of those that did, in seconds since the epoch. `delivered`: it was moved aside.
    """

    name: str
    bytes: int
    built_at: float
    pending: int
    confirmed: int
    confirmed_at: float = 0.0
    delivered: bool = False

    @property
    def is_confirmed(self) -> bool:
        """Whether every destination has it, and there is one."""
        return self.confirmed > 0 and not self.pending


def choose_exports(
    packages: Iterable[ExportStanding], disk: DiskUse, *, limit_percent: float = EXPORT_LIMIT_PERCENT
) -> tuple[Decision, ...]:
    """Decide for every package, oldest first: only confirmed ones go, and only above the limit."""
    excess = disk.bytes_above(limit_percent)
    decisions = []
    for package in sorted(packages, key=lambda p: (p.built_at, p.name)):
        delete, reason = False, f"the disk is not above {limit_percent:g} %"
        if not package.is_confirmed:
            reason = "not confirmed by every destination"
        elif excess > 0:
            delete, reason = True, "confirmed by every destination"
            excess -= package.bytes
        decisions.append(Decision(package.name, delete, reason, package.bytes))
    return tuple(decisions)


def choose_delivered(packages: Iterable[ExportStanding]) -> tuple[str, ...]:
    """The packages to move aside: those in the outbox that every destination has confirmed."""
    return tuple(sorted(one.name for one in packages if one.is_confirmed and not one.delivered))


def choose_expired(
    packages: Iterable[ExportStanding], *, now: float, keep_days: float
) -> tuple[Decision, ...]:
    """Packages that were moved aside and confirmed long ago; 0 days: none. One that is asked for again stays."""
    decisions = []
    for package in sorted((one for one in packages if one.delivered), key=lambda one: one.name):
        old = keep_days > 0 and now - package.confirmed_at > keep_days * 86_400.0
        reason = f"delivered more than {keep_days:g} days ago" if old else "delivered lately"
        if not package.is_confirmed:
            reason = "not confirmed by every destination"
        decisions.append(Decision(package.name, old and package.is_confirmed, reason, package.bytes))
    return tuple(decisions)


@dataclass(frozen=True)
class Leftover:
    """A file or folder in the outbox. `changed_at` is the newest change of it or of anything in it."""

    name: str
    bytes: int
    changed_at: float


def is_leftover(name: str) -> bool:
    """Whether a name in the outbox is of something unfinished: FIONA's `tmp_*`, or a part of ours."""
    return name.startswith("tmp_") or (name.startswith(".") and name.endswith(".part"))


def choose_leftovers(found: Iterable[Leftover], *, now: float) -> tuple[Decision, ...]:
    """Unfinished work that nobody touched for 1000 minutes goes, whatever the disk says."""
    return tuple(
        Decision(one.name, delete=True, reason="unfinished and untouched for 1000 minutes", bytes=one.bytes)
        for one in sorted(found, key=lambda f: f.name)
        if is_leftover(one.name) and now - one.changed_at > LEFTOVER_SECONDS
    )


@dataclass(frozen=True)
class PartitionStanding:
    """A study's key in Dagster.

    `rests_since` is None while a phase is running or due, else when the study reached its end or began to wait for a
    person (`waits`).
    """

    study_key: str
    rests_since: float | None
    waits: bool = False


def partitions_to_retire(
    partitions: Sequence[PartitionStanding], *, now: float, keep_days: float, cap: int
) -> tuple[Decision, ...]:
    """The partition keys to retire: those long at rest, then as many as bring the set to `cap`, oldest first.

    Above the cap those that ended go before those that wait for a person; what a person or REDCap decides later brings
    a key back. Studies with work that runs or is due keep their key, even above the cap.
    """
    resting = sorted((p.waits, p.rests_since, p.study_key) for p in partitions if p.rests_since is not None)
    long_at_rest = [one for one in resting if now - one[1] > keep_days * 86400.0]
    above = max(0, len(partitions) - len(long_at_rest) - cap)
    too_many = [one for one in resting if now - one[1] <= keep_days * 86400.0][:above]
    return (
        *(_retired(one, f"more than {keep_days:g} days ago") for one in long_at_rest),
        *(_retired(one, f"and more than {cap} keys are in use") for one in too_many),
    )


def _retired(resting: tuple[bool, float, str], why: str) -> Decision:
    waits, _, key = resting
    return Decision(key, delete=True, reason=f"{'waits for a person' if waits else 'ended'}, {why}")


def reasons(decisions: Iterable[Decision], *, deleted: bool) -> dict[str, int]:
    """How many were deleted (or kept) for each reason."""
    return dict(Counter(one.reason for one in decisions if one.delete is deleted))
