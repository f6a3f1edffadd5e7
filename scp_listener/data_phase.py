"""The data phase of an Association: P-DATA from the socket into the file, on the Association's own thread.

A data set is neither decoded nor held: fragments are written as they come. Only C-STORE requests with a data set are
taken; every other DIMSE message goes to pynetdicom's DIMSE service provider, and every PDU that is not P-DATA-TF to
its state machine, as if its own thread had read them (PS3.8 sections 9.2 and 9.3.5).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.reception import StoreRequest
from scp_listener.log import LOG
from scp_listener.store_messages import StoreCommand, command_pdus, store_command, store_response
from scp_listener.wire import LONGEST_PDU, Provider, Wire

if TYPE_CHECKING:
    from scp_listener.streamed_association import StreamedAssociation

LONGEST_COMMAND = 65_536
"""Bytes of a command set; all that exist have a few hundred."""
LONGEST_HELD_MESSAGE = 16 * 1024 * 1024
"""Bytes of a data set that pynetdicom holds in memory, of any message but C-STORE."""

_LINGER_SECONDS = 2.0
_P_DATA_TF = 4
_CLOSED, _INVALID_PDU = "Evt17", "Evt19"
_COMMAND, _LAST = 1, 2


class Uploads(Protocol):
    """Where data sets go."""

    def begin(self, association: Any, request: StoreRequest) -> Upload | Status:
        """An open upload, or why there is none. OSError: there is no room."""

    def finish(self, association: Any, upload: Upload, request: StoreRequest) -> Status:
        """What the sender is told of a complete upload; its file is gone from where it was. Never raises."""

    def refuse(self, association: Any, status: Status) -> None:
        """A data set was not kept."""


class _Invalid(Exception):
    """A PDU or message that PS3.8 does not allow here: answered with A-P-ABORT."""


class DataPhase:
    """The data phase of one Association; used by its thread alone."""

    def __init__(self, association: StreamedAssociation) -> None:
        self._association = association
        self._provider: Provider = association.provider
        self._wire: Wire = association.wire
        self._command = bytearray()
        self._context_id = 0
        self._request: StoreRequest | None = None
        self._store_command: StoreCommand | None = None
        self._upload: Upload | None = None
        self._refused: Status | None = None
        self._held = 0

    def run(self) -> None:
        """Until the Association is over."""
        self._wire.begin(self._association.network_timeout or 0)
        self._provider.work()
        self._association.serve()
        while not self._association.is_over and self._provider.is_in_data_transfer:
            try:
                self._pdu()
            except BlockingIOError:
                LOG.warning("an Association on which nothing moved is aborted (%s)", self._association.peer)
                self._association.abort()
            except _Invalid:
                self._provider.happened(_INVALID_PDU)
            self._association.serve()
        self._linger()

    def close(self) -> None:
        """Leave nothing of an unfinished data set behind."""
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.unlink()
            upload.close()

    def _pdu(self) -> None:
        wire = self._wire
        if not self._has(6):
            return
        if wire.view[wire.start] != _P_DATA_TF:
            self._provider.read_pdu()
            return
        left = int.from_bytes(wire.view[wire.start + 2 : wire.start + 6], "big")
        wire.start += 6
        while left:
            if left < 6:
                raise _Invalid
            if not self._has(6):
                return
            at = wire.start
            length = int.from_bytes(wire.view[at : at + 4], "big")
            context_id, flags = wire.view[at + 4], wire.view[at + 5]
            wire.start += 6
            left -= 4 + length
            if length < 2 or left < 0:
                raise _Invalid
            if not self._value(context_id, flags, length - 2):
                return

    def _value(self, context_id: int, flags: int, size: int) -> bool:
        """One presentation data value of `size` bytes; whether the Association goes on."""
        if self._association.dimse.message is not None:
            return self._hand_over(context_id, flags, size)
        if self._request is not None:
            if flags & _COMMAND or context_id != self._context_id:
                raise _Invalid
            return self._fragment(size) and (not flags & _LAST or self._finish())
        if not flags & _COMMAND or len(self._command) + size > LONGEST_COMMAND:
            raise _Invalid
        if self._command and context_id != self._context_id:
            raise _Invalid
        self._context_id = context_id
        part = self._take(size)
        if part is None:
            return False
        self._command += part
        return not flags & _LAST or self._begin()

    def _begin(self) -> bool:
        """A command set is complete."""
        encoded, self._command = bytes(self._command), bytearray()
        syntax = self._association.accepted_transfer_syntax(self._context_id)
        try:
            command = store_command(encoded)
        except ValueError:
            raise _Invalid from None
        if syntax is None:
            raise _Invalid
        if command is None:
            self._held = 0
            return self._receive(self._context_id, _COMMAND | _LAST, encoded)
        self._store_command, self._refused = command, None
        self._request = StoreRequest(command.sop_class_uid, command.sop_instance_uid, syntax)
        try:
            begun = self._association.uploads.begin(self._association, self._request)
        except OSError as error:
            self._give_up(error)
        else:
            if isinstance(begun, Status):
                self._refused = begun
            else:
                self._upload = begun
        return True

    def _fragment(self, size: int) -> bool:
        wire = self._wire
        while size:
            if wire.start == wire.end and not self._has(1):
                return False
            end = min(wire.end, wire.start + size)
            if self._upload is not None:
                try:
                    self._upload.write(wire.view[wire.start : end])
                except OSError as error:
                    self._give_up(error)
            size -= end - wire.start
            wire.start = end
        return True

    def _give_up(self, error: OSError) -> None:
        """The rest of the data set is read and thrown away: its sender is told, and goes on."""
        LOG.error("an instance was refused: %s (%s)", error.strerror, self._association.peer)
        self.close()
        self._refused = getattr(error, "status", Status.OUT_OF_RESOURCES)

    def _finish(self) -> bool:
        """A data set is complete: store it, answer."""
        upload, request, command = self._upload, self._request, self._store_command
        assert request is not None  # noqa: S101
        assert command is not None  # noqa: S101
        self._request = self._store_command = None
        if upload is None:
            status = self._refused or Status.OUT_OF_RESOURCES
            self._association.uploads.refuse(self._association, status)
        else:
            status = self._association.uploads.finish(self._association, upload, request)
            self._upload = None
            upload.close()
        comment = "" if status is Status.SUCCESS else REASONS[status]
        answer = command_pdus(
            store_response(command, int(status), comment),
            self._context_id,
            self._association.requestor.maximum_length or 0,
        )
        with self._provider.turn:
            connection = self._wire.socket
            if connection is None or not self._provider.is_in_data_transfer:
                return False
            try:
                connection.sendall(answer)
            except OSError:
                self._provider.happened(_CLOSED)
                return False
        return True

    def _hand_over(self, context_id: int, flags: int, size: int) -> bool:
        """A fragment of a message that pynetdicom has begun to decode."""
        self._held += size
        if size > LONGEST_PDU or self._held > LONGEST_HELD_MESSAGE:
            raise _Invalid
        part = self._take(size)
        return part is not None and self._receive(context_id, flags, part)

    def _receive(self, context_id: int, flags: int, part: bytes) -> bool:
        """As pynetdicom's state machine does with P-DATA in data transfer (its action DT-2)."""
        try:
            self._association.receive_value(context_id, bytes((flags,)) + part)
        except Exception as error:  # noqa: BLE001  it decodes what a stranger sent
            LOG.error("a message could not be decoded: %s (%s)", type(error).__name__, self._association.peer)
            raise _Invalid from None
        self._provider.work()
        self._association.serve()
        return self._provider.is_in_data_transfer and not self._association.is_over

    def _take(self, size: int) -> bytes | None:
        """`size` bytes; None when the connection ended before."""
        data = bytearray()
        while len(data) < size:
            wire = self._wire
            if wire.start == wire.end and not self._has(1):
                return None
            end = min(wire.end, wire.start + size - len(data))
            data += wire.view[wire.start : end]
            wire.start = end
        return bytes(data)

    def _has(self, count: int) -> bool:
        wire = self._wire
        if wire.end - wire.start >= count:
            return True
        self._association.others_may_send(may=True)
        try:
            if wire.has(count):
                return True
        finally:
            self._association.others_may_send(may=False)
        if not self._association.is_over:
            self._provider.happened(_CLOSED)
        return False

    def _linger(self) -> None:
        """Let the peer close first, so that it reads what we sent last; not for ever."""
        deadline = time.monotonic() + _LINGER_SECONDS
        self._wire.wait_at_most(_LINGER_SECONDS)
        try:
            while self._provider.awaits_close and time.monotonic() < deadline:
                self._wire.start = self._wire.end
                if not self._wire.fill():
                    break
        except BlockingIOError:
            return
        if self._provider.awaits_close:
            self._provider.happened(_CLOSED)
