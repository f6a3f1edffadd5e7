"""A verified study to a PACS: ask what it has, send what is missing, ask again (law 5)."""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.adapters.dicom_scu import query_instances, send
from fiona_dagster.domain.forwarding import ForwardReceipt, confirm, missing
from fiona_dagster.domain.verification import VerifiedStudy
from fiona_dagster.settings import DicomPeer


def forward(
    verified: VerifiedStudy, pacs: DicomPeer, calling: str, *, transfer_id: int, clock: Callable[[], float]
) -> ForwardReceipt:
    """Bring `verified` to `pacs`, in one Association, and return only when the PACS confirms all of it.

    Raises:
        Transient: the PACS is down, or does not (yet) show everything that it accepted.
        Permanent: it refuses for good.
    """
    released = frozenset(one.sop_instance_uid for one in verified.instances)
    before = query_instances(pacs, calling, verified.study_instance_uid)
    due = missing(released, before)
    after = before
    if due:
        send(
            [verified.folder / one.path for one in verified.instances if one.sop_instance_uid in due],
            pacs,
            calling,
        )
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
