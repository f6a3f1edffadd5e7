"""Does an archive have what it was sent? Storage Commitment, else its UIDs, else its numbers (law 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fiona_dagster.adapters.dicom_scu.commitment import NoCommitmentError
from fiona_dagster.adapters.image_peers import ImagePeer
from fiona_dagster.adapters.ledger.breakers import Breakers
from fiona_dagster.domain.commitment import Reference
from fiona_dagster.domain.errors import FionaError, NotOffered, Permanent
from fiona_dagster.domain.forwarding import ConfirmedBy, Holdings
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
) -> Holdings:
    """What `archive` says that it has of a release, by the strongest way that it offers and the project asks for.

    Args:
        archive: the destination.
        study_instance_uid: of the copies.
        released: SOP Class UIDs by SOP Instance UID of the copies.
        accepted: those that it answered Success (or a Warning) to, now or before.
        breakers: where it is kept that an archive sends no reports.
        clock: seconds since the epoch.

    Raises:
        Transient: it does not answer now.
        Permanent: it can be asked in no way that is allowed.
    """
    wanted = archive.confirm
    if wanted is Confirm.ANSWERS:
        return Holdings(accepted & released.keys(), ConfirmedBy.ANSWERS)
    if wanted is Confirm.COUNT:
        return _by_count(archive, study_instance_uid, released, accepted)
    if wanted in (Confirm.BEST, Confirm.COMMITMENT):
        committed = _by_commitment(archive, released, breakers, clock)
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
    archive: ImagePeer, released: Mapping[str, str], breakers: Breakers, clock: Callable[[], float]
) -> Holdings | None:
    insists = archive.confirm is Confirm.COMMITMENT
    if not insists and breakers.silent(archive.key, now=clock()):
        return None
    try:
        uids = archive.committed([Reference(kind, uid) for uid, kind in sorted(released.items())])
    except NoCommitmentError as error:
        if insists:
            raise Permanent(f"{error}: ask its administrator, or set confirm to 'query'") from None
        if error.silent:
            breakers.note_silent(archive.key, until=clock() + SILENT_SECONDS)
        return None
    except FionaError:
        if insists:
            raise
        return (
            None  # some archives abort what they do not know; whether it answers at all, the query will show
        )
    return Holdings(uids, ConfirmedBy.COMMITMENT)


def _by_count(
    archive: ImagePeer, study_instance_uid: str, released: Mapping[str, str], accepted: frozenset[str]
) -> Holdings:
    """Enough instances and an answer to each: nothing tells them apart, so that it is all of them or none."""
    enough = archive.count(study_instance_uid) >= len(released)
    return Holdings(accepted & released.keys() if enough else frozenset(), ConfirmedBy.COUNT)
