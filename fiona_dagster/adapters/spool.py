"""A received data set goes from `.incoming` into the archive in one step, and is on the disk before it counts.

The content is brought to the disk first, then linked into place with link(2), which never replaces what is there: of
two Associations that bring one SOP Instance UID at the same moment one is first, the other one sees its content. Where
the file system commits in order, content and name share one commit of its journal: the folder's sync.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fiona_dagster.adapters.durable import (
    commits_in_order,
    sync_file,
    write_back,
    write_durably,
    write_json_durably,
)
from fiona_dagster.adapters.received_files import FILE_MODE, sha256_of_data_set
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, Refusal

_OPEN_FOLDERS = 64
_REASON_LOST = "refused; a crash came before its reason was written"


@dataclass(frozen=True)
class Placed:
    """Where a data set lies now (absolute).

    `place`: the path as text, absolute. `resent`: the same content was there already; `aside`: other content under a
    known SOP Instance UID (law 7).
    `sha256` of the data set, where the two had to be compared.
    """

    place: str
    resent: bool
    aside: bool
    sha256: str | None = field(default=None, compare=False)

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.place)


class Spool:
    """The folders of one DATADIR through which every received data set goes.

    Without `durable` nothing is synced and a power cut may take what was acknowledged: for benchmarks only.
    """

    def __init__(self, layout: Layout, *, durable: bool = True) -> None:
        self._layout, self._durable = layout, durable
        self._datadir = f"{layout.datadir}/"
        self._studies: OrderedDict[str, _Folder] = OrderedDict()
        self._turn = threading.Lock()
        layout.ensure()
        self._content: Callable[[int], None] = self._sync
        if durable and commits_in_order(layout.archive):
            self._content = write_back

    def incoming(self, worker: str) -> Path:
        """The folder where one listener process writes what it is receiving."""
        folder = self._layout.incoming / worker
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        return folder

    def abandoned(self, live_workers: Iterable[str]) -> Iterator[Path]:
        """Files that processes which are gone were receiving, and never acknowledged."""
        live = set(live_workers)
        for folder in sorted(self._layout.incoming.iterdir()):
            if folder.is_dir() and folder.name not in live:
                yield from sorted(folder.iterdir())
                with suppress(OSError):  # what could not be moved away stays for the next start
                    folder.rmdir()

    def place(self, upload: Upload, study_uid: str, sop_uid: str) -> Placed:
        """Bring a complete upload into the archive; afterwards it survives a power cut.

        The upload is gone from `.incoming` in every case.

        Raises:
            OSError: nothing was placed, the upload is where it was.
        """
        self._content(upload.descriptor)
        place, new = self._link(upload, study_uid, sop_uid)
        if new:
            upload.unlink()
            return Placed(place, resent=False, aside=False)
        sha256 = upload.sha256()
        aside = sha256_of_data_set(Path(place)) != sha256
        if aside:
            target = self._layout.aside / f"{sop_uid}.{sha256[:16]}"
            with suppress(FileExistsError):
                target.hardlink_to(upload.path)
                new = True
            self._sync_folder(target.parent)
            place = str(target)
        upload.unlink()
        return Placed(place, resent=not new, aside=aside, sha256=sha256)

    def refuse(self, upload: Path, refusal: Refusal) -> Refusal:
        """Keep what was refused, with a `.json` beside it that tells why; returns `refusal` with its path."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(refusal.at))
        target = self._layout.refused / f"{stamp}-{secrets.token_hex(4)}.dcm"
        upload.chmod(FILE_MODE)
        sync_file(upload)
        upload.rename(target)
        kept = Refusal(
            refusal.site, refusal.status, refusal.reason, refusal.at, refusal.peer, self.relative(target)
        )
        write_json_durably(target.with_suffix(".json"), {**asdict(kept), "status": f"0x{kept.status:04X}"})
        return kept

    def told_refusal(self, kept: Path, site: str) -> Refusal:
        """What `refuse` wrote beside a file; where a crash came before it, what the file itself tells."""
        try:
            told = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
            peer = Peer(**told.pop("peer"))
            return Refusal(**{**told, "status": int(told["status"], 16), "peer": peer})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            at, status = kept.stat().st_mtime, Status.PROCESSING_FAILURE
            return Refusal(site, int(status), _REASON_LOST, at, Peer("", "", ""), self.relative(kept))

    def relative(self, path: Path | str) -> str:
        """`path` as the ledger writes it: relative to the DATADIR."""
        place = str(path)
        if not place.startswith(self._datadir):
            raise ValueError("a path is not in the DATADIR")
        return place[len(self._datadir) :]

    def free_bytes(self) -> int:
        """Free space where uploads are written."""
        return shutil.disk_usage(self._layout.incoming).free

    def recorded_until(self) -> float:
        """Everything that was placed before this time (seconds since the epoch) stands in the ledger."""
        try:
            return float(self._marker.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0

    def mark_recorded(self, until: float) -> None:
        """Remember that everything placed before `until` stands in the ledger."""
        write_durably(self._marker, f"{until:.3f}".encode("ascii"))

    @property
    def _marker(self) -> Path:
        return self._layout.incoming / "recorded-until"

    def _link(self, upload: Upload, study_uid: str, sop_uid: str) -> tuple[str, bool]:
        """Its place in the archive, and whether that was free and is the upload's now; the folder is synced either way.

        Also for a resend: the other Association may not have come so far.
        """
        while True:
            folder = self._study_folder(study_uid)
            try:
                try:
                    os.link(upload.place, sop_uid, dst_dir_fd=folder.descriptor)
                    new = True
                except FileExistsError:
                    new = False
                self._sync(folder.descriptor)
            except FileNotFoundError:  # cleanup took the empty study folder meanwhile
                if not os.path.lexists(upload.place):
                    raise
                self._forget(study_uid, folder)
            else:
                return folder.prefix + sop_uid, new

    def _study_folder(self, study_uid: str) -> _Folder:
        """The open folder of a study, whose own entry is on the disk."""
        with self._turn:
            folder = self._studies.get(study_uid)
            if folder is not None:
                self._studies.move_to_end(study_uid)
                return folder
        path = self._layout.study_archive(study_uid)
        path.mkdir(exist_ok=True, mode=0o750)
        self._sync_folder(self._layout.archive)
        folder = _Folder(path)
        with self._turn:
            self._studies[study_uid] = folder
            if len(self._studies) > _OPEN_FOLDERS:
                self._studies.popitem(last=False)
        return folder

    def _forget(self, study_uid: str, folder: _Folder) -> None:
        with self._turn:
            if self._studies.get(study_uid) is folder:
                del self._studies[study_uid]

    def _sync(self, descriptor: int) -> None:
        if self._durable:
            os.fsync(descriptor)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)


class _Folder:
    """An open folder; it is closed when nobody uses it any more, so that no thread loses it in the middle."""

    def __init__(self, path: Path) -> None:
        self.prefix = f"{path}/"
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
