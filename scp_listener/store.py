"""What happens to a data set that a C-STORE brought: refused with a named Status, or durable, and then Success.

Nothing here knows how the data set came over the network: it begins with a complete upload on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.spool import Spool, read_instance, sha256_of_data_set
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import (
    InstanceHeader,
    Peer,
    Refusal,
    StoreRequest,
    admit_instance,
    received_instance,
)
from scp_listener.log import LOG
from scp_listener.recorder import Recorder
from scp_listener.series_writer import SeriesWriter


@dataclass(frozen=True)
class Store:
    """Takes uploads of one site. Safe to call from many threads."""

    site: str
    layout: Layout
    spool: Spool
    recorder: Recorder
    series: SeriesWriter
    clock: Callable[[], float] = time.time

    def __call__(self, upload: Path, request: StoreRequest, peer: Peer, association_id: str) -> Status:
        """Place a complete upload; it is gone from where it was in every case. Never raises."""
        try:
            return self._store(upload, request, peer, association_id)
        except Reject as error:
            return self._refuse(upload, Status(error.status), error.reason, peer)
        except OSError as error:  # no space, no permission, a dying disk: the sender keeps its copy
            LOG.error("an instance was refused: %s", error.strerror)
            return self._refuse(upload, Status.OUT_OF_RESOURCES, REASONS[Status.OUT_OF_RESOURCES], peer)
        except Exception as error:  # noqa: BLE001  whatever it was, the sender must not be told Success
            LOG.error("an instance was refused: %s", type(error).__name__)
            return self._refuse(upload, Status.PROCESSING_FAILURE, REASONS[Status.PROCESSING_FAILURE], peer)

    def _store(self, upload: Path, request: StoreRequest, peer: Peer, association_id: str) -> Status:
        if not self.recorder.has_room():
            raise _rejected(Status.OUT_OF_RESOURCES)
        _, header = read_instance(upload)
        status = admit_instance(header, request)
        if status is not Status.SUCCESS:
            raise _rejected(status)
        sha256 = sha256_of_data_set(upload)
        size = upload.stat().st_size
        placed = self.spool.place(upload, header.study_instance_uid, header.sop_instance_uid, sha256)
        self._side_files(header, peer, placed.path, new=not placed.resent and not placed.aside)
        instance = received_instance(
            header,
            request,
            site=self.site,
            sha256=sha256,
            size_bytes=size,
            path=self.spool.relative(placed.path),
            received_at=self.clock(),
            peer=peer,
            aside=placed.aside,
        )
        self.recorder.received(instance, association_id)
        return Status.SUCCESS

    def _side_files(self, header: InstanceHeader, peer: Peer, path: Path, *, new: bool) -> None:
        study_uid, series_uid = header.study_instance_uid, header.series_instance_uid
        try:
            fiona_layout.touch_arrived(self.layout, peer, study_uid, series_uid)
            if new:
                fiona_layout.link_instance(self.layout, header)
                self.series.add(study_uid, series_uid, path, peer)
        except (OSError, ValueError) as error:  # a convenience that can be rebuilt: the instance is safe
            LOG.warning("a side file was not written (%s)", type(error).__name__)

    def _refuse(self, upload: Path, status: Status, reason: str, peer: Peer) -> Status:
        refusal = Refusal(self.site, int(status), reason, self.clock(), peer)
        try:
            if status is Status.OUT_OF_RESOURCES:
                upload.unlink(missing_ok=True)
            elif upload.exists():
                refusal = self.spool.refuse(upload, refusal)
        except OSError as error:  # it stays in .incoming, where the next start finds it
            LOG.error("a refused file stays where it is: %s", error.strerror)
        LOG.warning("refused 0x%04X: %s", int(status), reason)
        self.recorder.refused(refusal)
        return status


def _rejected(status: Status) -> Reject:
    return Reject(status, REASONS[status])
