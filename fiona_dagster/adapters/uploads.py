"""A data set while it is received: an open file in `.incoming`, of which the beginning is at hand in memory."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from fiona_dagster.adapters.durable import begin_write_back
from fiona_dagster.adapters.received_files import FILE_MODE, read_file_meta
from fiona_dagster.domain.data_set import scan_by
from fiona_dagster.domain.familiar_elements import Familiar
from fiona_dagster.domain.reception import InstanceHeader

_HEAD_BYTES = 65_536
_PIECE_BYTES = 1 << 20
_LOOK_BYTES = 16 << 20
"""After so many bytes it is asked again whether there is room: nobody says beforehand how large a data set is."""
_EARLY_BYTES, _LARGEST_PIECE = 131_072, 4 << 20
"""The disk is given the first so many bytes of a data set, then pieces that double up to this size: more small ones
would fill its queue, and then who writes waits for it."""
_PAGE = 4096
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NUMBERS = itertools.count(1)


class Upload:
    """One file of a data set; whoever made it closes it, whatever becomes of the file."""

    def __init__(self, place: str, descriptor: int, offset: int) -> None:
        self.place, self.descriptor = place, descriptor
        self._offset = offset
        self._head: bytes | bytearray = b""
        self._meta = b""
        self.size = offset
        """Bytes of the file."""
        self.has_room: Callable[[], bool] = _always
        """Whether the disk takes more."""
        self._next_look = offset + _LOOK_BYTES
        self.goes_to_disk = False
        """Whether the disk is to begin with it while it comes: its sender waits less at the end, and little of a large
        one is in memory alone."""
        self._with_the_disk, self._next_piece = 0, _EARLY_BYTES

    @classmethod
    def begin(cls, folder: Path, meta: bytes) -> Self:
        """A new file in `folder`, which one process writes; `meta`: everything before its data set.

        Raises:
            OSError: it cannot be made.
        """
        place = f"{folder}/{next(_NUMBERS)}.dcm"
        upload = cls(place, os.open(place, _NEW, FILE_MODE), len(meta))
        upload._meta = meta
        return upload

    @classmethod
    def complete(cls, path: Path) -> Self:
        """A file that somebody else wrote.

        Raises:
            Reject: it has no File Meta Information.
            OSError: it cannot be opened.
        """
        with path.open("rb") as stream:
            offset = read_file_meta(stream).offset
            upload = cls(str(path), os.dup(stream.fileno()), offset)
            upload.size = os.fstat(upload.descriptor).st_size
        os.fchmod(upload.descriptor, FILE_MODE)
        return upload

    @property
    def path(self) -> Path:
        """Where it is while it is received."""
        return Path(self.place)

    def write(self, fragment: memoryview) -> None:
        """The next bytes of the data set.

        Raises:
            OSError: they cannot be written, the disk is full, or too little of it would stay free.
        """
        size = len(fragment)
        if not self._head:
            self._head = bytes(fragment[:_HEAD_BYTES])  # most small data sets come in one piece: copied once
        elif len(self._head) < _HEAD_BYTES:
            self._head = bytearray(self._head) if isinstance(self._head, bytes) else self._head
            self._head += fragment[: _HEAD_BYTES - len(self._head)]
        if self._meta:
            written = os.writev(self.descriptor, [self._meta, fragment]) - len(self._meta)
            if written < 0:
                raise OSError(28, "No space left on device")
            self._meta = b""
            fragment = fragment[written:]
        while fragment:
            fragment = fragment[os.write(self.descriptor, fragment) :]
        self.size += size
        if self.goes_to_disk and self.size >= self._next_piece:
            count = (self.size - self._with_the_disk) // _PAGE * _PAGE
            begin_write_back(self.descriptor, self._with_the_disk, count)
            self._with_the_disk += count
            self._next_piece = self.size + min(self.size, _LARGEST_PIECE)
        if self.size >= self._next_look:
            self._next_look = self.size + _LOOK_BYTES
            if not self.has_room():
                raise OSError(errno.ENOSPC, "the disk has no room for the rest of a data set")

    def header(self, transfer_syntax_uid: str, familiar: Familiar | None = None) -> InstanceHeader:
        """What reception needs of the data set, which is walked to its end (see `scan_by`).

        Raises:
            Reject: it is no DICOM, or broken.
        """
        return scan_by(self._read, self.size - self._offset, transfer_syntax_uid, bytes(self._head), familiar)

    def sha256(self) -> str:
        """Hash of the data set, in hexadecimal digits."""
        digest, at = hashlib.sha256(), 0
        while piece := self._read(at, _PIECE_BYTES):
            digest.update(piece)
            at += len(piece)
        return digest.hexdigest()

    def unlink(self) -> None:
        """Take the name in `.incoming` away."""
        with suppress(FileNotFoundError):
            os.unlink(self.place)  # noqa: PTH108  for every instance: no Path is made

    def close(self) -> None:
        """Give the descriptor back; the file stays."""
        os.close(self.descriptor)

    def _read(self, at: int, count: int) -> bytes:
        return os.pread(self.descriptor, count, self._offset + at)


def _always() -> bool:
    return True
