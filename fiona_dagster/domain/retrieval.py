"""Is everything here that the source has, and what is to be fetched (FIONA's moveFromScanner, fiona-behaviour 2.9).

A study is finished when its source shows at least one instance, never fewer than it showed before, all of them are
here, every procedure step that names the study has ended and what it names is here, and a second look some time later
shows the same. An error, an empty answer or a smaller one finishes nothing. After a day a study is given up.

Only what is missing is fetched, by name where a part of its series is here: archives encode anew what they send
(Orthanc does), and a second encoding of an instance that is here already would be other content under a known UID.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fiona_dagster.domain.procedures import Procedure

NOWHERE = "the source shows no instance of it"
GIVE_UP_SECONDS = 86_400.0
"""FIONA's: a day after it began."""
SETTLE_SECONDS = 60.0
"""Between two looks that must agree; without a procedure step nothing else says that the examination is over, so
that they lie further apart:"""
SETTLE_SECONDS_WITHOUT_STEP = 300.0
AFTER_FETCH_SECONDS = 15.0
"""What was fetched is looked for so soon after."""
BACK_OFF_SECONDS = (15.0, 60.0, 300.0, 900.0, 3600.0)
"""After the first, second ... look that failed, or fetch that brought nothing."""
NAMES_A_REQUEST = 50
"""SOP Instance UIDs in one C-MOVE or C-GET: 3 kB."""
ONE_NAME_AT = 2
"""The so many-th fruitless fetch asks for one instance a request, once, for peers that take no list of them."""
WHOLE_SERIES_AT = 3
"""The so many-th fruitless fetch asks for whole series, once, for peers that know no retrieval at IMAGE level."""


class RetrievalState(StrEnum):
    """FIONA's active-scans, finished-scans and failed-scans."""

    ACTIVE = "active"
    FINISHED = "finished"
    FAILED = "failed"


class Origin(StrEnum):
    """Why a study is looked at."""

    STEP = "step"  # a modality announced it (MPPS)
    ARRIVAL = "arrival"  # images of it came
    DISCOVERY = "discovery"  # the source showed it among its recent studies
    PERSON = "person"  # somebody asked, by command or with a file in active-scans


@dataclass(frozen=True)
class Account:
    """What was seen of a study at its source until now. Times in seconds since the epoch.

    `most`: the most instances ever shown, by Series Instance UID. `confirmed`: the number at which a series was last
    compared by SOP Instance UIDs. `agreed_on`: the numbers of the last look at which all was here, empty otherwise,
    and `agreed_at` when that was first so. `errors` and `fruitless` count in a row.
    """

    site: str
    study_instance_uid: str = field(repr=False)
    source: str
    origin: Origin
    state: RetrievalState
    started_at: float
    next_at: float
    most: Mapping[str, int] = field(default_factory=dict, repr=False)
    confirmed: Mapping[str, int] = field(default_factory=dict, repr=False)
    agreed_on: Mapping[str, int] = field(default_factory=dict, repr=False)
    agreed_at: float | None = None
    errors: int = 0
    fruitless: int = 0
    missing: int = 0
    reason: str = ""
    ended_at: float | None = None

    @property
    def expected(self) -> int:
        """How many instances the source ever showed."""
        return sum(self.most.values())


@dataclass(frozen=True)
class SeriesThere:
    """A series as the source shows it.

    `instances`: the number it gives, None where it gives none. `uids`: its SOP Instance UIDs, None where they were not
    asked or not told.
    """

    series_instance_uid: str = field(repr=False)
    instances: int | None
    uids: frozenset[str] | None = field(default=None, repr=False)

    @property
    def count(self) -> int | None:
        """How many there are: the larger of what it says and what it shows."""
        return self.instances if self.uids is None else max(self.instances or 0, len(self.uids))


@dataclass(frozen=True)
class Fetch:
    """One request: named instances of a series, or all of it."""

    series_instance_uid: str = field(repr=False)
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)


def to_compare(
    account: Account, shown: Sequence[SeriesThere], here: Mapping[str, Collection[str]]
) -> list[str]:
    """The series whose SOP Instance UIDs must be asked for: numbers that say nothing, differ or were not compared."""
    return [
        one.series_instance_uid
        for one in shown
        if one.instances is None
        or one.instances != len(here.get(one.series_instance_uid, ()))
        or account.confirmed.get(one.series_instance_uid) != one.instances
    ]


