"""DIMSE command sets: a dozen elements of group 0000, always Implicit VR Little Endian (PS3.7 section 6.3.1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

C_STORE_RQ, C_GET_RQ, C_FIND_RQ = 0x0001, 0x0010, 0x0020
C_MOVE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0021, 0x0030, 0x0FFF
RESPONSE = 0x8000
"""Set in the Command Field of every response (PS3.7 annex E.1)."""

NO_DATA_SET = 0x0101
PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS = 0x0000
CANCELLED = 0xFE00

_AFFECTED_SOP_CLASS_UID = 0x0002
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_RESPONDED_TO = 0x0120
_MOVE_DESTINATION = 0x0600
_PRIORITY = 0x0700
_COMMAND_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_AFFECTED_SOP_INSTANCE_UID = 0x1000
_SUBOPERATIONS = {"remaining": 0x1020, "completed": 0x1021, "failed": 0x1022, "warning": 0x1023}
_ELEMENT = struct.Struct("<HHL")


@dataclass(frozen=True)
class Message:
    """A message as it came: command set by element number, and its data set unless that went elsewhere."""

    context_id: int
    command: Mapping[int, bytes]
    data_set: bytes = b""

    @property
    def is_store_request(self) -> bool:
        return self.command.get(_COMMAND_FIELD) == _us(C_STORE_RQ)


@dataclass(frozen=True)
class Response:
    """A response of the peer; `data_set` is its encoded Identifier, empty without one.

    The numbers of sub-operations (PS3.7 9.1.4) are None where the peer gives none.
    """

    command_field: int
    message_id: int
    status: int
    data_set: bytes = b""
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


def encode_request(
    command_field: int,
    message_id: int,
    sop_class_uid: str,
    *,
    sop_instance_uid: str = "",
    move_destination: str = "",
    with_data_set: bool = False,
) -> bytes:
    """The command set of a request, priority medium (C-ECHO has none)."""
    elements = {
        _AFFECTED_SOP_CLASS_UID: _ui(sop_class_uid),
        _COMMAND_FIELD: _us(command_field),
        _MESSAGE_ID: _us(message_id),
        _COMMAND_DATA_SET_TYPE: _us(0x0001 if with_data_set else NO_DATA_SET),
    }
    if command_field != C_ECHO_RQ:
        elements[_PRIORITY] = _us(0)
    if sop_instance_uid:
        elements[_AFFECTED_SOP_INSTANCE_UID] = _ui(sop_instance_uid)
    if move_destination:
        elements[_MOVE_DESTINATION] = move_destination.encode("ascii") + b" " * (len(move_destination) % 2)
    return _encode(elements)


def encode_cancel(message_id: int) -> bytes:
    """The command set of a C-CANCEL of the request `message_id`."""
    return _encode(
        {
            _COMMAND_FIELD: _us(C_CANCEL_RQ),
            _MESSAGE_ID_RESPONDED_TO: _us(message_id),
            _COMMAND_DATA_SET_TYPE: _us(NO_DATA_SET),
        }
    )


def encode_store_response(request: Mapping[int, bytes], status: int) -> bytes:
    """The command set that answers a C-STORE request."""
    return _encode(
        {
            _AFFECTED_SOP_CLASS_UID: request.get(_AFFECTED_SOP_CLASS_UID, b""),
            _COMMAND_FIELD: _us(C_STORE_RQ | RESPONSE),
            _MESSAGE_ID_RESPONDED_TO: request.get(_MESSAGE_ID, b"\0\0"),
            _COMMAND_DATA_SET_TYPE: _us(NO_DATA_SET),
            _STATUS: _us(status),
            _AFFECTED_SOP_INSTANCE_UID: request.get(_AFFECTED_SOP_INSTANCE_UID, b""),
        }
    )


def stored_uids(request: Mapping[int, bytes]) -> tuple[str, str]:
    """SOP Class and SOP Instance UID that a C-STORE request names; empty where it names none."""
    sop_class, sop_instance = (
        request.get(element, b"").decode("ascii", "replace").rstrip("\0 ")
        for element in (_AFFECTED_SOP_CLASS_UID, _AFFECTED_SOP_INSTANCE_UID)
    )
    return sop_class, sop_instance


def _encode(elements: Mapping[int, bytes]) -> bytes:
    body = b"".join(
        _ELEMENT.pack(0, number, len(value)) + value for number, value in sorted(elements.items())
    )
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def decode_command(encoded: bytes | bytearray, *, others: bool = False) -> dict[int, bytes]:
    """Values by element number.

    `others`: elements of other groups are stepped over. Orthanc puts Failed SOP Instance UID List (0008,0058), which
    belongs into the data set, into the command set of a C-GET response.

    Raises:
        ValueError: not a command set.
    """
    values: dict[int, bytes] = {}
    at = 0
    while at < len(encoded):
        if at + 8 > len(encoded):
            raise ValueError("a command set ends within an element")
        group, number, length = _ELEMENT.unpack_from(encoded, at)
        at += 8
        if (group != 0 and not others) or at + length > len(encoded):
            raise ValueError("a command set has an element of another group or without an end")
        if group == 0:
            values[number] = bytes(encoded[at : at + length])
        at += length
    return values


def has_data_set(command: Mapping[int, bytes]) -> bool:
    """Whether a data set follows the command set."""
    return _number(command, _COMMAND_DATA_SET_TYPE) != NO_DATA_SET


def response(command: Mapping[int, bytes], data_set: bytes) -> Response:
    """The parts of a response that we use.

    Raises:
        ValueError: a mandatory element is missing.
    """
    return Response(
        _number(command, _COMMAND_FIELD),
        _number(command, _MESSAGE_ID_RESPONDED_TO),
        _number(command, _STATUS),
        data_set,
        **{
            name: int.from_bytes(command[element], "little")
            for name, element in _SUBOPERATIONS.items()
            if len(command.get(element, b"")) == 2
        },
    )


def _number(command: Mapping[int, bytes], element: int) -> int:
    value = command.get(element, b"")
    if len(value) != 2:
        raise ValueError(f"a command set lacks (0000,{element:04X})")
    return int.from_bytes(value, "little")


def _us(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _ui(value: str) -> bytes:
    encoded = value.encode("ascii")
    return encoded + b"\0" * (len(encoded) % 2)
