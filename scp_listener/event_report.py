"""N-EVENT-REPORT on an Association that its peer opened (PS3.7 section 10.1.1), beside whatever else goes on there.

pynetdicom's own request would take the next message of the peer for its answer, also where that is another request.
Here the message queue's public door, `get_msg`, keeps answers to our reports for who waits for them.
"""

from __future__ import annotations

import queue
import threading
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

_LARGEST_MESSAGE_ID = 0xFFFF


class ReportChannel:
    """Sends reports on one Association; made by the Association's own thread."""

    def __init__(self, association: Any) -> None:
        self._association = association
        self._take = association.dimse.get_msg
        self._answers: dict[int, queue.SimpleQueue[int | None]] = {}
        self._due: queue.SimpleQueue[tuple[N_EVENT_REPORT, int]] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._last_id = 0
        association.dimse.get_msg = self._get_msg

    @classmethod
    def of(cls, association: Any) -> ReportChannel:
        """The channel of an Association, made where it has none."""
        channel: ReportChannel | None = getattr(association, "report_channel", None)
        if channel is None:
            channel = association.report_channel = cls(association)
        return channel

    @property
    def is_open(self) -> bool:
        """Whether the peer could still answer."""
        return bool(self._association.is_established)

    def send(
        self,
        context: Any,
        report: Dataset,
        event_type: int,
        sop_class: str,
        sop_instance: str,
        *,
        seconds: float,
    ) -> int | None:
        """Send a report in an accepted Presentation Context; its Status, None without an answer in time."""
        syntax = UID(context.transfer_syntax)
        encoded = encode(report, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        if encoded is None:
            raise ValueError("the report cannot be encoded")
        request = N_EVENT_REPORT()
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(sop_class), UID(sop_instance)
        request.EventTypeID, request.EventInformation = event_type, BytesIO(encoded)
        answer: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        with self._turn:
            self._last_id = self._last_id % _LARGEST_MESSAGE_ID + 1
            request.MessageID = self._last_id
            self._answers[request.MessageID] = answer
        try:
            self._deliver(request, context.context_id)
            return self._await(answer, seconds)
        finally:
            del self._answers[request.MessageID]

    def _deliver(self, request: N_EVENT_REPORT, context_id: int) -> None:
        turn = getattr(self._association.dul, "turn", None)
        if turn is None or self._association.dul.is_alive():
            self._due.put(
                (request, context_id)
            )  # the Association's thread polls and sends it between two messages
            return
        with turn:  # whole: no other message between its fragments
            if self.is_open:
                self._association.dimse.send_msg(request, context_id)

    def _await(self, answer: queue.SimpleQueue[int | None], seconds: float) -> int | None:
        step = 0.2
        while seconds > 0 and self.is_open:
            try:
                return answer.get(timeout=min(step, seconds))
            except queue.Empty:
                seconds -= step
        try:
            return answer.get_nowait()
        except queue.Empty:
            return None

    def _get_msg(self, block: bool = False) -> Any:
        while not block and not self._due.empty():
            self._association.dimse.send_msg(*self._due.get())
        context_id, message = self._take(block)
        if isinstance(message, N_EVENT_REPORT) and message.MessageIDBeingRespondedTo is not None:
            waiting = self._answers.get(message.MessageIDBeingRespondedTo)
            if waiting is not None:
                waiting.put(message.Status)
            return None, None
        return context_id, message