def after_look(
    account: Account,
    shown: Sequence[SeriesThere],
    here: Mapping[str, Collection[str]],
    steps: Sequence[Procedure],
    *,
    now: float,
    still_coming: bool = False,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> tuple[Account, tuple[Fetch, ...]]:
    """The account after a look that the source answered in full, and what to fetch.

    Args:
        account: as it was before.
        shown: the series of the study; empty where the source shows none.
        here: SOP Instance UIDs by Series Instance UID that were ever received.
        steps: the procedure steps that name the study.
        now: seconds since the epoch.
        still_coming: an Association that carries the study is open, or closed a moment ago: nothing is fetched.
        give_up_seconds: since the account was opened; what could be fetched is asked for once more before.
    """
    counts = {one.series_instance_uid: one.count or 0 for one in shown}
    fewer = any(counts.get(uid, 0) < number for uid, number in account.most.items())
    received = {uid for uids in here.values() for uid in uids}
    missing = {one.series_instance_uid: _missing(one, here, received) for one in shown}
    named = {uid for step in steps for uids in step.expected.values() for uid in uids} - received
    looked = replace(
        account,
        most={uid: max(counts.get(uid, 0), account.most.get(uid, 0)) for uid in {*counts, *account.most}},
        confirmed={
            one.series_instance_uid: count
            for one in shown
            if (count := _confirmed(account, one)) is not None and not missing[one.series_instance_uid]
        },
        errors=0,
        missing=max(sum(missing.values()), len(named)),
        reason=_obstacle(shown, steps, missing=sum(missing.values()), fewer=fewer, named=len(named)),
    )
    if not looked.reason:
        settle = SETTLE_SECONDS if steps else SETTLE_SECONDS_WITHOUT_STEP
        return _agreed(looked, counts, now, settle), ()
    progress = not account.missing or looked.missing < account.missing
    fruitless = 0 if progress else account.fruitless
    fetches = _fetches(shown, missing, here, received, fruitless)
    if still_coming and fetches:
        fetches = ()
        looked = replace(looked, reason=f"{looked.reason}: not asked for while images of it are coming")
    # where the source was away, or images come, it is not for the clock to say that nothing helps
    is_untried = still_coming or bool(fetches and (account.errors or not fruitless))
    wait = SETTLE_SECONDS
    if fetches:
        wait = _back_off(fruitless) if fruitless else AFTER_FETCH_SECONDS
        fruitless += 1
    looked = replace(looked, agreed_on={}, agreed_at=None, fruitless=fruitless, next_at=now + wait)
    given_up = looked if is_untried else _given_up(looked, now, give_up_seconds)
    return given_up, fetches if given_up.state is RetrievalState.ACTIVE else ()


def after_fetch(account: Account, came: int) -> Account:
    """The account after a fetch in which the source sent `came` instances without a failure."""
    return (
        replace(account, reason=f"{came} instances were sent, to be seen at the next look")
        if came
        else account
    )


def after_error(
    account: Account,
    reason: str,
    *,
    now: float,
    lasting: bool = False,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> Account:
    """The account after a look or fetch that failed; `lasting`: trying again soon would not help."""
    errors = account.errors + 1
    wait = BACK_OFF_SECONDS[-1] if lasting else _back_off(errors)
    failed = replace(account, errors=errors, agreed_on={}, agreed_at=None, reason=reason, next_at=now + wait)
    return _given_up(failed, now, give_up_seconds)


def _missing(one: SeriesThere, here: Mapping[str, Collection[str]], received: set[str]) -> int:
    of_series = set(here.get(one.series_instance_uid, ()))
    uids = one.uids or frozenset()
    return max(len(uids - received), (one.count or 0) - len(of_series | (uids & received)), 0)


def _confirmed(account: Account, one: SeriesThere) -> int | None:
    """At which number the series is compared now."""
    if one.uids is not None:
        return one.count
    known = account.confirmed.get(one.series_instance_uid)
    return known if known == one.instances else None


def _obstacle(
    shown: Sequence[SeriesThere], steps: Sequence[Procedure], *, missing: int, fewer: bool, named: int
) -> str:
    """Why the study is not complete; empty when it is."""
    if not shown or not any(one.count for one in shown):
        return NOWHERE
    if fewer:
        return "the source shows fewer instances than before"
    if any(one.count is None for one in shown):
        return "the source does not say how many instances a series has"
    if missing:
        return f"{missing} instances of the source are not here"
    if any(not step.state.is_final for step in steps):
        return "a procedure step has not ended"
    return f"{named} instances that a procedure step names are not here" if named else ""


def _agreed(looked: Account, counts: Mapping[str, int], now: float, settle: float) -> Account:
    """The account after a look at which everything was here."""
    since = looked.agreed_at
    looked = replace(looked, fruitless=0, reason="all is here, to be seen once more")
    if (
        since is None or dict(looked.agreed_on) != dict(counts) or since > now
    ):  # the last: the clock was set back
        return replace(looked, agreed_on=dict(counts), agreed_at=now, next_at=now + settle)
    if now - since < settle:
        return replace(looked, next_at=since + settle)
    return replace(looked, state=RetrievalState.FINISHED, reason="", ended_at=now)


def _given_up(account: Account, now: float, give_up_seconds: float) -> Account:
    if now - account.started_at < give_up_seconds:
        return account
    return replace(account, state=RetrievalState.FAILED, ended_at=now)


def _fetches(
    shown: Sequence[SeriesThere],
    missing: Mapping[str, int],
    here: Mapping[str, Collection[str]],
    received: set[str],
    tried: int,
) -> tuple[Fetch, ...]:
    fetches: list[Fetch] = []
    for one in shown:
        uid = one.series_instance_uid
        if not missing[uid]:
            continue
        part_is_here = bool(here.get(uid)) or bool((one.uids or frozenset()) & received)
        if not part_is_here or tried == WHOLE_SERIES_AT:
            fetches.append(Fetch(uid))
        elif one.uids is not None:
            names = sorted(one.uids - received)
            at_once = NAMES_A_REQUEST if tried != ONE_NAME_AT else 1
            fetches += [
                Fetch(uid, tuple(names[first : first + at_once])) for first in range(0, len(names), at_once)
            ]
        elif tried == 0:
            fetches.append(Fetch(uid))  # it names no instances
    return tuple(fetches)


def _back_off(count: int) -> float:
    return BACK_OFF_SECONDS[min(count, len(BACK_OFF_SECONDS)) - 1]
