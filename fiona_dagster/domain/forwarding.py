"""When a destination counts as reached: only when it says itself that it holds everything (law 5)."""

from __future__ import annotations

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
