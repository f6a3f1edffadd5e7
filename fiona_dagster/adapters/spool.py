"""A received data set goes from `.incoming` into the archive in one step, and is on the disk before it counts.

The content is synced first, then linked into place with link(2), which never replaces what is there: of two
Associations that bring one SOP Instance UID at the same moment one is first, the other one sees its content.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from fiona_dagster.adapters.durable import sync_file, sync_folder, write_durably, write_json_durably
from fiona_dagster.domain.data_set import scan
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    InstanceHeader,
    Refusal,
)

_PREAMBLE = b"\x00" * 128 + b"DICM"
_GROUP_LENGTH = struct.Struct("<HH2sHL")
_FILE_MODE = 0o640


@dataclass(frozen=True)
class Placed:
    """Where a data set lies now (absolute).

    `resent`: the same content was there already; `aside`: other content under a known SOP Instance UID (law 7).
    """

    path: Path
    resent: bool
    aside: bool


@dataclass(frozen=True)
class Part10File:
    """What the File Meta Information says, and where the data set begins (bytes from the start)."""

    offset: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    source_ae: str


class Spool:
    """The folders of one DATADIR through which every received data set goes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._synced: set[str] = set()  # studies whose folder's own entry is on the disk
        layout.ensure()

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

    def place(self, upload: Path, study_uid: str, sop_uid: str, sha256: str) -> Placed:
        """Bring a complete upload into the archive; afterwards it survives a power cut.

        `sha256` is that of its data set. The upload is gone from `.incoming` in every case.

        Raises:
            OSError: nothing was placed, the upload is where it was.
        """
        upload.chmod(_FILE_MODE)
        sync_file(upload)
        target = self._layout.archived_instance(study_uid, sop_uid)
        self._study_folder(study_uid)
        new, aside = self._link(upload, target), False
        if not new and sha256_of_data_set(target) != sha256:
            target = self._layout.aside / f"{sop_uid}.{sha256[:16]}"
            new, aside = self._link(upload, target), True
        sync_folder(target.parent)  # also for a resend: the other Association may not have come so far
        upload.unlink()
        return Placed(target, resent=not new, aside=aside)

    def refuse(self, upload: Path, refusal: Refusal) -> Refusal:
        """Keep what was refused, with a `.json` beside it that tells why; returns `refusal` with its path."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(refusal.at))
        target = self._layout.refused / f"{stamp}-{secrets.token_hex(4)}.dcm"
        upload.chmod(_FILE_MODE)
        sync_file(upload)
        upload.rename(target)
        kept = Refusal(
            refusal.site, refusal.status, refusal.reason, refusal.at, refusal.peer, self.relative(target)
        )
        write_json_durably(target.with_suffix(".json"), {**asdict(kept), "status": f"0x{kept.status:04X}"})
        return kept

    def relative(self, path: Path) -> str:
        """`path` as the ledger writes it: relative to the DATADIR."""
        return str(path.relative_to(self._layout.datadir))

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

    def _study_folder(self, study_uid: str) -> None:
        if study_uid in self._synced:
            return
        self._layout.study_archive(study_uid).mkdir(exist_ok=True, mode=0o750)
        sync_folder(self._layout.archive)
        if len(self._synced) > 10_000:
            self._synced.clear()
        self._synced.add(study_uid)

    def _link(self, upload: Path, target: Path) -> bool:
        """Whether `target` was free and is the upload now."""
        try:
            target.hardlink_to(upload)
        except FileExistsError:
            return False
        except FileNotFoundError:  # cleanup took the empty study folder meanwhile
            target.parent.mkdir(exist_ok=True, mode=0o750)
            sync_folder(target.parent.parent)
            target.hardlink_to(upload)
        return True


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae: str) -> bytes:
    """Preamble, prefix and File Meta Information of a file that we write (PS3.10 section 7.1)."""
    elements = _meta_element(0x0001, b"OB", b"\x00\x01")
    for element, vr, value in (
        (0x0002, b"UI", sop_class_uid),
        (0x0003, b"UI", sop_instance_uid),
        (0x0010, b"UI", transfer_syntax_uid),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        (0x0016, b"AE", source_ae),
    ):
        elements += _meta_element(element, vr, value.encode("ascii", "replace"))
    return _PREAMBLE + _GROUP_LENGTH.pack(2, 0, b"UL", 4, len(elements)) + elements


def read_file_meta(stream: BinaryIO) -> Part10File:
    """Read the File Meta Information from the start of `stream`, which then stands at the data set.

    Raises:
        Reject: CANNOT_UNDERSTAND_NOT_DICOM, it is no DICOM file.
    """
    head = stream.read(len(_PREAMBLE) + _GROUP_LENGTH.size)
    if len(head) != len(_PREAMBLE) + _GROUP_LENGTH.size or head[128:132] != b"DICM":
        raise _not_dicom()
    group, element, vr, _, length = _GROUP_LENGTH.unpack_from(head, len(_PREAMBLE))
    meta = stream.read(min(length, 65_536))
    if (group, element, vr) != (2, 0, b"UL") or len(meta) != length:
        raise _not_dicom()
    values: dict[int, str] = {}
    at = 0
    while at + 8 <= length:
        group, element, vr, size = struct.unpack_from("<HH2sH", meta, at)
        at += 8
        if vr in (b"OB", b"UN"):
            size = int.from_bytes(meta[at : at + 4], "little")
            at += 4
        values[element] = meta[at : at + size].decode("ascii", "replace").strip("\0 ")
        at += size
    return Part10File(
        len(head) + length, *(values.get(element, "") for element in (0x0010, 0x0002, 0x0003, 0x0016))
    )


def read_instance(path: Path) -> tuple[Part10File, InstanceHeader]:
    """What reception needs of a DICOM file; its data set is walked to the end (see `domain.data_set`).

    Raises:
        Reject: it is no DICOM file, or broken.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        found = read_file_meta(stream)
        size = os.fstat(stream.fileno()).st_size - found.offset
        return found, scan(stream, size, found.transfer_syntax_uid)


def sha256_of_data_set(path: Path) -> str:
    """Hash of a DICOM file's data set, without preamble and File Meta Information, in hexadecimal digits.

    Raises:
        Reject: it is no DICOM file.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        read_file_meta(stream)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _meta_element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr == b"OB":
        return struct.pack("<HH2sHL", 2, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _not_dicom() -> Reject:
    status = Status.CANNOT_UNDERSTAND_NOT_DICOM
    return Reject(status, REASONS[status])
