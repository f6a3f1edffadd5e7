"""The body of a Store request, part by part into uploads; none of it is held (PS3.18 sections 8.7.1 and 10.5.1).

A part is a DICOM file. Its File Meta Information tells how its data set is encoded; what is written is the data set
behind File Meta Information of ours, as for a C-STORE, and it goes the same way from there.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from fiona_dagster.adapters.received_files import file_meta, read_file_meta
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.domain.reception import Peer, Refusal, StoreRequest
from scp_listener.log import LOG
from scp_listener.store import Store

MOST_PARTS = 100_000

_META_HEAD = 144
"""Preamble, prefix, and the File Meta Information Group Length (PS3.10 section 7.1)."""
_LONGEST_META = 65_536


class Malformed(Exception):
    """The body is no multipart message with this boundary; what came before was stored or refused all the same."""


class TooLarge(Exception):
    """More than one request may bring; what came before was stored or refused all the same."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part. `failure_reason` 0: stored. The UIDs are empty where the part told none."""

    sop_class_uid: str
    sop_instance_uid: str
    failure_reason: int


@dataclass(frozen=True)
class Receiving:
    """Where the parts of a request go, from whom, and how much of it."""

    store: Store
    folder: Path
    peer: Peer
    association_id: str
    study_instance_uid: str
    """The only study that is taken; empty: any."""
    instance_bytes: int
    """Largest part; 0: any."""
    request_bytes: int
    has_room: Callable[[], bool] = lambda: True
    """Whether the disk takes another one."""


@dataclass
class _Part:
    size: int = 0
    head: bytearray = field(default_factory=bytearray)
    request: StoreRequest | None = None
    upload: Upload | None = None
    refused: Status | None = None


class Intake:
    """One request. `feed` may be called from any thread, one call at a time; `close` also while it works."""

    def __init__(self, boundary: bytes, receiving: Receiving) -> None:
        """Raises: Malformed, the boundary is none."""
        self.outcomes: list[Outcome] = []
        self.complete = False
        """Whether the closing boundary came."""
        self._receiving = receiving
        self._part: _Part | None = None
        self._size = 0
        self._turn, self._closed = threading.Lock(), False
        if not boundary:
            raise Malformed
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._data,
                    "on_part_end": self._finish,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise Malformed from None

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body. After an exception nothing more is taken.

        Raises:
            Malformed, TooLarge.
        """
        with self._turn:
            if self._closed:
                return
            room = self._receiving.request_bytes - self._size
            self._size += len(chunk)
            try:
                self._parser.write(chunk[:room])
            except FormParserError:
                raise Malformed from None
            if room < len(chunk):
                raise TooLarge

    def close(self, unfinished: Status = Status.CANNOT_UNDERSTAND) -> None:
        """The body has ended, or its sender is gone, or we are: a part that has no end is not stored, and told so."""
        with self._turn:
            self._closed = True
            part, self._part = self._part, None
            if part is not None:
                self._drop(part)
                self._told(part, part.refused or unfinished)

    def _begin(self) -> None:
        if len(self.outcomes) >= MOST_PARTS:
            raise TooLarge
        self._part = _Part()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part is None:
            return
        part.size += end - start
        if part.refused is not None:
            return  # the rest of it is read and thrown away, the request goes on
        piece = memoryview(data)[start:end]
        try:
            if part.upload is None:
                part.head += piece
                if len(part.head) >= _needed(part.head):
                    self._open(part)
            else:
                part.upload.write(piece)
        except Reject as error:
            self._give_up(part, Status(error.status), error.reason)
        except OSError as error:
            self._give_up(part, Status.OUT_OF_RESOURCES, error.strerror or "")
        if 0 < self._receiving.instance_bytes < part.size and part.refused is None:
            self._give_up(part, Status.OBJECT_TOO_LARGE, REASONS[Status.OBJECT_TOO_LARGE])

    def _open(self, part: _Part) -> None:
        """The File Meta Information is complete."""
        stream = io.BytesIO(part.head)
        found = read_file_meta(stream)
        part.request = StoreRequest(
            found.sop_class_uid,
            found.sop_instance_uid,
            found.transfer_syntax_uid,
            self._receiving.study_instance_uid,
        )
        if not found.transfer_syntax_uid:
            raise Reject(Status.CANNOT_UNDERSTAND_NOT_DICOM, REASONS[Status.CANNOT_UNDERSTAND_NOT_DICOM])
        if not self._receiving.has_room():
            raise Reject(Status.OUT_OF_RESOURCES, REASONS[Status.OUT_OF_RESOURCES])
        meta = file_meta(
            found.sop_class_uid,
            found.sop_instance_uid,
            found.transfer_syntax_uid,
            self._receiving.peer.calling_ae,
            self._receiving.peer.called_ae,
        )
        part.upload = Upload.begin(self._receiving.folder, meta)
        part.upload.has_room = self._receiving.has_room
        rest = memoryview(bytes(part.head))[found.offset :]
        part.head.clear()
        if rest:
            part.upload.write(rest)

    def _finish(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if part.upload is None or part.request is None:
            if part.refused is None:
                reason = REASONS[Status.CANNOT_UNDERSTAND_NOT_DICOM]
                self._give_up(part, Status.CANNOT_UNDERSTAND_NOT_DICOM, reason)
            self._told(part, part.refused or Status.CANNOT_UNDERSTAND_NOT_DICOM)
            return
        receiving = self._receiving
        with closing(part.upload) as upload:
            stored = receiving.store.put(upload, part.request, receiving.peer, receiving.association_id)
        self._told(part, Status.DUPLICATE_SOP_INSTANCE if stored.aside else stored.status)

    def _end(self) -> None:
        self.complete = True

    def _give_up(self, part: _Part, status: Status, why: str) -> None:
        LOG.warning("refused 0x%04X: %s (%s)", int(status), why, self._receiving.peer)
        self._drop(part)
        part.refused = status
        receiving = self._receiving
        receiving.store.recorder.refused(
            Refusal(receiving.store.site, int(status), REASONS[status], time.time(), receiving.peer)
        )

    def _drop(self, part: _Part) -> None:
        upload, part.upload = part.upload, None
        part.head.clear()
        if upload is not None:
            try:
                upload.unlink()
            except OSError as error:  # it stays in .incoming, where the next start finds it
                LOG.error("an unfinished file stays where it is: %s", error.strerror)
            upload.close()

    def _told(self, part: _Part, status: Status) -> None:
        names = (part.request.sop_class_uid, part.request.sop_instance_uid) if part.request else ("", "")
        safe = all(is_safe_uid_path(name) for name in names)
        self.outcomes.append(Outcome(*(names if safe else ("", "")), int(status)))


def _needed(head: bytearray) -> int:
    """Bytes that must be there before the File Meta Information can be read."""
    if len(head) < _META_HEAD:
        return _META_HEAD
    return _META_HEAD + min(int.from_bytes(head[_META_HEAD - 4 : _META_HEAD], "little"), _LONGEST_META)
