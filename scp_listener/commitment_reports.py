"""Reports of Storage Commitment that archives bring over Associations of their own (PS3.4 J.3.3).

The gateway asked for them when it had sent images; most archives answer so, minutes or hours later. The Transaction
UID, 122 random bits that only the archive was told, is what shows that a report is one of those.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pynetdicom import evt

from fiona_dagster.adapters.dicom_scu.commitment import reported
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.errors import Transient
from scp_listener.log import LOG

SUCCESS, PROCESSING_FAILURE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0115
RESOURCE_LIMITATION, NOT_AUTHORISED = 0x0213, 0x0124


class CommitmentReports:
    """Takes N-EVENT-REPORT; durable in the ledger before it is answered."""

    def __init__(
        self, ledger: Ledger, *, may: Callable[[Any], bool], clock: Callable[[], float] = time.time
    ) -> None:
        """`may` tells whether an Association may speak of commitment."""
        self._ledger, self._may, self._clock = ledger, may, clock

    def handlers(self) -> list[tuple[Any, Any]]:
        """What to bind to the server's events."""
        return [(evt.EVT_N_EVENT_REPORT, self._reported)]

    def _reported(self, event: Any) -> tuple[int, None]:
        if not self._may(event.assoc):
            return _refused(NOT_AUTHORISED, "commitment is not for this caller"), None
        try:
            report: Dataset = event.event_information
            transaction, said = reported(report)
        except Exception as error:  # noqa: BLE001  a stranger's data set: pydicom raises many kinds
            return _refused(PROCESSING_FAILURE, f"it cannot be read ({type(error).__name__})"), None
        try:
            ours = self._ledger.asked_commitments.report(
                transaction, said.uids, said.failed, now=self._clock()
            )
        except Transient:
            return _refused(RESOURCE_LIMITATION, "the ledger does not answer"), None
        if not ours:
            return _refused(INVALID_ARGUMENT, "nobody here asked for it"), None
        LOG.info("an archive commits to %d instances, not to %d", len(said.uids), len(said.failed))
        return SUCCESS, None


def _refused(status: int, reason: str) -> int:
    LOG.warning("a commitment report was refused 0x%04X: %s", status, reason)
    return status
