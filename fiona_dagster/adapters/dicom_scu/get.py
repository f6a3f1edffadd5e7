"""C-GET as SCU (PS3.4 C.4.3): a peer stores what we name at us, over the Association that asked for it.

Every data set goes from the socket into a file and from there to a `Receiver`, whose Status answers the peer: it hears
Success only where our own reception said so, and memory does not grow with the object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from fiona_dagster.adapters.dicom_scu import messages
from fiona_dagster.adapters.dicom_scu.association import MAXIMUM_CONTEXTS, Association, Sink, Timeouts
from fiona_dagster.adapters.dicom_scu.find import (
    CANCEL_SECONDS,
    IMPLICIT_VR_LITTLE_ENDIAN,
    SYNTAXES,
    context_of,
    encoded_identifier,
)
from fiona_dagster.adapters.dicom_scu.messages import Message, Response
from fiona_dagster.adapters.dicom_scu.move import identifier_of
from fiona_dagster.adapters.dicom_scu.suboperations import RetrieveReport, report_of
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import FionaError, Permanent
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.settings import DicomPeer

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"


class Receiver(Protocol):
    """Takes over the instances of a C-GET."""

    def store(self, file: Path) -> int:
        """Take a Part 10 file over, durably; the DIMSE Status that answers for it. The file is removed afterwards."""


class Gets(Association):
    """An Association for Study Root C-GETs, one after the other.

    Args:
        peer: whom to ask.
        calling: our AE title.
        sop_class_uids: what will come, as the peer said at IMAGE level; others cannot be received. Empty: those that
            hospitals make, in three transfer syntaxes.
        folder: where an instance lies while it is taken over.
        receiver: who takes the instances over.
        timeouts: in seconds.
    """

    def __init__(
        self,
        peer: DicomPeer,
        calling: str,
        sop_class_uids: Iterable[str],
        folder: Path,
        receiver: Receiver,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Connect and negotiate.

        Raises:
            Transient: no Association for now.
            Permanent: it rejects us, or does not offer Study Root C-GET.
        """
        classes = list(dict.fromkeys(sop_class_uids)) or list(_USUAL_CLASSES)
        classes = classes[: MAXIMUM_CONTEXTS - 1]
        proposed = [(STUDY_ROOT_GET, SYNTAXES), *_storage_contexts(classes)]
        super().__init__(peer, calling, proposed, timeouts or Timeouts(), scp_of=classes)
        self._syntaxes = {number: pair for pair, number in self.accepted.items()}
        self._folder, self._receiver, self._message_id = folder, receiver, 0
        self._obstacle = ""
        try:
            self._context_id, self._syntax = context_of(self, STUDY_ROOT_GET, "Study Root C-GET")
        except Permanent:
            self.release()
            raise

    def get(
        self,
        study_instance_uid: str,
        series_instance_uid: str = "",
        sop_instance_uids: Sequence[str] = (),
        *,
        progress: Callable[[Response], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> RetrieveReport:
        """Have a study, one of its series, or named instances of a series stored at the receiver.

        Args:
            study_instance_uid: always named.
            series_instance_uid: empty: the whole study.
            sop_instance_uids: empty: the whole series.
            progress: called with every pending response.
            cancelled: asked after every message; true sends a C-CANCEL, once.

        Raises:
            Transient: the Association was lost, a message or the end did not come in time; it is then aborted.
        """
        level, keys = identifier_of(study_instance_uid, series_instance_uid, sop_instance_uids)
        self._message_id = self._message_id % 0xFFFF + 1
        self.request(
            messages.C_GET_RQ,
            self._context_id,
            self._message_id,
            STUDY_ROOT_GET,
            encoded_identifier(level, keys, self._syntax),
        )
        problems: dict[str, int] = {}
        self._obstacle = ""
        deadline, stopped = time.monotonic() + self.timeouts.whole, False
        while True:
            with _Incoming(self._folder, self._syntaxes) as incoming:
                message = self.next_message(max(deadline - time.monotonic(), 0.001), incoming.sink)
                if message.is_store_request:
                    status, uid = self._take_over(message, incoming)
                    if status != Status.SUCCESS:
                        problems[uid] = status
                    self.answer_store(message, status)
            if not message.is_store_request:
                answer = self.matching(message, messages.C_GET_RQ, self._message_id)
                if answer.status not in messages.PENDING:
                    return report_of(
                        self.peer,
                        answer,
                        implicit_vr=self._syntax == IMPLICIT_VR_LITTLE_ENDIAN,
                        cancelled=stopped,
                        problems=problems,
                        obstacle=self._obstacle,
                    )
                if progress is not None:
                    progress(answer)
            if not stopped and cancelled():
                stopped = True
                self.cancel(self._context_id, self._message_id)
                deadline = min(deadline, time.monotonic() + CANCEL_SECONDS)

    def _take_over(self, message: Message, incoming: _Incoming) -> tuple[int, str]:
        """The Status of an incoming instance, and its SOP Instance UID."""
        _, uid = messages.stored_uids(message.command)
        if incoming.refused:
            return incoming.refused, uid
        try:
            return self._receiver.store(incoming.finish()), uid
        except OSError:
            return Status.OUT_OF_RESOURCES, uid
        except FionaError as error:  # the peer keeps it, and it is still missing here
            self._obstacle = str(error)
            return Status.PROCESSING_FAILURE, uid


class _Incoming:
    """The file of one incoming instance; removed at the end, whatever became of it."""

    def __init__(self, folder: Path, syntaxes: Mapping[int, tuple[str, str]]) -> None:
        self._folder, self._syntaxes = folder, syntaxes
        self._stream: BinaryIO | None = None
        self._path: Path | None = None
        self.refused = 0

    def __enter__(self) -> _Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def sink(self, context_id: int, command: Mapping[int, bytes]) -> Sink | None:
        """Where the data set of a C-STORE request goes."""
        import tempfile

        if not Message(context_id, command).is_store_request:
            return None
        sop_class, sop_instance = messages.stored_uids(command)
        agreed, syntax = self._syntaxes.get(context_id, ("", ""))
        if agreed != sop_class or not is_safe_uid_path(sop_instance):
            self.refused = Status.CANNOT_UNDERSTAND
            return _Nowhere()
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="get.")
            self._path = Path(name)
            stream = open(descriptor, "w+b")  # noqa: SIM115, PTH123 — closed by __exit__
            self._stream = stream
            stream.write(_file_head(sop_class, sop_instance, syntax))
        except OSError:
            self.refused = Status.OUT_OF_RESOURCES
            return _Nowhere()
        return _Bounded(self, stream)

    def finish(self) -> Path:
        """The complete file.

        Raises:
            OSError: it could not be written.
        """
        assert self._stream is not None  # noqa: S101 — a sink was made, or it was refused
        assert self._path is not None  # noqa: S101
        self._stream.close()
        return self._path


class _Nowhere:
    """Takes a refused data set, so that the Association stays in step."""

    def write(self, _part: bytes | memoryview) -> int:
        return 0


class _Bounded:
    """A file that answers for a full disk with a Status instead of losing the Association."""

    def __init__(self, incoming: _Incoming, stream: BinaryIO) -> None:
        self._incoming, self._stream = incoming, stream

    def write(self, part: bytes | memoryview) -> int:
        if not self._incoming.refused:
            try:
                return self._stream.write(part)
            except OSError:
                self._incoming.refused = Status.OUT_OF_RESOURCES
        return 0


def _file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and File Meta Information (PS3.10 7.1)."""
    from io import BytesIO

    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    buffer = BytesIO()
    write_file_meta_info(cast(Any, buffer), meta, enforce_standard=True)
    return bytes(128) + b"DICM" + buffer.getvalue()


def _storage_contexts(classes: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Presentation Contexts for these classes: a context a transfer syntax while there is room.

    Of several syntaxes in one context the peer takes one for all its instances; of several contexts it takes all it
    has, so that it need not convert.
    """
    from pynetdicom import ALL_TRANSFER_SYNTAXES

    every = [
        uid
        for uid in dict.fromkeys([*_USUAL_SYNTAXES, *map(str, ALL_TRANSFER_SYNTAXES)])
        if uid not in _LEFT_OUT
    ]
    room = (MAXIMUM_CONTEXTS - 1) // len(classes)
    if room == 1:
        return [(one, _USUAL_SYNTAXES[:2]) for one in classes]
    return [(one, (syntax,)) for one in classes for syntax in every[:room]]


_USUAL_SYNTAXES = (
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.51",
)  # fmt: skip
_LEFT_OUT = frozenset({"1.2.840.10008.1.2.2"})
"""Explicit VR Big Endian: retired, and converted to it a data set has changed in every byte."""


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_USUAL_CLASSES = (
    *(_STORAGE + tail for tail in (
        "2", "2.1", "4", "4.1", "4.2", "1", "1.1", "1.1.1", "1.2", "1.2.1", "6.1", "3.1", "12.1", "12.2", "20", "128",
        "130", "7", "7.1", "7.2", "7.3", "7.4", "88.11", "88.22", "88.33", "88.67", "88.59", "11.1", "104.1", "66",
        "66.4", "481.1", "481.2", "481.3", "481.5", "13.1.3", "9.1.1", "77.1.4", "77.1.5.1",
    )),
    "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image
)  # fmt: skip
"""What hospitals make (PS3.4 B.5), where the peer does not say what it has: room for three syntaxes each."""
