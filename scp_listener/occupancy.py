"""How many Associations each process of a listener has open, and when it was last seen alive: shared by all of them.

Each process writes its own row and reads all; nothing waits for anybody. Between the look at a limit and the entry
another process may come first: a limit is kept to within the number of processes.
"""

from __future__ import annotations

import mmap
import threading
import time
import zlib

_BUCKETS = 1 << 15
_TOTAL = 0
_ROW_BYTES = 8 + 2 * _BUCKETS
_EMPTY = memoryview(bytes(2 * _BUCKETS)).cast("H")


class Occupancy:
    """The table; made before the processes are forked."""

    def __init__(self, rows: int) -> None:
        self._memory = mmap.mmap(-1, rows * _ROW_BYTES)
        self._view = memoryview(self._memory)
        self._rows = [self._row(number) for number in range(rows)]

    def _row(self, number: int) -> tuple[memoryview[float], memoryview[int]]:
        at = number * _ROW_BYTES
        beat = self._view[at : at + 8].cast("d")
        return beat, self._view[at + 8 : at + _ROW_BYTES].cast("H")

    def place(self, number: int) -> Place:
        """The row of one process, empty."""
        self.clear(number)
        return Place(self, number)

    def clear(self, number: int) -> None:
        """Forget a process that is gone; it counts as seen now."""
        beat, counts = self._rows[number]
        beat[0] = time.monotonic()
        counts[:] = _EMPTY

    def total(self) -> int:
        """Associations of all processes."""
        return sum(counts[_TOTAL] for _, counts in self._rows)

    def of_peer(self, address: str) -> int:
        """Those of one address; two addresses may, rarely, count as one."""
        bucket = _bucket(address)
        return sum(counts[bucket] for _, counts in self._rows)

    def silent_seconds(self, number: int) -> float:
        """For how long a process has not been seen alive."""
        return time.monotonic() - self._rows[number][0][0]

    def add(self, number: int, address: str, change: int) -> None:
        """An Association of `address` came (1) or went (-1)."""
        counts = self._rows[number][1]
        for at in (_TOTAL, _bucket(address)):
            counts[at] = max(0, min(0xFFFF, counts[at] + change))

    def beat(self, number: int) -> None:
        """A process is alive."""
        self._rows[number][0][0] = time.monotonic()


class Place:
    """The row of this process."""

    def __init__(self, occupancy: Occupancy, number: int) -> None:
        self._occupancy, self._number = occupancy, number
        self._turn = threading.Lock()

    def enter(self, address: str, *, most: int, most_of_peer: int) -> str:
        """Count an Association in; '' where there was room, else what there are too many of: `all` or `peer`."""
        with self._turn:
            if self._occupancy.total() >= most:
                return "all"
            if most_of_peer and self._occupancy.of_peer(address) >= most_of_peer:
                return "peer"
            self._occupancy.add(self._number, address, 1)
        return ""

    def leave(self, address: str) -> None:
        """An Association that was counted in has ended."""
        with self._turn:
            self._occupancy.add(self._number, address, -1)

    def beat(self) -> None:
        """This process is alive."""
        self._occupancy.beat(self._number)


def _bucket(address: str) -> int:
    return 1 + zlib.crc32(address.encode()) % (_BUCKETS - 1)
