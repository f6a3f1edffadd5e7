"""Does an archive have what it was sent? Storage Commitment, else its UIDs, else its numbers (law 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fiona_dagster.adapters.commitment_book import AWAITED_SECONDS, CommitmentBook
from fiona_dagster.adapters.dicom_scu.commitment import NoCommitmentError
from fiona_dagster.adapters.image_peers import ImagePeer
from fiona_dagster.adapters.ledger.breakers import Breakers
from fiona_dagster.domain.commitment import Reference
from fiona_dagster.domain.errors import FionaError, NotOffered, Permanent
from fiona_dagster.domain.forwarding import ConfirmedBy, Holdings, Unconfirmed
from fiona_dagster.domain.image_destinations import Confirm

SILENT_SECONDS = 86_400.0
"""As long an archive that sent no report of Storage Commitment is not asked for any."""


def holdings(
    archive: ImagePeer,
    study_instance_uid: str,
    released: Mapping[str, str],
    accepted: frozenset[str],
    breakers: Breakers,
    clock: Callable[[], float],
    book: CommitmentBook,
    sent_at: Mapping[str, float],
) -> Holdings:
    """What `archive` says that it has of a release, by the strongest way that it offers and the project asks for.

    Args:
        archive: the destination.
        study_instance_uid: of the copies.
        released: SOP Class UIDs by SOP Instance UID of the copies.
        accepted: those that it answered Success (or a Warning) to, now or before.
        breakers: where it is kept that an archive sends no reports.
        clock: seconds since the epoch.
        book: what it was asked to commit to, and what it reported.
        sent_at: of what was sent in this attempt; what it reported of a request before that says nothing of it.

    Raises:
        Unconfirmed: its report of Storage Commitment is awaited, and nothing else will do.
        Transient: it does not answer now.
        Permanent: it can be asked in no way that is allowed.
    """
    wanted = archive.confirm
    if wanted is Confirm.ANSWERS:
        return Holdings(accepted & released.keys(), ConfirmedBy.ANSWERS)
    if wanted is Confirm.COUNT:
        return _by_count(archive, study_instance_uid, released, accepted)
    if wanted in (Confirm.BEST, Confirm.COMMITMENT):
        committed = _by_commitment(archive, released, breakers, clock, book, sent_at)
        if committed is not None:
            return committed
    try:
        uids = archive.instances(study_instance_uid)
    except NotOffered as error:
        raise Permanent(
            f"{error}; without it, and without Storage Commitment, nobody knows what it has kept: if its answers must "
            "do, set confirm to 'answers'"
        ) from None
    if not uids and accepted and wanted is Confirm.BEST:  # it may show studies, but no instances
        return _by_count(archive, study_instance_uid, released, accepted)
    return Holdings(uids, ConfirmedBy.QUERY)


def _by_commitment(
    archive: ImagePeer, released: Mapping[str, str], breakers: Breakers, clock: Callable[[], float],
    book: CommitmentBook, sent_at: Mapping[str, float],
) -> Holdings | None:  # fmt: skip
    insists = archive.confirm is Confirm.COMMITMENT
    said = book.said()
    held = frozenset(
        uid for uid, at in said.committed.items() if uid in released and at >= sent_at.get(uid, at)
    )
    oldest = clock() - AWAITED_SECONDS
    awaited = {uid for uid, at in said.awaited.items() if at >= max(sent_at.get(uid, at), oldest)}
    due = released.keys() - held - awaited
    if not due and not released.keys() - held:
        return Holdings(held, ConfirmedBy.COMMITMENT)
    if not insists and breakers.silent(archive.key, now=clock()):
        return None
    if due:
        try:
            held |= archive.committed([Reference(released[uid], uid) for uid in sorted(due)], book)
        except NoCommitmentError as error:
            if insists and not error.silent:
                raise Permanent(f"{error}: ask its administrator, or set confirm to 'query'") from None
            if error.silent:
                breakers.note_silent(archive.key, until=clock() + SILENT_SECONDS)
            awaited |= due
        except FionaError:
            if insists:
                raise
            return None  # some archives abort what they do not know; the query will show whether it answers
    if not released.keys() & awaited - held:
        return Holdings(held, ConfirmedBy.COMMITMENT)
    if not insists:
        return None
    raise Unconfirmed(
        f"{archive.key} has not yet reported what it commits to: it must know the address of our receiver as that of "
        "our AE title, and may report for a day"
    )


def _by_count(
    archive: ImagePeer, study_instance_uid: str, released: Mapping[str, str], accepted: frozenset[str]
) -> Holdings:
    """Enough instances and an answer to each: nothing tells them apart, so that it is all of them or none."""
    enough = archive.count(study_instance_uid) >= len(released)
    return Holdings(accepted & released.keys() if enough else frozenset(), ConfirmedBy.COUNT)
