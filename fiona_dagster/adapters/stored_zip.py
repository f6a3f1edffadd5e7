"""A zip of stored entries, written in one pass so that its checksums come with the writing.

`zipfile` seeks back to complete each entry's header, which would force a second reading of the whole package for
its MD5. Here size and CRC-32 are known before an entry begins, so the bytes only ever go forward: the checksum
runs beside the writing, and readers that cannot take trailing data descriptors (Java's among them) are served.
All times and attributes are constants. Format: PKWARE APPNOTE 4.3.7 (local header), 4.3.12 to 4.3.16 (directory,
ZIP64), 4.5.3 (ZIP64 extra field); section numbers below refer to it.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

_MAX_32 = 0xFFFFFFFF
_MAX_16 = 0xFFFF
_UTF8_NAMES = 0x0800  # 4.4.4, bit 11
_DOS_TIME, _DOS_DATE = 0, (1 << 5) | 1  # 1980-01-01 00:00, the format's first moment
_UNIX = 3 << 8
_REGULAR_FILE = 0o100644 << 16
_QUEUED_BUFFERS = 8
_DIRECTORY_IN_MEMORY = 4 << 20
"""Bytes; the directory of a larger package waits on disk, some 100 bytes a file."""


@dataclass(frozen=True)
class _Written:
    name: bytes
    flags: int
    crc: int
    size: int
    offset: int


class HashThread:
    """Feeds checksums in a thread of its own: hashlib lets go of the interpreter lock while it works."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="checksum")
        self._queued: deque[Future[None]] = deque()

    def feed(self, checksum: Any, data: bytes) -> None:
        """Add `data` to `checksum`, in the order of the calls; waits when much is queued: memory stays flat."""
        if len(self._queued) >= _QUEUED_BUFFERS:
            self._queued.popleft().result()
        self._queued.append(self._worker.submit(checksum.update, data))

    def finish(self) -> None:
        """Wait until everything is hashed and end the thread; safe to call again."""
        self._worker.shutdown(wait=True)


class StoredZip:
    """Writes entries to `stream` from its present position; `close` writes the directory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashing = HashThread()
        self._directory = tempfile.SpooledTemporaryFile(_DIRECTORY_IN_MEMORY)  # noqa: SIM115 — closed by stop
        self._count = 0
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self.size_bytes = 0

    def add(self, name: str, size: int, crc: int, content: Iterable[bytes]) -> None:
        """Add an entry of `size` bytes whose CRC-32 is `crc`.

        Raises:
            ValueError: `content` has another size.
        """
        raw = name.encode()
        flags = 0 if name.isascii() else _UTF8_NAMES
        entry = _Written(raw, flags, crc, size, self.size_bytes)
        extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= _MAX_32 else b""
        shown = _MAX_32 if extra else size
        version = 45 if extra else 20
        self._put(
            struct.pack("<4s5H3L2H", b"PK\x03\x04", version, flags, 0, _DOS_TIME, _DOS_DATE, crc, shown, shown,
                        len(raw), len(extra)) + raw + extra
        )  # fmt: skip
        start = self.size_bytes
        for chunk in content:
            self._put(chunk)
        if self.size_bytes - start != size:
            raise ValueError("an entry changed its size while it was packed")
        self._directory.write(_directory_header(entry))
        self._count += 1

    def close(self) -> str:
        """Write the directory; returns the MD5 of the whole zip."""
        start = self.size_bytes
        self._directory.seek(0)
        while piece := self._directory.read(1 << 20):
            self._put(piece)
        self._put(_directory_end(self._count, start, self.size_bytes - start))
        self._flush()
        self.stop()
        return self._md5.hexdigest()

    def stop(self) -> None:
        """End the hashing thread; `close` does it, and whoever gives up has to."""
        self._hashing.finish()
        self._directory.close()

    def _put(self, data: bytes) -> None:
        """Small pieces are gathered: a thread hand-over for every header would cost more than its hashing."""
        self.size_bytes += len(data)
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= 1 << 20:
            self._flush()

    def _flush(self) -> None:
        if self._gathered:
            data = self._gathered[0] if len(self._gathered) == 1 else b"".join(self._gathered)
            self._gathered, self._gathered_size = [], 0
            self._hashing.feed(self._md5, data)
            self._stream.write(data)


def _directory_header(entry: _Written) -> bytes:
    """4.3.12; sizes and offset that do not fit stand in the ZIP64 extra field, in this order (4.5.3)."""
    large = [v for v in (entry.size, entry.size, entry.offset) if v >= _MAX_32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, offset = min(entry.size, _MAX_32), min(entry.offset, _MAX_32)
    version = 45 if extra else 20
    return (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", _UNIX | version, version, entry.flags, 0, _DOS_TIME, _DOS_DATE,
                    entry.crc, size, size, len(entry.name), len(extra), 0, 0, 0, _REGULAR_FILE, offset)
        + entry.name + extra
    )  # fmt: skip


def _directory_end(count: int, start: int, size: int) -> bytes:
    """4.3.16, preceded by the ZIP64 record (4.3.14) and its locator (4.3.15) where the plain one is too small."""
    zip64 = b""
    if count >= _MAX_16 or start >= _MAX_32 or size >= _MAX_32:
        zip64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, _UNIX | 45, 45, 0, 0, count, count, size, start)
        zip64 += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    shown = min(count, _MAX_16)
    return zip64 + struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, shown, shown, min(size, _MAX_32), min(start, _MAX_32), 0
    )
