"""Storage Commitment as SCU: the peer itself takes responsibility for instances (PS3.4 annex J).

The N-EVENT-REPORT is awaited on the Association of the request, and in the book where the receiver notes what peers
report over Associations of their own. What to do about a peer that is silent for longer is the caller's matter.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import (
    P_DATA_HEAD_LENGTH,
    Association,
    Timeouts,
    write_p_data_head,
)
from fiona_dagster.domain.commitment import (
    REQUEST_COMMITMENT,
    STORAGE_COMMITMENT,
    WELL_KNOWN_INSTANCE,
    Reference,
)
from fiona_dagster.domain.errors import Transient
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom import Dataset

N_ACTION_RQ, N_EVENT_REPORT_RQ = 0x0130, 0x0100
REPORT_SECONDS = 10.0
"""As long a report is awaited on the Association of its request."""
REFERENCES_A_REQUEST = 2_000
_LOOK_SECONDS = 0.5
"""As often the book is looked into."""
_IMPLICIT = "1.2.840.10008.1.2"
_SYNTAXES = (_IMPLICIT, "1.2.840.10008.1.2.1")
_ELEMENT = struct.Struct("<HHL")


@dataclass(frozen=True)
class Committed:
    """What a peer said about instances. `failed`: its Failure Reason by SOP Instance UID (PS3.3 C.14.1.1)."""

    uids: frozenset[str]
    failed: Mapping[str, int]


class Book(Protocol):
    """Where requests are noted before they are sent, and reports that come elsewhere."""

    def ask(self, transaction_uid: str, uids: Sequence[str]) -> None: ...
    def refused(self, transaction_uid: str) -> None: ...
    def report(self, transaction_uid: str, said: Committed) -> None: ...
    def outcome(self, transaction_uid: str) -> Committed | None: ...


class NoCommitmentError(Exception):
    """The peer does not offer Storage Commitment, or refuses the request. `silent`: its report did not come."""

    def __init__(self, problem: str, *, silent: bool = False) -> None:
        self.silent = silent
        super().__init__(problem)


def ask_commitment(
    peer: DicomPeer,
    calling: str,
    references: Sequence[Reference],
    *,
    seconds: float = REPORT_SECONDS,
    timeouts: Timeouts | None = None,
    book: Book | None = None,
) -> Committed:
    """Ask `peer` to commit to `references`, and wait for its report.

    Args:
        peer: the SCP.
        calling: our AE title.
        references: what it should have.
        seconds: how long to wait for each report.
        timeouts: in seconds.
        book: where a report is noted that comes over another Association, or later.

    Raises:
        NoCommitmentError: it cannot be asked this, so that something else must be.
        Transient: no Association came about, or it was lost before the request was answered.
        Permanent: it rejects us.
    """
    uids: set[str] = set()
    failed: dict[str, int] = {}
    with Association(peer, calling, [(STORAGE_COMMITMENT, _SYNTAXES)], timeouts or Timeouts()) as association:
        if not association.accepted:
            association.release()
            raise NoCommitmentError(f"{peer} does not offer Storage Commitment")
        for number, first in enumerate(range(0, len(references), REFERENCES_A_REQUEST)):
            part = references[first : first + REFERENCES_A_REQUEST]
            said = _ask(association, number + 1, part, seconds, book)
            asked = {one.sop_instance_uid for one in part}
            uids |= asked & said.uids
            failed |= said.failed
    return Committed(frozenset(uids - failed.keys()), failed)


def _ask(
    association: Association, message_id: int, references: Sequence[Reference], seconds: float,
    book: Book | None,
) -> Committed:  # fmt: skip
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    asked = Dataset()
    asked.TransactionUID = transaction = generate_uid(prefix="2.25.")
    asked.ReferencedSOPSequence = [_item(one) for one in references]
    (_, syntax), context_id = next(iter(association.accepted.items()))
    request = _Request(association, transaction, message_id, book, implicit=syntax == _IMPLICIT)
    if book is not None:  # before it is sent: the report may be here before its response
        book.ask(transaction, [one.sop_instance_uid for one in references])
    encoded = _encode(asked, implicit=syntax == _IMPLICIT)
    _send(association, context_id, _request(message_id), encoded)
    deadline = time.monotonic() + association.timeouts.dimse
    while not request.is_answered:
        request.take(deadline)
    return request.await_report(time.monotonic() + seconds)


class _Request:
    """One N-ACTION under way, with what has come for it."""

    def __init__(
        self,
        association: Association,
        transaction: str,
        message_id: int,
        book: Book | None,
        *,
        implicit: bool,
    ) -> None:
        self._association, self._transaction, self._message_id = association, transaction, message_id
        self._book, self._implicit = book, implicit
        self._report: Committed | None = None
        self.is_answered = False

    def await_report(self, deadline: float) -> Committed:
        """The report, over this Association or as the book has it."""
        is_open = True
        while self._report is None and (left := deadline - time.monotonic()) > 0:
            step = left if self._book is None else min(_LOOK_SECONDS, left)
            if is_open and self._association.has_more(step):
                try:
                    self.take(deadline)
                except Transient:
                    is_open = False
                    if self._book is None:
                        break
            elif not is_open:
                time.sleep(step)  # the receiver is another process: the ledger tells
            if self._report is None and self._book is not None:
                self._report = self._book.outcome(self._transaction)
        if self._report is None:
            raise NoCommitmentError(
                f"{self._association.peer} sent no report of Storage Commitment", silent=True
            )
        return self._report

    def take(self, deadline: float) -> None:
        """The next message: the response to the request, or a report.

        Raises:
            NoCommitmentError: the request was refused.
            Transient: the Association is lost, or nothing came.
        """
        message = self._association.next_message(max(deadline - time.monotonic(), 0.001))
        if _number(message.command, 0x0100) == N_EVENT_REPORT_RQ:
            uid, said = reported(_decode(message.data_set, implicit=self._implicit))
            if self._book is not None:  # also one of a request before
                self._book.report(uid, said)
            _send(self._association, message.context_id, _report_response(message.command))
            if uid == self._transaction:
                self._report = said
            return
        answer = self._association.matching(message, N_ACTION_RQ, self._message_id)
        if answer.status != messages.SUCCESS:
            if self._book is not None:
                self._book.refused(self._transaction)
            raise NoCommitmentError(f"{self._association.peer} refuses to commit (0x{answer.status:04X})")
        self.is_answered = True


def reported(report: Dataset) -> tuple[str, Committed]:
    """Transaction UID and outcome of the Event Information of a report (PS3.4 table J.3-2)."""
    failed = {
        str(one.get("ReferencedSOPInstanceUID") or ""): int(one.get("FailureReason") or 0x0110)
        for one in report.get("FailedSOPSequence") or ()
    }
    committed = {
        str(one.get("ReferencedSOPInstanceUID") or "") for one in report.get("ReferencedSOPSequence") or ()
    }
    return str(report.get("TransactionUID") or ""), Committed(frozenset(committed - failed.keys()), failed)


def _item(reference: Reference) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _encode(data_set: Dataset, *, implicit: bool) -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, True
    write_dataset(stream, data_set)
    return bytes(stream.getvalue())


def _decode(encoded: bytes, *, implicit: bool) -> Dataset:
    from pydicom.filereader import read_dataset

    return read_dataset(BytesIO(encoded), implicit, True)  # noqa: FBT003 — pydicom's order


def _send(association: Association, context_id: int, command: bytes, data_set: bytes = b"") -> None:
    association.send(_pdu(command, context_id, command=True))
    step = association.maximum_pdu - 6
    for at in range(0, len(data_set), step):
        association.send(
            _pdu(data_set[at : at + step], context_id, command=False, last=at + step >= len(data_set))
        )


def _request(message_id: int) -> bytes:
    """The command set of the N-ACTION (PS3.7 table 10.3-7)."""
    return _command({
        0x0003: _uid(STORAGE_COMMITMENT), 0x0100: _short(N_ACTION_RQ), 0x0110: _short(message_id),
        0x0800: _short(0x0001), 0x1001: _uid(WELL_KNOWN_INSTANCE), 0x1008: _short(REQUEST_COMMITMENT),
    })  # fmt: skip


def _report_response(request: Mapping[int, bytes]) -> bytes:
    """The command set that answers an N-EVENT-REPORT (PS3.7 table 10.3-2)."""
    return _command({
        0x0002: _uid(STORAGE_COMMITMENT), 0x0100: _short(N_EVENT_REPORT_RQ | messages.RESPONSE),
        0x0120: request.get(0x0110, b"\0\0"), 0x0800: _short(messages.NO_DATA_SET), 0x0900: _short(0),
        0x1000: _uid(WELL_KNOWN_INSTANCE), 0x1002: request.get(0x1002, b"\0\0"),
    })  # fmt: skip


def _command(elements: Mapping[int, bytes]) -> bytes:
    body = b"".join(_ELEMENT.pack(0, number, len(value)) + value for number, value in elements.items())
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def _pdu(content: bytes, context_id: int, *, command: bool, last: bool = True) -> bytes:
    buffer = bytearray(P_DATA_HEAD_LENGTH) + content
    write_p_data_head(buffer, 0, len(content), context_id, command=command, last=last)
    return bytes(buffer)


def _number(command: Mapping[int, bytes], element: int) -> int:
    return int.from_bytes(command.get(element, b""), "little")


def _short(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _uid(value: str) -> bytes:
    return value.encode("ascii") + b"\0" * (len(value) % 2)
