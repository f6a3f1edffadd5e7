"""N-EVENT-REPORT of Storage Commitment over an Association of ours: the SCP calls its SCU (PS3.4 J.3.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import (
    P_DATA_HEAD_LENGTH,
    Association,
    Timeouts,
    write_p_data_head,
)
from fiona_dagster.domain.commitment import STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom import Dataset

N_EVENT_REPORT_RQ = 0x0100
_MESSAGE_ID = 1
_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_ELEMENT = struct.Struct("<HHL")


def report_commitment(
    peer: DicomPeer, calling: str, event_type: int, report: Dataset, *, timeouts: Timeouts | None = None
) -> None:
    """Tell a requester of Storage Commitment what was committed; we are the SCP by SCP/SCU Role Selection.

    Raises:
        Transient: unreachable, or not answered with Success.
        Permanent: it rejects us, or takes no such reports.
    """
    from pynetdicom.dsutils import encode

    proposed = [(STORAGE_COMMITMENT, _SYNTAXES)]
    with Association(peer, calling, proposed, timeouts or Timeouts(), (STORAGE_COMMITMENT,)) as association:
        if not association.accepted:
            association.release()
            raise Permanent(
                f"{peer} takes no reports of Storage Commitment: ask its administrator to enable them"
            )
        ((_, syntax), context_id), *_ = association.accepted.items()
        encoded = encode(report, syntax == _SYNTAXES[0], True)  # noqa: FBT003
        if encoded is None:
            raise Permanent("the report cannot be encoded")
        association.send(_pdu(_command(event_type), context_id, command=True))
        step = association.maximum_pdu - 6
        for at in range(0, len(encoded), step):
            last = at + step >= len(encoded)
            association.send(_pdu(encoded[at : at + step], context_id, command=False, last=last))
        status = association.receive(N_EVENT_REPORT_RQ, _MESSAGE_ID).status
    if status != messages.SUCCESS:
        raise Transient(f"{peer} answered a report of Storage Commitment with 0x{status:04X}: see its log")


def _command(event_type: int) -> bytes:
    """The command set of the request (PS3.7 table 10.3-1), Implicit VR Little Endian."""
    elements = {
        0x0002: _uid(STORAGE_COMMITMENT),
        0x0100: _short(N_EVENT_REPORT_RQ),
        0x0110: _short(_MESSAGE_ID),
        0x0800: _short(0x0001),  # a data set follows
        0x1000: _uid(WELL_KNOWN_INSTANCE),
        0x1002: _short(event_type),
    }
    body = b"".join(_ELEMENT.pack(0, number, len(value)) + value for number, value in elements.items())
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def _pdu(content: bytes, context_id: int, *, command: bool, last: bool = True) -> bytes:
    buffer = bytearray(P_DATA_HEAD_LENGTH) + content
    write_p_data_head(buffer, 0, len(content), context_id, command=command, last=last)
    return bytes(buffer)


def _short(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _uid(value: str) -> bytes:
    return value.encode("ascii") + b"\0" * (len(value) % 2)
