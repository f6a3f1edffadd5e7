"""C-ECHO, and what a peer holds of one study."""

from __future__ import annotations

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import Association, Timeouts
from fiona_dagster.adapters.dicom_scu.find import SYNTAXES, Queries, context_of
from fiona_dagster.domain.errors import Transient
from fiona_dagster.settings import DicomPeer

VERIFICATION = "1.2.840.10008.1.1"


def echo(peer: DicomPeer, calling: str, *, timeouts: Timeouts | None = None) -> None:
    """Verify that `peer` answers C-ECHO.

    Raises:
        Transient: it does not answer, or not with Success.
        Permanent: it rejects us, or does not offer Verification.
    """
    with Association(peer, calling, [(VERIFICATION, SYNTAXES)], timeouts or Timeouts()) as association:
        context_id, _ = context_of(association, VERIFICATION, "Verification")
        association.request(messages.C_ECHO_RQ, context_id, 1, VERIFICATION)
        status = association.receive(messages.C_ECHO_RQ, 1).status
    if status != messages.SUCCESS:
        raise Transient(f"{peer} answered C-ECHO with 0x{status:04X}: see its log")


def query_instances(
    peer: DicomPeer, calling: str, study_instance_uid: str, *, timeouts: Timeouts | None = None
) -> frozenset[str]:
    """The SOP Instance UIDs of a study that `peer` says it holds; never a part of them.

    Asks SERIES level first, then IMAGE level with each Series Instance UID: the hierarchical search that PS3.4
    C.4.1.2.1 prescribes, and that some archives insist on.

    Raises:
        Transient: unreachable, or a query that did not end in Success.
        Permanent: it rejects us, or does not offer Study Root queries.
    """
    with Queries(peer, calling, timeouts) as queries:
        return frozenset(
            uid
            for series in queries.series(study_instance_uid)
            for uid in queries.instances(study_instance_uid, series.series_instance_uid)
        )


def count_instances(
    peer: DicomPeer, calling: str, study_instance_uid: str, *, timeouts: Timeouts | None = None
) -> int | None:
    """How many instances a study has at a source; None where the source does not know the study.

    NumberOfStudyRelatedInstances, else the series' NumberOfSeriesRelatedInstances or ImagesInAcquisition (what
    FIONA's moveFromScanner compared), else a count at IMAGE level.

    Raises:
        Transient: unreachable, or a query that did not end in Success.
        Permanent: it rejects us, or does not offer Study Root queries.
    """
    with Queries(peer, calling, timeouts) as queries:
        studies = queries.studies({"StudyInstanceUID": study_instance_uid})
        if not studies:
            return None
        total = sum(study.instances or 0 for study in studies)
        if total:
            return total
        series = queries.series(study_instance_uid)
        counts = [number for one in series if (number := one.instances or one.acquired)]
        if counts and len(counts) == len(series):
            return sum(counts)
        return len({
            uid for one in series for uid in queries.instances(study_instance_uid, one.series_instance_uid)
        })  # fmt: skip
