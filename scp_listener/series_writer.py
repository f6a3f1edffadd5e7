"""The series JSON is written beside reception, by one thread: a series of 3000 images is not written 3000 times."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer
from scp_listener.log import LOG

QUIET_SECONDS = 2.0
"""A series is written when nothing new came for so long ..."""
LONGEST_SECONDS = 30.0
"""... and at the latest so long after its first image that is not written yet."""

_Series = tuple[str, str]


@dataclass
class _Waiting:
    first: float
    last: float
    images: list[tuple[Path, Peer]] = field(default_factory=list)

    @property
    def due(self) -> float:
        return min(self.last + QUIET_SECONDS, self.first + LONGEST_SECONDS)


class SeriesWriter:
    """Collects new images by series; a failure is logged and costs only the side file, which can be rebuilt."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._waiting: dict[_Series, _Waiting] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="series-writer", daemon=True)
        self._thread.start()

    def add(self, study_uid: str, series_uid: str, path: Path, peer: Peer) -> None:
        """A new image of a series; returns at once."""
        now = time.monotonic()
        with self._changed:
            waiting = self._waiting.setdefault((study_uid, series_uid), _Waiting(now, now))
            waiting.last = now
            waiting.images.append((path, peer))
            if len(waiting.images) == 1:
                self._changed.notify_all()

    def stop(self, seconds: float) -> bool:
        """Write everything that waits, for at most `seconds`; whether that was enough."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
                if taken is None:
                    return
            self._write(*taken)

    def _take(self) -> tuple[_Series, list[tuple[Path, Peer]]] | None:
        """Wait for the next series that is due; None at the end."""
        while True:
            if not self._waiting:
                if self._stopping:
                    return None
                self._changed.wait()
                continue
            series = min(self._waiting, key=lambda one: self._waiting[one].due)
            left = self._waiting[series].due - time.monotonic()
            if left <= 0 or self._stopping:
                return series, self._waiting.pop(series).images
            self._changed.wait(left)

    def _write(self, series: _Series, images: list[tuple[Path, Peer]]) -> None:
        fields = []
        for path, peer in images:
            try:
                fields.append(fiona_layout.read_fields(path, peer))
            except FionaError as error:
                LOG.warning("an instance is missing in a series JSON: %s", error)
        try:
            if fields:
                fiona_layout.add_images(self._layout, *series, fields)
        except (OSError, ValueError, KeyError) as error:
            LOG.warning(
                "a series JSON with %d new images was not written (%s)", len(fields), type(error).__name__
            )
