"""What happens to a data set that a C-STORE brought: refused with a named Status, or durable, and then Success.

Nothing here knows how the data set came over the network: it begins with a complete upload on the disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.familiar_elements import Familiar
from fiona_dagster.domain.reception import (
    Peer,
    Refusal,
    StoreRequest,
    admit_instance,
    received_instance,
)
from scp_listener.log import LOG
from scp_listener.recorder import Recorder
from scp_listener.side_files import SideFiles


@dataclass(frozen=True)
class Stored:
    """What the sender may be told. `aside`: durable, but under a SOP Instance UID that has other content (law 7)."""

    status: Status
    aside: bool = False


@dataclass(frozen=True)
class Store:
    """Takes uploads of one site. Safe to call from many threads.

    What is not needed to answer is done behind the answer: the hash, the record and FIONA's side files.
    """

    site: str
    spool: Spool
    recorder: Recorder
    side_files: SideFiles
    clock: Callable[[], float] = time.time
    threads: threading.local = field(default_factory=threading.local, repr=False)

    def __call__(self, upload: Upload, request: StoreRequest, peer: Peer, association_id: str) -> Status:
        """`put` for a C-STORE, which tells Success of what was put aside, too: it has no other Status for it."""
        return self.put(upload, request, peer, association_id).status

    def put(self, upload: Upload, request: StoreRequest, peer: Peer, association_id: str) -> Stored:
        """Place a complete upload; its file is gone from where it was in every case. Never raises."""
        try:
            return self._store(upload, request, peer, association_id)
        except Reject as error:
            return Stored(self.refuse(upload, Status(error.status), error.reason, peer))
        except OSError as error:  # no space, no permission, a dying disk: the sender keeps its copy
            LOG.error("an instance was refused: %s (%s)", error.strerror, peer)
            status = Status.OUT_OF_RESOURCES
            return Stored(self.refuse(upload, status, REASONS[status], peer))
        except Exception as error:  # noqa: BLE001  whatever it was, the sender must not be told Success
            LOG.error("an instance was refused: %s (%s)", type(error).__name__, peer)
            status = Status.PROCESSING_FAILURE
            return Stored(self.refuse(upload, status, REASONS[status], peer))

    def _store(self, upload: Upload, request: StoreRequest, peer: Peer, association_id: str) -> Stored:
        if not self.recorder.has_room():
            raise _rejected(Status.OUT_OF_RESOURCES)
        header = upload.header(request.transfer_syntax_uid, self._familiar())
        status = admit_instance(header, request)
        if status is not Status.SUCCESS:
            raise _rejected(status)
        sha256 = upload.sha256() if self.recorder.is_behind() else ""
        placed = self.spool.place(upload, header.study_instance_uid, header.sop_instance_uid)
        record = partial(
            received_instance,
            header,
            request,
            site=self.site,
            sha256=sha256 or placed.sha256 or "",
            size_bytes=upload.size,
            path=self.spool.relative(placed.place),
            received_at=self.clock(),
            peer=peer,
            aside=placed.aside,
            new=not placed.resent,
        )
        self.recorder.received(record, association_id, placed.place)
        self.side_files.arrived(
            header, peer, placed.place if not placed.resent and not placed.aside else None
        )
        return Stored(Status.SUCCESS, placed.aside)

    def refuse(self, upload: Upload, status: Status, reason: str, peer: Peer) -> Status:
        """Keep an upload in the quarantine, or give it up where there is no room; returns `status`."""
        refusal = Refusal(self.site, int(status), reason, self.clock(), peer)
        try:
            if status is Status.OUT_OF_RESOURCES:
                upload.unlink()
            elif upload.path.exists():
                refusal = self.spool.refuse(upload.path, refusal)
        except OSError as error:  # it stays in .incoming, where the next start finds it
            LOG.error("a refused file stays where it is: %s", error.strerror)
        LOG.warning("refused 0x%04X: %s (%s)", int(status), reason, peer)
        self.recorder.refused(refusal)
        return status

    def _familiar(self) -> Familiar:
        """What the data sets of this thread, mostly those of one Association, have in common."""
        found: Familiar | None = getattr(self.threads, "familiar", None)
        if found is None:
            found = self.threads.familiar = Familiar()
        return found


def _rejected(status: Status) -> Reject:
    return Reject(status, REASONS[status])
