"""A verified study to a PACS: ask what it has, send what is missing or has changed, ask again (law 5)."""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.adapters.dicom_scu import SendReport, query_instances, send
from fiona_dagster.adapters.ledger.deliveries import Deliveries
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.forwarding import (
    ForwardReceipt,
    changed,
    confirm,
    difference,
    leftovers,
    missing,
    strangers,
)
from fiona_dagster.domain.verification import VerifiedStudy
from fiona_dagster.settings import DicomPeer


def forward(
    verified: VerifiedStudy,
    pacs: DicomPeer,
    calling: str,
    *,
    transfer_id: int,
    identity: str,
    sent: Deliveries,
    clock: Callable[[], float],
) -> ForwardReceipt:
    """Bring `verified` to `pacs`, in one Association, and return only when the PACS confirms all of it.

    Args:
        verified: the copies.
        pacs: the research PACS.
        calling: our AE title.
        transfer_id: of the ledger.
        identity: for whom and by which policy the copies were made (`ReleaseRequest.identity`).
        sent: what the ledger knows of copies that a PACS was given.
        clock: seconds since the epoch.

    Raises:
        Hold: the PACS has copies under the same UIDs that are not this transfer's, or refuses to replace them.
        Transient: the PACS is down, or does not (yet) show everything that it accepted.
        Permanent: it refuses for good.
    """
    released = {one.sop_instance_uid: one.sha256 for one in verified.instances}
    study, here = verified.study_instance_uid, pacs.ae_title
    before = query_instances(pacs, calling, study)
    given = sent.given(here, released.keys() & before)
    other = strangers(released, before, given, transfer_id)
    if other:
        raise Hold(
            f"{here} holds {len(other)} instance(s) under the UIDs of this copy that were made for another "
            "participant or event, or not by this gateway: delete them there, then resend"
        )
    again = changed(released, before, given)
    due = missing(frozenset(released), before) | again
    after = before
    if due:
        wanted = {uid: released[uid] for uid in due}
        sent.note_sending(
            transfer_id, here, identity, wanted, now=clock(), study_instance_uid=study, over=again
        )
        paths = [verified.folder / one.path for one in verified.instances if one.sop_instance_uid in due]
        report = send(paths, pacs, calling)
        sent.note_accepted(
            here, {one.sop_instance_uid: wanted[one.sop_instance_uid] for one in report.stored}
        )
        _hold_where_the_old_stays(report, again, here)
        report.raise_for_failures()
        after = query_instances(pacs, calling, study)
    mine = sent.given_for(transfer_id, here)
    note = difference(
        str(pacs),
        replaced=sum(one.over_another for uid, one in mine.items() if uid in released),
        left=_left(leftovers(released, mine), pacs, calling, study, after),
    )
    return confirm(
        transfer_id=transfer_id,
        revision=verified.revision,
        destination=str(pacs),
        released=frozenset(released),
        present_before=before,
        present_after=after,
        at=clock(),
        sent_again=again,
        note=note,
    )


def _hold_where_the_old_stays(report: SendReport, again: frozenset[str], here: str) -> None:
    """A PACS that refuses nothing but what it holds already will refuse it at every try."""
    refused = [one for one in report.failed if one.sop_instance_uid in again and _is_refusal(one.status)]
    if refused and len(refused) == len(report.failed):
        raise Hold(
            f"{here} refuses {len(refused)} changed instance(s) in place of those that it holds: delete them there, "
            "then resend"
        )


def _is_refusal(status: int | None) -> bool:
    return status is not None and status >> 8 != Status.OUT_OF_RESOURCES >> 8


def _left(
    gone: dict[str, frozenset[str]], pacs: DicomPeer, calling: str, study: str, present: frozenset[str]
) -> int:
    """How many instances a PACS still holds of those that are not released any more; asks for each older study."""
    found = 0
    for older, uids in gone.items():
        there = present if older in ("", study) else query_instances(pacs, calling, older)
        found += len(uids & there)
    return found
