"""A verified study to a PACS: ask what it has, send what is missing, ask again (law 5)."""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.adapters.dicom_scu import query_instances, send
from fiona_dagster.adapters.ledger.deliveries import Deliveries
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.forwarding import ForwardReceipt, confirm, missing, strangers
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
        Hold: the PACS has other copies under the same UIDs.
        Transient: the PACS is down, or does not (yet) show everything that it accepted.
        Permanent: it refuses for good.
    """
    released = frozenset(one.sop_instance_uid for one in verified.instances)
    before = query_instances(pacs, calling, verified.study_instance_uid)
    other = strangers(released, before, sent.sent_identities(pacs.ae_title, released & before), identity)
    if other:
        raise Hold(
            f"{pacs.ae_title} holds {len(other)} instance(s) under the UIDs of this copy that were made for another "
            "participant, event or date policy, or not by this gateway: delete them there, then resend"
        )
    due = missing(released, before)
    after = before
    if due:
        sent.note_sending(transfer_id, pacs.ae_title, identity, due, now=clock())
        paths = [verified.folder / one.path for one in verified.instances if one.sop_instance_uid in due]
        send(paths, pacs, calling).raise_for_failures()
        after = query_instances(pacs, calling, verified.study_instance_uid)
    return confirm(
        transfer_id=transfer_id,
        revision=verified.revision,
        destination=str(pacs),
        released=released,
        present_before=before,
        present_after=after,
        at=clock(),
    )
