"""Storage Commitment Push Model as SCP (PS3.4 annex J): what is asked for is looked up, then reported.

The report goes over a new Association to the address known for the requester's AE title, else over that of the
request: a requester that we know has usually released it by then, and one that we do not know has to wait there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fiona_dagster.embedded.pacs_responses import ResponseKeeper, leave_responses_to_the_sender
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom import AE
    from pynetdicom.association import Association

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST, ALL_COMMITTED, SOME_FAILED = 1, 1, 2
NO_SUCH_INSTANCE = 0x0112
"""Failure Reason (0008,1197): no such object instance (PS3.4 J.3.3.1.1)."""


class StorageCommitment:
    """Answers N-ACTION and sends the N-EVENT-REPORT after it, on a thread of its own."""

    def __init__(self, ae: AE, holds: Callable[[str], bool], known_peers: Mapping[str, DicomPeer]) -> None:
        self._ae, self._holds, self._known_peers = ae, holds, known_peers
        self._due: WeakKeyDictionary[Any, Dataset] = WeakKeyDictionary()
        self._threads: list[threading.Thread] = []

    def handlers(self) -> list[tuple[Any, Any]]:
        """What to bind to the server's events."""
        from pynetdicom import evt

        return [
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_N_ACTION, self._requested),
            (evt.EVT_PDU_SENT, self._answered),
        ]

    def join(self) -> None:
        """Wait for reports that are under way."""
        for thread in self._threads:
            thread.join()

    def _established(self, event: Any) -> None:
        event.assoc.response_keeper = ResponseKeeper(event.assoc)  # lives and dies with it

    def _requested(self, event: Any) -> tuple[int, None]:
        if event.action_type != REQUEST:
            return 0x0123, None  # no such action type (PS3.7 C.5.14)
        request = event.action_information
        if not request.get("TransactionUID") or not request.get("ReferencedSOPSequence"):
            return 0x0115, None  # invalid argument value (PS3.7 C.5.7)
        self._due[event.assoc] = self._report(request)
        return 0x0000, None

    def _answered(self, event: Any) -> None:
        """The first PDU after the request is its response: the report follows it."""
        report = self._due.pop(event.assoc, None)
        if report is not None:
            thread = threading.Thread(target=self._send, args=(event.assoc, report), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _report(self, request: Dataset) -> Dataset:
        from pydicom.dataset import Dataset

        committed, failed = [], []
        for item in request.ReferencedSOPSequence:
            one = Dataset()
            one.ReferencedSOPClassUID = item.ReferencedSOPClassUID
            one.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
            if self._holds(str(item.ReferencedSOPInstanceUID)):
                committed.append(one)
            else:
                one.FailureReason = NO_SUCH_INSTANCE
                failed.append(one)
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        if committed:
            report.ReferencedSOPSequence = committed
        if failed:
            report.FailedSOPSequence = failed
        return report

    def _send(self, association: Any, report: Dataset) -> None:
        peer = self._known_peers.get(association.requestor.ae_title.strip())
        if (peer is None or not self._reported_anew(peer, report)) and association.is_established:
            with association.response_keeper.waiting():
                _report(association, report)

    def _reported_anew(self, peer: DicomPeer, report: Dataset) -> bool:
        from pynetdicom import build_context, build_role, evt

        association = self._ae.associate(
            peer.host,
            peer.port,
            contexts=[build_context(STORAGE_COMMITMENT)],
            ae_title=peer.ae_title,
            ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)],
            evt_handlers=[(evt.EVT_ESTABLISHED, leave_responses_to_the_sender)],
        )
        if not association.is_established:
            return False
        try:
            return _report(association, report)
        finally:
            association.release()


def _report(association: Association, report: Dataset) -> bool:
    """Send the N-EVENT-REPORT; whether it was answered."""
    kind = SOME_FAILED if "FailedSOPSequence" in report else ALL_COMMITTED
    try:
        status, _ = association.send_n_event_report(report, kind, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE)
    except (RuntimeError, ValueError):  # released in the meantime, or without a context for it
        return False
    return bool(status)
