"""When a destination counts as reached: only when it says itself that it holds everything (law 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fiona_dagster.domain.errors import Permanent, Transient


class Unconfirmed(Transient):
    """A destination answers, and does not hold everything that it was sent."""


@dataclass(frozen=True)
class ForwardReceipt:
    """What a destination confirmed for one revision of a transfer.

    Counts are SOP Instances: `total` released, of them `already_there` before, `sent` now, `confirmed` by the
    destination afterwards. `confirmed_at` in seconds since the epoch; `destination` as people write it. `note` is
    what a person should look at there.
    """

    transfer_id: int
    revision: int
    destination: str
    total: int
    already_there: int
    sent: int
    confirmed: int
    confirmed_at: float
    note: str = ""
    confirmed_by: str = "query"
    """See `ConfirmedBy`."""


@dataclass(frozen=True)
class GivenCopy:
    """What a destination was given under a SOP Instance UID.

    `over_another`: it held something else then; `sha256` of the file is empty until it accepted this all the same.
    """

    transfer_id: int
    sha256: str
    study_instance_uid: str
    over_another: bool


def missing(released: frozenset[str], present: frozenset[str]) -> frozenset[str]:
    """SOP Instance UIDs that were released and that the destination does not hold: what has to be sent."""
    return released - present


def strangers(
    released: Collection[str], present: Collection[str], given: Mapping[str, GivenCopy], transfer_id: int
) -> frozenset[str]:
    """UIDs of this release under which a destination holds what is not ours to replace.

    New UIDs depend on project and original alone, so copies for another participant or event have the same. What a
    destination has under them is only ours if the ledger knows that it was given for this transfer.

    Args:
        released: SOP Instance UIDs of the copies.
        present: those that the destination holds.
        given: what the ledger gave it, by UID.
        transfer_id: of this release.
    """
    mine = {uid for uid, one in given.items() if one.transfer_id == transfer_id}
    return frozenset(released) & frozenset(present) - mine


def changed(
    released: Mapping[str, str], present: Collection[str], given: Mapping[str, GivenCopy]
) -> frozenset[str]:
    """UIDs that a destination holds, of copies that are not known to be those that it accepted.

    Args:
        released: SHA-256 of the copies' files, by SOP Instance UID.
        present: UIDs that the destination holds.
        given: what the ledger gave it, by UID.
    """
    return frozenset(uid for uid in present if uid in given and given[uid].sha256 != released.get(uid))


def leftovers(released: Collection[str], given: Mapping[str, GivenCopy]) -> dict[str, frozenset[str]]:
    """UIDs that a destination was given for a transfer and that are not released any more, by their studies' UIDs."""
    gone: defaultdict[str, set[str]] = defaultdict(set)
    for uid in given.keys() - released:
        gone[given[uid].study_instance_uid].add(uid)
    return {study: frozenset(uids) for study, uids in gone.items()}


def difference(destination: str, *, replaced: int, left: int) -> str:
    """What a person should look at in a destination that confirmed everything, or ''.

    A PACS may keep the first copy that it gets under a SOP Instance UID and answer Success to the second; no query
    shows which one it has.

    Args:
        destination: as people write it.
        replaced: instances that it was given while it held others under their UIDs.
        left: instances that it holds and that are not released any more.
    """
    notes = []
    if replaced:
        notes.append(
            f"{destination} was given {replaced} changed instance(s) under UIDs that it held, and may keep the old: "
            "compare, or delete them there and resend"
        )
    if left:
        notes.append(
            f"{destination} holds {left} instance(s) that are not released any more: delete them there"
        )
    return "; ".join(notes)


def confirm(
    *,
    transfer_id: int,
    revision: int,
    destination: str,
    released: frozenset[str],
    present_before: frozenset[str],
    present_after: frozenset[str],
    at: float,
    sent_again: frozenset[str] = frozenset(),
    note: str = "",
) -> ForwardReceipt:
    """The receipt of a destination that counts as reached: it returns a superset of what was released.

    Answers to C-STORE do not count: peers say Success and drop. Nor does an empty release: it reaches nothing.

    Args:
        transfer_id: of the ledger.
        revision: of the release.
        destination: as people write it.
        released: SOP Instance UIDs that were to be there.
        present_before: those that a query returned before sending.
        present_after: those that a query returned after sending.
        at: seconds since the epoch.
        sent_again: those that were there and were sent all the same.
        note: what a person should look at there.

    Raises:
        Unconfirmed: the destination does not hold everything (yet).
        Permanent: nothing was released.
    """
    if not released:
        raise Permanent("nothing was released, so nothing can be confirmed: see what was held")
    lacking = missing(released, present_after)
    if lacking:
        raise Unconfirmed(
            f"{destination} does not show {len(lacking)} of {len(released)} instances after they were sent"
        )
    already_there = len(released & present_before - sent_again)
    return ForwardReceipt(
        transfer_id=transfer_id,
        revision=revision,
        destination=destination,
        total=len(released),
        already_there=already_there,
        sent=len(released) - already_there,
        confirmed=len(released & present_after),
        confirmed_at=at,
        note=note,
    )


class SendingState(StrEnum):
    """Where one transfer stands with one destination."""

    WAITING = "waiting"
    """To be sent, or to be confirmed."""
    CONFIRMED = "confirmed"
    FAILED = "failed"
    """Trying again would not help, or a person must decide."""
    CANCELLED = "cancelled"
    """A person decided that it does not go there."""


class SentState(StrEnum):
    """Where one instance stands with one destination."""

    ACCEPTED = "accepted"
    """It said Success, which is not believed yet."""
    WARNED = "warned"
    """It said that it stored it, with a Warning."""
    REFUSED = "refused"
    LACKING = "lacking"
    """It was sent, and the destination says that it does not have it."""
    CONFIRMED = "confirmed"


class ConfirmedBy(StrEnum):
    """What a confirmation rests on, strongest first."""

    COMMITMENT = "commitment"
    QUERY = "query"
    COUNT = "count"
    ANSWERS = "answers"

    @property
    def warning(self) -> str:
        """What a person should know about it; empty where it names every instance."""
        return {
            ConfirmedBy.COUNT: "confirmed by numbers of instances alone, for it shows no UIDs",
            ConfirmedBy.ANSWERS: "not confirmed by anything but its answers to what was sent",
        }.get(self, "")


@dataclass(frozen=True)
class Holdings:
    """What a destination says that it holds of a release.

    `uids`: SOP Instance UIDs that it names, or that its numbers or answers let us take for stored.
    """

    uids: frozenset[str]
    by: ConfirmedBy
