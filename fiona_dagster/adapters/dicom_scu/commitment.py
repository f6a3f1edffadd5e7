"""Storage Commitment as SCU: the peer itself takes responsibility for instances (PS3.4 annex J).

The N-EVENT-REPORT is awaited on the Association of the request. A peer that would rather call back stays silent
there; what to do then is the caller's matter.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

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
_IMPLICIT = "1.2.840.10008.1.2"
_SYNTAXES = (_IMPLICIT, "1.2.840.10008.1.2.1")
_ELEMENT = struct.Struct("<HHL")


@dataclass(frozen=True)
class Committed:
    """What a peer said about instances. `failed`: its Failure Reason by SOP Instance UID (PS3.3 C.14.1.1)."""

    uids: frozenset[str]
    failed: Mapping[str, int]


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
) -> Committed:
    """Ask `peer` to commit to `references`, and wait for its report.

    Args:
        peer: the SCP.
        calling: our AE title.
        references: what it should have.
        seconds: how long to wait for each report.
        timeouts: in seconds.

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
            report = _ask(association, number + 1, part, seconds)
            asked = {one.sop_instance_uid for one in part}
            uids |= asked & {
                str(one.ReferencedSOPInstanceUID) for one in report.get("ReferencedSOPSequence") or ()
            }
            failed |= {
                str(one.ReferencedSOPInstanceUID): int(one.get("FailureReason") or 0x0110)
                for one in report.get("FailedSOPSequence") or ()
            }
    return Committed(frozenset(uids - failed.keys()), failed)


def _ask(
    association: Association, message_id: int, references: Sequence[Reference], seconds: float
) -> Dataset:
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    asked = Dataset()
    asked.TransactionUID = generate_uid(prefix="2.25.")
    asked.ReferencedSOPSequence = [_item(one) for one in references]
    (_, syntax), context_id = next(iter(association.accepted.items()))
    implicit = syntax == _IMPLICIT
    _send(association, context_id, _request(message_id), _encode(asked, implicit=implicit))
    deadline = time.monotonic() + association.timeouts.dimse
    answered, report = False, None
    while not answered or report is None:
        try:
            message = association.next_message(max(deadline - time.monotonic(), 0.001))
        except Transient:
            if not answered:
                raise
            raise NoCommitmentError(
                f"{association.peer} sent no report of Storage Commitment", silent=True
            ) from None
        if _number(message.command, 0x0100) == N_EVENT_REPORT_RQ:
            found = _decode(message.data_set, implicit=implicit)
            _send(association, message.context_id, _report_response(message.command))
            if str(found.get("TransactionUID")) == str(asked.TransactionUID):  # else of a request before
                report = found
            continue
        answer = association.matching(message, N_ACTION_RQ, message_id)
        if answer.status != messages.SUCCESS:
            raise NoCommitmentError(f"{association.peer} refuses to commit (0x{answer.status:04X})")
        answered, deadline = True, time.monotonic() + seconds
    return report


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
