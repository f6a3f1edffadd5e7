"""Where the listener reaches into pynetdicom (pinned exactly): all of it stands here, tests hold it in place.

- every storage SOP Class is accepted, private and unknown ones too;
- the data phase writes a data set to a file as it comes, undecoded;
- that file lies in our `.incoming`, so that it can be linked into the archive on the same file system;
- its File Meta Information is ours and names the sender;
- a C-STORE request without a data set is answered, where pynetdicom stays silent;
- Presentation Contexts that a caller may not use are rejected, and the others go on;
- an A-ASSOCIATE-RQ that cannot be understood is answered with A-ABORT;
- its timers run by a clock that nobody can set.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pynetdicom import _config, dimse_messages
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.timer import Timer

from fiona_dagster.adapters.received_files import file_meta

_USER_REJECTION = 0x01
_REPLACED = ("create_file_meta", "write_file_meta_info", "NamedTemporaryFile")


def configure(incoming: Path) -> Callable[[], None]:
    """Set pynetdicom up for this process, whose uploads are written to `incoming`; the result undoes it.

    Raises:
        RuntimeError: this is another pynetdicom than the one that is pinned.
    """
    missing = [name for name in _REPLACED if not hasattr(dimse_messages, name)]
    if missing:
        raise RuntimeError(f"pynetdicom has no dimse_messages.{missing[0]}: install the pinned version")
    settings = [
        (_config, "UNRESTRICTED_STORAGE_SERVICE", True),
        (_config, "STORE_RECV_CHUNKED_DATASET", True),
        (_config, "LOG_HANDLER_LEVEL", "none"),
        (C_STORE, "REQUEST_KEYWORDS", ("MessageID", "AffectedSOPClassUID", "AffectedSOPInstanceUID")),
        (dimse_messages, "create_file_meta", _facts),
        (dimse_messages, "write_file_meta_info", _write_meta),
        (dimse_messages, "NamedTemporaryFile", partial(tempfile.NamedTemporaryFile, dir=incoming)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    _set(settings)
    return partial(_set, before)


class SteadyTimer(Timer):
    """pynetdicom's own goes by the time of day: set forward, that would end every Association it watches."""

    @property
    def remaining(self) -> float:
        """Seconds until it expires; 1 where it never does."""
        if self.timeout is None:
            return 1
        if self._start_time is None:
            return self.timeout
        end = time.monotonic() if self._end_time is None else self._end_time
        return self.timeout - (end - self._start_time)

    def start(self) -> None:
        """Start, or start anew."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Stop."""
        self._end_time = time.monotonic()


def steady_timers(association: Any) -> None:
    """Give an Association that has not begun timers that no change of the clock touches."""
    provider = association.dul
    provider.artim_timer = SteadyTimer(provider.artim_timer.timeout)
    provider._idle_timer = SteadyTimer(provider._idle_timer.timeout)  # noqa: SLF001


def _set(settings: list[tuple[Any, str, Any]]) -> None:
    for owner, name, value in settings:
        setattr(owner, name, value)


def unfinished_uploads(association: Any) -> list[Path]:
    """Files of an Association that ended before they were stored: one being received, or one not yet served."""
    # the queue holds (context id, request), and (None, None) once the connection is lost
    waiting = [request for _, request in list(association.dimse.msg_queue.queue) if request is not None]
    found = [getattr(request, "_dataset_path", None) for request in waiting]
    message: DIMSEMessage | None = association.dimse.message
    if message is not None:
        found.append(message._data_set_path)  # noqa: SLF001
    return [path for path in found if isinstance(path, Path)]


def abort_broken_requests(association: Any, told: Callable[[], None]) -> None:
    """Have an A-ASSOCIATE-RQ that cannot be understood answered with A-ABORT (PS3.8 section 9.2, Evt19), and `told`.

    pynetdicom looks into it only when it acts upon it: an error there ends its thread and leaves the connection open.
    """
    provider = association.dul
    decode = provider._decode_pdu  # noqa: SLF001

    def checked(content: bytearray) -> Any:
        try:
            pdu, event = decode(content)
            if isinstance(pdu, A_ASSOCIATE_RQ):
                _check_request(pdu)
        except Exception:  # whatever pynetdicom raises at a stranger's bytes
            if association.requestor.primitive is None:
                told()
            raise  # what reads the PDU makes an invalid one of it
        return pdu, event

    provider._decode_pdu = checked  # noqa: SLF001


def _check_request(pdu: A_ASSOCIATE_RQ) -> None:
    """Raises whatever pynetdicom does at parts that cannot be; ValueError for contexts without syntaxes."""
    pdu.to_primitive()
    for context in pdu.presentation_context:
        if not context.abstract_syntax or not context.transfer_syntax or not all(context.transfer_syntax):
            raise ValueError("a Presentation Context without its syntaxes")


def accept_only(association: Any, is_permitted: Callable[[str], bool]) -> None:
    """Have an Association that is being negotiated accept Presentation Contexts of permitted abstract syntaxes alone.

    The others are answered with user-rejection (PS3.8 table 9-18).
    """
    send_accept = association.acse.send_accept

    def accept() -> None:
        for context in association.accepted_contexts:
            if not is_permitted(str(context.abstract_syntax)):
                context.result = _USER_REJECTION
                association._accepted_cx.pop(context.context_id)  # noqa: SLF001
                association._rejected_cx.append(context)  # noqa: SLF001
        send_accept()

    association.acse.send_accept = accept


def _facts(*, sop_class_uid: object, sop_instance_uid: object, transfer_syntax: object) -> tuple[str, ...]:
    return tuple(str(value or "") for value in (sop_class_uid, sop_instance_uid, transfer_syntax))


def _write_meta(stream: BinaryIO, facts: tuple[str, str, str]) -> None:
    """Preamble and prefix are written already."""
    association = getattr(threading.current_thread(), "assoc", None)  # the thread is the DUL service provider
    request = association.requestor.primitive if association else None
    titles = (request.calling_ae_title, request.called_ae_title) if request else ("", "")
    stream.write(file_meta(*facts, *(title.strip() for title in titles))[132:])
