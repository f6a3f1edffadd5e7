"""One thread a process writes into the ledger, in the order of events and in groups; it also hashes what it records.

The durable act is the file; the ledger may lag behind, and what a crash takes from the queue is found again in the
archive (`recovery`). The end of an Association is written after its instances: where no Association is open,
everything that was acknowledged is recorded.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fiona_dagster.adapters.ledger.reception import ClosedAssociation, OpenedAssociation, Reception
from fiona_dagster.adapters.received_files import sha256_of_data_set
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.reception import Peer, ReceivedInstance, Refusal
from scp_listener.clerk import Clerk
from scp_listener.log import LOG

CAPACITY = 20_000
"""Entries that may wait for the ledger; beyond it C-STORE answers 0xA700 until it is back."""

BEHIND = 8_000
"""Entries from which on reception itself hashes what it receives, so that the sender feels the backlog."""

_GROUP = 500
_QUIET_SECONDS, _LONGEST_WAIT_SECONDS = 0.3, 10.0
"""It is written when nothing new came for so long, and at the latest so long after it came: while images stream in
the processor is theirs, and many small transactions would cost more than a few large ones."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass
class _Received:
    content: ReceivedInstance | Callable[[], ReceivedInstance]
    association_id: str
    path: Path | str | None

    @property
    def instance(self) -> ReceivedInstance:
        if not isinstance(self.content, ReceivedInstance):
            self.content = self.content()
        return self.content

    def complete(self) -> ReceivedInstance:
        """With the hash of its data set, which is taken here where nobody needed it before."""
        if not self.instance.sha256 and self.path is not None:
            self.content = replace(self.instance, sha256=sha256_of_data_set(Path(self.path)))
        return self.instance


_Entry = OpenedAssociation | ClosedAssociation | _Received | Refusal


class Recorder:
    """The queue into the ledger; every method but `stop` returns at once."""

    def __init__(self, reception: Reception, *, site: str, worker: str, capacity: int = CAPACITY) -> None:
        self._reception, self._site, self._worker, self._capacity = reception, site, worker, capacity
        self.clerk = Clerk()
        """Reads files in a process of its own, which `stop` ends."""
        self._entries: deque[_Entry] = deque()
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._lost = 0
        self._last_put = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether the ledger keeps up; where not, nothing more should be accepted."""
        return len(self._entries) < self._capacity

    def opened(self, association_id: str, peer: Peer, at: float) -> None:
        self._put(OpenedAssociation(association_id, self._site, self._worker, peer, at))

    def is_behind(self) -> bool:
        """Whether so much waits that its hashes should not be left to this thread alone."""
        return len(self._entries) > BEHIND

    def is_idle(self) -> bool:
        """Whether everything that was put until now is in the ledger."""
        return not self._entries

    def received(
        self,
        instance: ReceivedInstance | Callable[[], ReceivedInstance],
        association_id: str,
        path: Path | str | None = None,
    ) -> None:
        """`instance`, or what makes it when it is recorded, for its sender waits now; `path`: where it lies, so that
        an instance without a hash can be given one."""
        self._put(_Received(instance, association_id, path))

    def refused(self, refusal: Refusal) -> None:
        self._put(refusal)

    def closed(self, association_id: str, outcome: str, at: float) -> None:
        self._put(ClosedAssociation(association_id, outcome, at))

    def stop(self, seconds: float) -> bool:
        """Write what waits, for at most `seconds`; whether everything is in the ledger."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._hurry.set()
            self._thread.join(_LONGEST_PAUSE)
        self.clerk.close()
        return not self._entries and not self._lost

    def _put(self, entry: _Entry) -> None:
        self._last_put = time.monotonic()
        self._entries.append(entry)
        if not self._changed.is_set():
            self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            self._wait_for_quiet()
            if not self._write_first(len(self._entries)):
                return
            if self._entries:
                self._changed.set()
            elif self._stopping.is_set():
                return

    def _wait_for_quiet(self) -> None:
        latest = time.monotonic() + _LONGEST_WAIT_SECONDS
        while self._entries and isinstance(self._entries[0], _Received):
            if self.is_behind() or self._stopping.is_set():
                return
            now = time.monotonic()
            due = min(self._last_put + _QUIET_SECONDS, latest)
            if now >= due:
                return
            self._stopping.wait(due - now)

    def _write_first(self, count: int) -> bool:
        """Write at least `count` entries, however often the ledger must be asked; False: there is no time left."""
        pause = _FIRST_PAUSE
        while count > 0:
            group = list(itertools.islice(self._entries.copy(), _GROUP))
            try:
                self._write(group)
            except Transient as error:
                LOG.warning("%d entries wait for the ledger: %s", len(self._entries), error)
                if self._hurry.wait(pause):
                    return False
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            for _ in group:
                self._entries.popleft()
            count -= len(group)
        return True

    def _write(self, group: Sequence[_Entry]) -> None:
        try:
            self._record(group)
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001  the thread must outlive whatever a database driver raises
            if len(group) > 1:
                for entry in group:
                    self._write([entry])
                return
            self._lost += 1  # recovery finds its file at the next start: the stop does not count as clean
            LOG.error("one entry cannot be recorded (%s)", type(error).__name__)

    def _record(self, group: Sequence[_Entry]) -> None:
        received = [entry for entry in group if isinstance(entry, _Received)]
        self._hash(received)
        self._reception.record_group(
            [entry for entry in group if isinstance(entry, OpenedAssociation)],
            [(entry.complete(), entry.association_id) for entry in received],
            [entry for entry in group if isinstance(entry, ClosedAssociation)],
            [entry for entry in group if isinstance(entry, Refusal)],
        )

    def _hash(self, entries: Sequence[_Received]) -> None:
        missing = [entry for entry in entries if not entry.instance.sha256 and entry.path is not None]
        for entry, sha256 in zip(missing, self.clerk.hashes([str(one.path) for one in missing]), strict=True):
            if sha256 is not None:
                entry.content = replace(entry.instance, sha256=sha256)
