"""Where the bytes of a data set come from while it is walked: a piece of it in memory, whatever its size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Protocol

from fiona_dagster.domain.data_set_values import LONGEST_VALUE, WANTED
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.familiar_elements import Familiar, Stretch

LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs with a length of 32 bits (PS3.5 section 7.1.2)."""

_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
     b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip

UNDEFINED = 0xFFFFFFFF
_EXPLICIT_LITTLE_HEAD = struct.Struct("<HH2sH")
_LITTLE_LENGTH = struct.Struct("<L")

Read = Callable[[int, int], bytes]
"""At most so many bytes from a place of the data set, counted from its beginning; fewer only at its end."""


class Source(Protocol):
    """What can be walked."""

    def some(self, count: int) -> bytes:
        """At most `count` bytes, fewer only at the end."""

    def skip(self, count: int) -> None:
        """Step over `count` bytes, which must be there."""


class Window:
    """A piece of the data set in memory, read anew where the walk leaves it."""

    _PIECE = 16_384

    def __init__(self, read: Read, size: int, head: bytes, familiar: Familiar | None = None) -> None:
        self._read, self._size = read, size
        self._piece, self._base, self._at = head, 0, 0
        self._head, self._familiar = head, familiar
        self._stretches = familiar.stretches if familiar else {}
        self._places: list[tuple[int, int, int | None]] | None = (
            [] if familiar and familiar.is_learning else None
        )

    def some(self, count: int) -> bytes:
        count = min(count, self._size - self._at)
        begin = self._at - self._base
        if begin + count > len(self._piece):
            self._piece, self._base = self._read(self._at, max(count, self._PIECE)), self._at
            begin = 0
        data = self._piece[begin : begin + count]
        self._at += len(data)
        return data

    def skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise broken()
        self._at += count

    def step(self, values: dict[int, bytes]) -> None:
        """Go over elements in Explicit VR Little Endian as far as they are plain and begin in the piece."""
        piece, base, end = self._piece, self._base, self._size - self._base
        at, last = self._at - base, len(self._piece) - 12
        stretches, places = self._stretches, self._places if piece is self._head else None
        while at <= last:
            if stretches:
                stretch = stretches.get(piece[at : at + 4])
                if stretch is not None:
                    at += self._stretch(stretch, at, values)
                    continue
            group, element, vr, length = _EXPLICIT_LITTLE_HEAD.unpack_from(piece, at)
            begin = at + 8
            if vr in LONG_VRS:
                (length,) = _LITTLE_LENGTH.unpack_from(piece, begin)
                begin += 4
            elif vr not in _SHORT_VRS:
                break
            after = begin + length
            if after > end or length == UNDEFINED or group == 0xFFFE:
                break
            tag = group << 16 | element
            if tag in WANTED and length <= LONGEST_VALUE:
                if after > len(piece):
                    break
                values[tag] = piece[begin:after]
                if places is not None:
                    places.append((at, after, begin))
            elif places is not None and after <= len(piece):
                places.append((at, after, None))
            at = after
        self._at = base + at

    def _stretch(self, stretch: Stretch, at: int, values: dict[int, bytes]) -> int:
        """Bytes of what stands at `at` in the piece and is `stretch`; 0 where it is not, and is cut down then."""
        if self._piece.startswith(stretch.content, at):
            values.update(stretch.values)
            return len(stretch.content)
        if self._familiar is not None:
            self._familiar.split(stretch, self._piece, at)
        return 0

    @property
    def position(self) -> int:
        """How much of the data set was walked, in bytes."""
        return self._at

    def walked(self, begin: int) -> None:
        """An element that began at `begin`, and is not wanted, ends here."""
        if self._places is not None and self._at <= len(self._head):
            self._places.append((begin, self._at, None))

    def close(self) -> None:
        """The data set was walked to its end."""
        if self._familiar is not None:
            self._familiar.seen(self._head, self._places or ())


class Inflated:
    """The inflated stream, never more than a piece of it in memory."""

    _PIECE = 65_536

    def __init__(self, read: Read) -> None:
        self._read, self._packed = read, 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._piece = b""
        self._at = 0

    def some(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count and self._more():
            taken = self._piece[self._at : self._at + count - len(parts)]
            self._at += len(taken)
            parts += taken
        return bytes(parts)

    def skip(self, count: int) -> None:
        while count:
            if not self._more():
                raise broken()
            step = min(count, len(self._piece) - self._at)
            self._at += step
            count -= step

    def _more(self) -> bool:
        while self._at == len(self._piece):
            if self._inflate.eof:
                return False
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._read(self._packed, self._PIECE)
                self._packed += len(packed)
            if not packed:
                raise broken()  # the deflate stream has no end: it was cut
            try:
                self._piece, self._at = self._inflate.decompress(packed, self._PIECE), 0
            except zlib.error as error:
                raise broken() from error
        return True


def broken() -> Reject:
    """What is said of a data set that ends too early, or is none."""
    return Reject(Status.CANNOT_UNDERSTAND, REASONS[Status.CANNOT_UNDERSTAND])
