"""C-STORE request and response as bytes (PS3.7 section 9.3.1): the only messages that we read and write ourselves."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from fiona_dagster.adapters.dicom_scu.messages import (
    C_STORE_RQ,
    NO_DATA_SET,
    RESPONSE,
    decode_command,
    has_data_set,
)

_LONGEST_UID = 64
_SOP_CLASS, _FIELD, _MESSAGE_ID, _SOP_INSTANCE = 0x0002, 0x0100, 0x0110, 0x1000
_ERROR_COMMENT = 0x0902
_ELEMENT = struct.Struct("<HHL")
_RESPONSE_NUMBERS = struct.Struct("<HHLH HHLH HHLH HHLH")
_P_DATA_HEAD = struct.Struct(">BxLLBB")
_COMMAND, _LAST = 1, 2
_SMALLEST_FRAGMENT = 64
_USUAL_HEAD = struct.Struct("<8s4x4sL")
_USUAL_REST = struct.Struct("<8sH8sH8s2x8sH4sL")
_GROUP_LENGTH = bytes.fromhex("0000000004000000")
_CLASS_TAG, _INSTANCE_TAG = bytes.fromhex("00000200"), bytes.fromhex("00000010")
_FIELD_HEAD, _ID_HEAD = bytes.fromhex("0000000102000000"), bytes.fromhex("0000100102000000")
_PRIORITY_HEAD, _DATA_HEAD = bytes.fromhex("0000000702000000"), bytes.fromhex("0000000802000000")
_USUAL_HEADS = (_FIELD_HEAD, _ID_HEAD, _PRIORITY_HEAD, _DATA_HEAD, _INSTANCE_TAG)


@dataclass(frozen=True)
class StoreCommand:
    """A C-STORE request. UIDs as received, and as text without padding."""

    message_id: int
    raw_sop_class_uid: bytes
    raw_sop_instance_uid: bytes

    @property
    def sop_class_uid(self) -> str:
        return _text(self.raw_sop_class_uid)

    @property
    def sop_instance_uid(self) -> str:
        return _text(self.raw_sop_instance_uid)


def store_command(encoded: bytes) -> StoreCommand | None:
    """The C-STORE request with a data set that a command set is; None where it is another message.

    Raises:
        ValueError: it is no command set, or a request without its UIDs or Message ID.
    """
    usual = _usual_store_command(encoded)
    if usual is not None:
        return usual
    values = decode_command(encoded)
    if _number(values, _FIELD) != C_STORE_RQ or not has_data_set(values):
        return None
    found = StoreCommand(
        _number(values, _MESSAGE_ID), values.get(_SOP_CLASS, b""), values.get(_SOP_INSTANCE, b"")
    )
    if not found.sop_class_uid or not found.sop_instance_uid:
        raise ValueError("a C-STORE request lacks a UID")
    return found


def _usual_store_command(encoded: bytes) -> StoreCommand | None:
    """The request, where it has the elements that it must have and no others; None: it has to be looked at closely."""
    length = len(encoded)
    if length < _USUAL_HEAD.size + _USUAL_REST.size:
        return None
    group_length, class_tag, class_length = _USUAL_HEAD.unpack_from(encoded)
    rest = _USUAL_HEAD.size + class_length
    uid = rest + _USUAL_REST.size
    if group_length != _GROUP_LENGTH or class_tag != _CLASS_TAG or not class_length or uid >= length:
        return None
    field_head, field, id_head, message_id, priority_head, data_head, data, instance_tag, instance_length = (
        _USUAL_REST.unpack_from(encoded, rest)
    )
    heads = (field_head, id_head, priority_head, data_head, instance_tag)
    if heads != _USUAL_HEADS or uid + instance_length != length:
        return None
    if field != C_STORE_RQ or data == NO_DATA_SET:
        return None
    found = StoreCommand(message_id, encoded[_USUAL_HEAD.size : rest], encoded[uid:])
    return found if found.sop_class_uid and found.sop_instance_uid else None


def store_response(command: StoreCommand, status: int, comment: str = "") -> bytes:
    """The command set that answers `command`; `comment` is cut at 64 characters.

    UIDs longer than a UID may be are not repeated.
    """
    body = b""
    if len(command.raw_sop_class_uid) <= _LONGEST_UID:
        body += _element(_SOP_CLASS, command.raw_sop_class_uid)
    body += _RESPONSE_NUMBERS.pack(
        0, 0x0100, 2, C_STORE_RQ | RESPONSE, 0, 0x0120, 2, command.message_id, 0, 0x0800, 2, 0x0101,
        0, 0x0900, 2, status,
    )  # fmt: skip
    if comment:
        body += _element(_ERROR_COMMENT, comment[:64].encode("ascii", "replace"), b" ")
    if len(command.raw_sop_instance_uid) <= _LONGEST_UID:
        body += _element(_SOP_INSTANCE, command.raw_sop_instance_uid)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def command_pdus(command: bytes, context_id: int, longest_pdu: int) -> bytes:
    """P-DATA-TF PDUs with a command set; `longest_pdu` is what the peer takes, 0 without a limit (PS3.8 annex D.1)."""
    step = max(longest_pdu - 6, _SMALLEST_FRAGMENT) if longest_pdu else len(command)
    if len(command) <= step:
        return (
            _P_DATA_HEAD.pack(4, len(command) + 6, len(command) + 2, context_id, _COMMAND | _LAST) + command
        )
    pdus = b""
    for at in range(0, len(command), step):
        part = command[at : at + step]
        flags = _COMMAND | (_LAST if at + step >= len(command) else 0)
        pdus += _P_DATA_HEAD.pack(4, len(part) + 6, len(part) + 2, context_id, flags) + part
    return pdus


def _element(number: int, value: bytes, padding: bytes = b"\0") -> bytes:
    value += padding * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(value)) + value


def _number(values: Mapping[int, bytes], element: int) -> int:
    value = values.get(element, b"")
    if len(value) != 2:
        raise ValueError(f"a command set lacks (0000,{element:04X})")
    return int.from_bytes(value, "little")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")
