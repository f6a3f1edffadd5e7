"""C-MOVE as SCU (PS3.4 C.4.2): a peer stores what we name at an AE title that it knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import Association, Timeouts
from fiona_dagster.adapters.dicom_scu.find import (
    CANCEL_SECONDS,
    IMPLICIT_VR_LITTLE_ENDIAN,
    SYNTAXES,
    context_of,
    encoded_identifier,
)
from fiona_dagster.adapters.dicom_scu.messages import Response
from fiona_dagster.adapters.dicom_scu.suboperations import RetrieveReport, report_of
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.settings import DicomPeer

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"


class Moves(Association):
    """An Association for Study Root retrievals to `destination`, one after the other."""

    def __init__(
        self, peer: DicomPeer, calling: str, destination: str, timeouts: Timeouts | None = None
    ) -> None:
        """Connect and negotiate.

        Raises:
            Transient: no Association for now.
            Permanent: it rejects us, or does not offer Study Root C-MOVE.
        """
        super().__init__(peer, calling, [(STUDY_ROOT_MOVE, SYNTAXES)], timeouts or Timeouts())
        self._destination, self._message_id = destination, 0
        try:
            self._context_id, self._syntax = context_of(self, STUDY_ROOT_MOVE, "Study Root C-MOVE")
        except Permanent:
            self.release()
            raise

    def move(
        self,
        study_instance_uid: str,
        series_instance_uid: str = "",
        sop_instance_uids: Sequence[str] = (),
        *,
        progress: Callable[[Response], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> RetrieveReport:
        """Have a study, one of its series, or named instances of a series moved, and wait for the end.

        Args:
            study_instance_uid: always named.
            series_instance_uid: empty: the whole study.
            sop_instance_uids: empty: the whole series.
            progress: called with every pending response.
            cancelled: asked after every pending response; true sends a C-CANCEL, once.

        Raises:
            Transient: the Association was lost, or a response or the end did not come in time; it is then aborted.
        """
        level, keys = identifier_of(study_instance_uid, series_instance_uid, sop_instance_uids)
        self._message_id = self._message_id % 0xFFFF + 1
        self.request(
            messages.C_MOVE_RQ,
            self._context_id,
            self._message_id,
            STUDY_ROOT_MOVE,
            encoded_identifier(level, keys, self._syntax),
            move_destination=self._destination,
        )
        deadline, stopped = time.monotonic() + self.timeouts.whole, False
        while True:
            left = max(deadline - time.monotonic(), 0.001)
            answer = self.receive(messages.C_MOVE_RQ, self._message_id, timeout=left)
            if answer.status not in messages.PENDING:
                return report_of(
                    self.peer,
                    answer,
                    implicit_vr=self._syntax == IMPLICIT_VR_LITTLE_ENDIAN,
                    cancelled=stopped,
                    destination=self._destination,
                )
            if progress is not None:
                progress(answer)
            if not stopped and cancelled():
                stopped = True
                self.cancel(self._context_id, self._message_id)
                deadline = min(deadline, time.monotonic() + CANCEL_SECONDS)


def identifier_of(
    study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """Level and unique keys of a Study Root retrieval (PS3.4 C.4.2.1.4): one value above the level, a list on it."""
    keys = {"StudyInstanceUID": study_instance_uid}
    if not series_instance_uid:
        return "STUDY", keys
    keys["SeriesInstanceUID"] = series_instance_uid
    if not sop_instance_uids:
        return "SERIES", keys
    keys["SOPInstanceUID"] = "\\".join(sop_instance_uids)
    return "IMAGE", keys
