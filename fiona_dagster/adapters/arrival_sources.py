"""What the source of a study says that it has, by C-FIND."""

from __future__ import annotations

from fiona_dagster.adapters.dicom_scu import Queries, count_instances
from fiona_dagster.adapters.ledger.arrivals import WHOLE_STUDY, SeriesExpectation
from fiona_dagster.settings import DicomPeer


def expectations(peer: DicomPeer, calling: str, study_instance_uid: str) -> list[SeriesExpectation] | None:
    """How many instances each series has; of a source that counts no series, the whole study. None: it is unknown.

    Raises:
        Transient: unreachable, or a query that did not end in Success.
        Permanent: it rejects us, or does not offer Study Root queries.
    """
    with Queries(peer, calling) as queries:
        series = queries.series(study_instance_uid)
    if series and all(one.instances for one in series):
        return [
            SeriesExpectation(one.series_instance_uid, one.modality, one.instances or 0) for one in series
        ]
    whole = count_instances(peer, calling, study_instance_uid)
    return None if whole is None else [SeriesExpectation(WHOLE_STUDY, "", whole)]
