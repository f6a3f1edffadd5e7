"""One thread a process writes into the ledger, in the order of events and in groups.

The durable act is the file; the ledger may lag behind, and what a crash takes from the queue is found again in the
archive (`recovery`). The end of an Association is written after its instances: where no Association is open,
everything that was acknowledged is recorded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fiona_dagster.adapters.ledger.reception import Reception
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.reception import Peer, ReceivedInstance, Refusal
from scp_listener.log import LOG

CAPACITY = 20_000
"""Entries that may wait for the ledger; beyond it C-STORE answers 0xA700 until it is back."""

_GROUP = 500
_PACE_SECONDS = 0.1
"""At least so long between two writings: many small transactions would cost reception its processor."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True)
class _Opened:
    association_id: str
    peer: Peer
    at: float


@dataclass(frozen=True)
class _Closed:
    association_id: str
    outcome: str
    at: float


@dataclass(frozen=True)
class _Received:
    instance: ReceivedInstance
    association_id: str


_Entry = _Opened | _Closed | _Received | Refusal


class Recorder:
    """The queue into the ledger; every method but `stop` returns at once."""

    def __init__(self, reception: Reception, *, site: str, worker: str, capacity: int = CAPACITY) -> None:
        self._reception, self._site, self._worker, self._capacity = reception, site, worker, capacity
        self._entries: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._hurry = threading.Event()
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether the ledger keeps up; where not, nothing more should be accepted."""
        return len(self._entries) < self._capacity

    def opened(self, association_id: str, peer: Peer, at: float) -> None:
        self._put(_Opened(association_id, peer, at))

    def received(self, instance: ReceivedInstance, association_id: str) -> None:
        self._put(_Received(instance, association_id))

    def refused(self, refusal: Refusal) -> None:
        self._put(refusal)

    def closed(self, association_id: str, outcome: str, at: float) -> None:
        self._put(_Closed(association_id, outcome, at))

    def stop(self, seconds: float) -> bool:
        """Write what waits, for at most `seconds`; whether everything is in the ledger."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._hurry.set()
            self._thread.join(_LONGEST_PAUSE)
        return not self._entries and not self._lost

    def _put(self, entry: _Entry) -> None:
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._entries or self._stopping)
                if not self._entries:
                    return
                group = _first_of_a_kind(self._entries)
            try:
                self._write(group)
            except Transient as error:
                LOG.warning("%d entries wait for the ledger: %s", len(self._entries), error)
                if self._hurry.wait(pause):
                    return
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            with self._changed:
                for _ in group:
                    self._entries.popleft()
                if isinstance(group[0], _Received):
                    self._changed.wait_for(lambda: self._stopping, _PACE_SECONDS)

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
        first = group[0]
        if isinstance(first, _Received):
            self._reception.record(
                [(entry.instance, entry.association_id) for entry in group if isinstance(entry, _Received)]
            )
        elif isinstance(first, _Opened):
            self._reception.open_association(
                first.association_id, self._site, self._worker, first.peer, first.at
            )
        elif isinstance(first, _Closed):
            self._reception.close_association(first.association_id, first.outcome, first.at)
        else:
            self._reception.refuse(first)


def _first_of_a_kind(entries: deque[_Entry]) -> list[_Entry]:
    """The first entry, with the instances right behind it where it is one."""
    group: list[_Entry] = []
    for entry in entries:
        if len(group) == _GROUP or (group and not isinstance(entry, _Received)):
            break
        group.append(entry)
        if not isinstance(entry, _Received):
            break
    return group
