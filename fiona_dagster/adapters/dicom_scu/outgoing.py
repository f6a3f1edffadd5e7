"""C-STORE requests on their way out: PDUs whose fragments are read from the file between heads that stand already."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import P_DATA_HEAD_LENGTH, Association, write_p_data_head
from fiona_dagster.adapters.dicom_scu.part10 import StoredInstance
from fiona_dagster.domain.errors import Transient

_CHUNK = 1024 * 1024
_COMMAND_ROOM = 512
"""More than the longest command set of a C-STORE (two UIDs of 64) with its head."""


class NotReadError(Exception):
    """The file could not be read before anything of it was sent: the Association is still good."""


@dataclass
class Request:
    """A C-STORE request whose beginning is read. `view` is what to send next, `left` the bytes behind it."""

    instance: StoredInstance
    context_id: int
    message_id: int
    descriptor: int = field(repr=False)
    view: memoryview = field(repr=False)
    offset: int = 0
    left: int = 0

    def close(self) -> None:
        """Give the file back; once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Outgoing:
    """Requests over one Association: the next one may be prepared while the last one is on its way."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._fragment = association.maximum_pdu - 6
        self._slots = max(1, _CHUNK // (self._fragment + P_DATA_HEAD_LENGTH))
        size = _COMMAND_ROOM + self._slots * (self._fragment + P_DATA_HEAD_LENGTH)
        self._buffers = [bytearray(size), bytearray(size)]
        self._message_id = 0

    def prepare(self, instance: StoredInstance, context_id: int, descriptor: int) -> Request:
        """A request for the open file `descriptor`, which is then the request's.

        Raises:
            NotReadError: the file cannot be read, or is shorter than it was; it is closed.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        self._buffers.reverse()  # the other one may still be on its way
        request = Request(instance, context_id, self._message_id, descriptor, memoryview(b""))
        request.offset, request.left = instance.offset, instance.length
        command = messages.encode_request(
            messages.C_STORE_RQ,
            request.message_id,
            instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            with_data_set=True,
        )
        buffer = self._buffers[0]
        begin = _COMMAND_ROOM - len(command) - P_DATA_HEAD_LENGTH
        write_p_data_head(buffer, begin, len(command), context_id, command=True, last=True)
        buffer[_COMMAND_ROOM - len(command) : _COMMAND_ROOM] = command
        problem = self._read(request, buffer, begin)
        if problem:
            request.close()
            raise NotReadError(problem)
        return request

    def send(self, request: Request) -> None:
        """Send what is prepared and the rest of the file, which is closed.

        Raises:
            Transient: the Association was lost, or the file could not be read to its end.
        """
        try:
            self._association.send(request.view)
            buffer = next(one for one in self._buffers if one is request.view.obj)
            while request.left:
                problem = self._read(request, buffer, _COMMAND_ROOM)
                if problem:
                    raise Transient(problem)  # within a message: only an abort tells the peer so
                self._association.send(request.view)
        finally:
            request.close()

    def _read(self, request: Request, buffer: bytearray, begin: int) -> str:
        """Fill the buffer behind `_COMMAND_ROOM`; what is wrong, if anything is."""
        view, at = memoryview(buffer), _COMMAND_ROOM
        fragments: list[memoryview] = []
        left = request.left
        while left and len(fragments) < self._slots:
            length = min(self._fragment, left)
            left -= length
            write_p_data_head(buffer, at, length, request.context_id, command=False, last=not left)
            at += P_DATA_HEAD_LENGTH
            fragments.append(view[at : at + length])
            at += length
        try:
            read = os.preadv(request.descriptor, fragments, request.offset)
        except OSError as error:
            return f"the file cannot be read ({error.strerror})"
        if read != request.left - left:
            return "the file changed while it was being sent"
        request.view, request.offset, request.left = view[begin:at], request.offset + read, left
        return ""
