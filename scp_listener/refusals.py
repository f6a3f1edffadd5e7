"""Refusals reach the ledger, but a flood of them does not fill it: the first of a kind at once, the rest as a sum.

What was refused and kept in the quarantine has a row of its own, for it is on the disk.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from fiona_dagster.domain.reception import Peer, Refusal
from scp_listener.log import LOG
from scp_listener.recorder import Recorder

WINDOW_SECONDS = 60.0
KINDS = 50
"""Kinds in a window that are told apart; callers beyond them are summed as one."""

NOBODY = Peer("", "", "")
"""In place of callers that came in too many guises to be told apart."""


@dataclass
class _Kind:
    since: float
    refusal: Refusal
    more: int = 0


class SparingRecorder(Recorder):
    """A recorder that sums refusals of the same Status, reason and caller."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self._kinds: dict[tuple[int, str, Peer], _Kind] = {}
        self._kinds_turn = threading.Lock()
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def refused(self, refusal: Refusal) -> None:
        """Record a refusal now, or with those that follow it within a minute."""
        if refusal.path is not None:
            super().refused(refusal)
            return
        with self._kinds_turn:
            kind = self._kind(refusal)
            if kind is not None:
                kind.more += refusal.times
                return
        LOG.warning("refused 0x%04X: %s (%s)", refusal.status, refusal.reason, refusal.peer)
        super().refused(refusal)

    def sum_up(self, *, everything: bool = False) -> None:
        """Record the sums whose minute is over, or all of them. Call it now and then."""
        now = time.monotonic()
        with self._kinds_turn:
            over = [
                key for key, one in self._kinds.items() if everything or now - one.since >= WINDOW_SECONDS
            ]
            ended = [self._kinds.pop(key) for key in over]
        for one in ended:
            if one.more:
                last = one.refusal
                LOG.warning("refused 0x%04X: %s (%s; %d more)", last.status, last.reason, last.peer, one.more)
                super().refused(replace(one.refusal, times=one.more, at=time.time()))

    def stop(self, seconds: float) -> bool:
        """As `Recorder.stop`, with what is not summed up yet."""
        self.sum_up(everything=True)
        return super().stop(seconds)

    def _kind(self, refusal: Refusal) -> _Kind | None:
        """What `refusal` is to be added to; None where it is the first of its kind."""
        for one in (refusal, replace(refusal, peer=NOBODY)):
            key = (one.status, one.reason, one.peer)
            found = self._kinds.get(key)
            if found is not None:
                return found
            if len(self._kinds) < KINDS or one.peer == NOBODY:
                self._kinds[key] = _Kind(time.monotonic(), one)
                return self._kinds[key] if one.peer == NOBODY else None
        return None
