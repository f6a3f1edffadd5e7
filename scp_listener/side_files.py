"""FIONA's side files are written beside reception, by one thread: links and touch files soon, the series JSON when
a series has fallen quiet, so that one of 3000 images is not written 3000 times."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import InstanceHeader, Peer
from scp_listener.clerk import Clerk
from scp_listener.log import LOG

QUIET_SECONDS = 2.0
"""A series is written when nothing new came for so long ..."""
LONGEST_SECONDS = 30.0
"""... and at the latest so long after its first image that is not written yet."""

_PAUSE_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0
"""Links and touch files are made when nothing new came for so long, and at the latest so long after it came: while
images stream in the processor is theirs."""
_Series = tuple[str, str]


@dataclass(frozen=True)
class _Arrival:
    header: InstanceHeader
    peer: Peer
    path: Path | str | None

    @property
    def series(self) -> _Series:
        return self.header.study_instance_uid, self.header.series_instance_uid


@dataclass
class _Waiting:
    first: float
    last: float
    images: list[tuple[Path, Peer]] = field(default_factory=list)

    @property
    def due(self) -> float:
        return min(self.last + QUIET_SECONDS, self.first + LONGEST_SECONDS)


class SideFiles:
    """Collects arrivals; a failure is logged and costs only the side file, which can be rebuilt."""

    def __init__(self, layout: Layout, clerk: Clerk | None = None) -> None:
        """`clerk` reads images; whoever made it closes it."""
        self._layout, self._clerk = layout, clerk
        self._fresh: deque[_Arrival] = deque()
        self._waiting: dict[_Series, _Waiting] = {}
        self._last_arrival = 0.0
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="side-files", daemon=True)
        self._thread.start()

    def arrived(self, header: InstanceHeader, peer: Peer, new: Path | str | None) -> None:
        """An instance was stored, at `new` where it was not there before; returns at once."""
        self._last_arrival = time.monotonic()
        self._fresh.append(_Arrival(header, peer, new))
        if not self._changed.is_set():
            self._changed.set()

    def stop(self, seconds: float) -> bool:
        """Write everything that waits, for at most `seconds`; whether that was enough."""
        self._stopping.set()
        self._changed.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            due = min((one.due for one in self._waiting.values()), default=None)
            if self._changed.wait(None if due is None else max(0.0, due - time.monotonic())):
                self._wait_for_a_pause()
            stopping = self._stopping.is_set()
            if not stopping:
                self._changed.clear()
            self._take_up()
            for series in self._due(everything=stopping):
                self._write(series, self._waiting.pop(series).images)
            if stopping and not self._fresh:
                return

    def _wait_for_a_pause(self) -> None:
        latest = time.monotonic() + _LONGEST_WAIT_SECONDS
        while not self._stopping.is_set():
            now = time.monotonic()
            due = min(self._last_arrival + _PAUSE_SECONDS, latest)
            if now >= due:
                return
            self._stopping.wait(due - now)

    def _take_up(self) -> None:
        """Link what is new, touch what arrived: once for every series."""
        arrivals = [self._fresh.popleft() for _ in range(len(self._fresh))]
        now = time.monotonic()
        for peer, series in dict.fromkeys((one.peer, one.series) for one in arrivals):
            try:
                fiona_layout.touch_arrived(self._layout, peer, *series)
            except (OSError, ValueError) as error:
                _not_written(error)
        for one in arrivals:
            if one.path is None:
                continue
            try:
                fiona_layout.link_instance(self._layout, one.header)
            except (OSError, ValueError) as error:
                _not_written(error)
            waiting = self._waiting.setdefault(one.series, _Waiting(now, now))
            waiting.last = now
            waiting.images.append((Path(one.path), one.peer))

    def _due(self, *, everything: bool) -> list[_Series]:
        now = time.monotonic()
        return [series for series, waiting in self._waiting.items() if everything or waiting.due <= now]

    def _write(self, series: _Series, images: list[tuple[Path, Peer]]) -> None:
        fields = []
        wanted = [(str(path), peer) for path, peer in images]
        known = self._clerk.fields(wanted) if self._clerk else [None] * len(wanted)
        for (path, peer), found in zip(images, known, strict=True):
            try:
                fields.append(found or fiona_layout.read_fields(path, peer))
            except FionaError as error:
                LOG.warning("an instance is missing in a series JSON: %s", error)
        try:
            if fields:
                fiona_layout.add_images(self._layout, *series, fields)
        except (OSError, ValueError, KeyError) as error:
            LOG.warning(
                "a series JSON with %d new images was not written (%s)", len(fields), type(error).__name__
            )


def _not_written(error: Exception) -> None:
    LOG.warning("a side file was not written (%s)", type(error).__name__)
