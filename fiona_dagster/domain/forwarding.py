"""When a destination counts as reached: only when it says itself that it holds everything (law 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fiona_dagster.domain.errors import Permanent, Transient


@dataclass(frozen=True)
class ForwardReceipt:
    """What a destination confirmed for one revision of a transfer.

    Counts are SOP Instances: `total` released, of them `already_there` before, `sent` now, `confirmed` by the
    destination afterwards. `confirmed_at` in seconds since the epoch; `destination` as people write it.
    """

    transfer_id: int
    revision: int
    destination: str
    total: int
    already_there: int
    sent: int
    confirmed: int
    confirmed_at: float


def missing(released: frozenset[str], present: frozenset[str]) -> frozenset[str]:
    """SOP Instance UIDs that were released and that the destination does not hold: what has to be sent."""
    return released - present


def strangers(
    released: frozenset[str], present: frozenset[str], known: Mapping[str, str], identity: str
) -> frozenset[str]:
    """UIDs of this release under which a destination holds something else.

    A PACS keeps the first copy it gets under a SOP Instance UID and answers Success to the second. What it has under
    our UIDs is only ours if the ledger knows that it was made for the same participant, event and policy.

    Args:
        released: SOP Instance UIDs of the copies.
        present: those that the destination holds.
        known: identity of what the ledger gave it, by UID.
        identity: of this release.
    """
    return frozenset(uid for uid in released & present if known.get(uid) != identity)


def confirm(
    *,
    transfer_id: int,
    revision: int,
    destination: str,
    released: frozenset[str],
    present_before: frozenset[str],
    present_after: frozenset[str],
    at: float,
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

    Raises:
        Transient: the destination does not hold everything (yet).
        Permanent: nothing was released.
    """
    if not released:
        raise Permanent("nothing was released, so nothing can be confirmed: see what was held")
    lacking = missing(released, present_after)
    if lacking:
        raise Transient(
            f"{destination} does not show {len(lacking)} of {len(released)} instances after they were sent"
        )
    already_there = len(released & present_before)
    return ForwardReceipt(
        transfer_id=transfer_id,
        revision=revision,
        destination=destination,
        total=len(released),
        already_there=already_there,
        sent=len(released) - already_there,
        confirmed=len(released & present_after),
        confirmed_at=at,
    )
