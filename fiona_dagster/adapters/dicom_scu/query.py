"""C-ECHO and C-FIND (Study Root) as SCU: what a peer holds. A query that does not end in Success answers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import Association, Timeouts
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)


def echo(peer: DicomPeer, calling: str, *, timeouts: Timeouts | None = None) -> None:
    """Verify that `peer` answers C-ECHO.

    Raises:
        Transient: it does not answer, or not with Success.
        Permanent: it rejects us, or does not offer Verification.
    """
    with Association(peer, calling, [(VERIFICATION, _SYNTAXES)], timeouts or Timeouts()) as association:
        context_id, _ = _context(association, VERIFICATION, "Verification")
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
    with _Queries(peer, calling, timeouts) as queries:
        return frozenset(
            uid for series in queries.series(study_instance_uid) for uid in queries.images(study_instance_uid, series)
        )  # fmt: skip


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
    with _Queries(peer, calling, timeouts) as queries:
        studies = queries.find("STUDY", StudyInstanceUID=study_instance_uid, NumberOfStudyRelatedInstances="")
        if not studies:
            return None
        total = sum(_number(study, "NumberOfStudyRelatedInstances") for study in studies)
        if total:
            return total
        series = queries.find(
            "SERIES",
            StudyInstanceUID=study_instance_uid,
            SeriesInstanceUID="",
            NumberOfSeriesRelatedInstances="",
            ImagesInAcquisition="",
        )
        counts = {
            str(one.get("SeriesInstanceUID", "")): _number(one, "NumberOfSeriesRelatedInstances")
            or _number(one, "ImagesInAcquisition")
            for one in series
        }
        if counts and all(counts.values()):
            return sum(counts.values())
        return len({uid for one in counts for uid in queries.images(study_instance_uid, one)})


class _Queries(Association):
    """An Association for Study Root queries."""

    def __init__(self, peer: DicomPeer, calling: str, timeouts: Timeouts | None) -> None:
        super().__init__(peer, calling, [(STUDY_ROOT_FIND, _SYNTAXES)], timeouts or Timeouts())
        try:
            self._context_id, self._syntax = _context(self, STUDY_ROOT_FIND, "Study Root Query")
        except Permanent:
            self.release()
            raise
        self._message_id = 0

    def series(self, study_instance_uid: str) -> list[str]:
        found = self.find("SERIES", StudyInstanceUID=study_instance_uid, SeriesInstanceUID="")
        return sorted({str(one.SeriesInstanceUID) for one in found if one.get("SeriesInstanceUID")})

    def images(self, study_instance_uid: str, series_instance_uid: str) -> set[str]:
        found = self.find(
            "IMAGE",
            StudyInstanceUID=study_instance_uid,
            SeriesInstanceUID=series_instance_uid,
            SOPInstanceUID="",
        )
        return {str(one.SOPInstanceUID) for one in found if one.get("SOPInstanceUID")}

    def find(self, level: str, **keys: str) -> list[Dataset]:
        """All matches of one query.

        Raises:
            Transient: it did not end in Success, or a match cannot be read or is of another study.
        """
        from pydicom.dataset import Dataset
        from pynetdicom.dsutils import encode

        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        encoded = encode(identifier, self._syntax == IMPLICIT_VR_LITTLE_ENDIAN, True)  # noqa: FBT003
        if encoded is None:
            raise Permanent("the query cannot be encoded: the study has no usable Study Instance UID")
        self._message_id += 1
        self.request(messages.C_FIND_RQ, self._context_id, self._message_id, STUDY_ROOT_FIND, encoded)
        matches: list[Dataset] = []
        while True:
            answer = self.receive(messages.C_FIND_RQ, self._message_id)
            if answer.status == messages.SUCCESS:
                return matches
            if answer.status not in messages.PENDING:
                raise Transient(
                    f"{self.peer} ended a query at {level} level with 0x{answer.status:04X}: see its log"
                )
            matches.append(self._match(answer.data_set, keys["StudyInstanceUID"]))

    def _match(self, data_set: bytes, study_instance_uid: str) -> Dataset:
        from io import BytesIO

        from pynetdicom.dsutils import decode

        try:
            match = decode(BytesIO(data_set), self._syntax == IMPLICIT_VR_LITTLE_ENDIAN, True)  # noqa: FBT003
            of_study = str(match.get("StudyInstanceUID", "") or study_instance_uid)
        except Exception:  # noqa: BLE001 — pydicom raises many kinds, and their texts hold values
            raise Transient(f"{self.peer} sent a match that cannot be read: see its log") from None
        if of_study != study_instance_uid:
            raise Transient(f"{self.peer} answered with another study: it ignores the Study Instance UID")
        return match


def _context(association: Association, abstract_syntax: str, name: str) -> tuple[int, str]:
    for (proposed, syntax), context_id in association.accepted.items():
        if proposed == abstract_syntax:
            return context_id, syntax
    raise Permanent(f"{association.peer} does not offer {name}: ask its administrator to enable it for us")


def _number(match: Dataset, keyword: str) -> int:
    """A count, 0 where the peer gave none or something else."""
    try:
        return max(int(str(match.get(keyword, "") or 0)), 0)
    except ValueError:
        return 0
