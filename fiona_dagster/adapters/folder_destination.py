"""Delivery into a folder, for shares that are mounted: aside, synced, read back, renamed; as by SFTP.

The folder must exist: were it made here, a share that is not mounted would be filled on the local disk unnoticed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from fiona_dagster.adapters.durable import rename_durably, write_durably
from fiona_dagster.adapters.package_files import told_manifest
from fiona_dagster.domain.delivery import (
    DeliveryReceipt,
    RemoteFile,
    TakenOut,
    Upload,
    beside,
    part_name,
    plan_upload,
    worth_reading,
)
from fiona_dagster.domain.delivery_settings import DeliveryTerms
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.packaging import Package, md5_line
from fiona_dagster.domain.project import Destination

_PIECE = 1 << 20


def deliver(
    package: Package,
    destination: Destination,
    *,
    transfer_id: int,
    clock: Callable[[], float] = time.time,
    terms: DeliveryTerms | None = None,
    stop: Callable[[], bool] | None = None,
    begin: Callable[[], None] | None = None,
) -> DeliveryReceipt:
    """Copy a package and its `.md5` into the destination's folder and read the copy back; `terms` as by SFTP, as far as
    they ask for FIONA's triple; `stop` is asked while it is copied, `begin` called before.

    Raises:
        TakenOut: `stop` said so; nothing of it is left there.
        Permanent: the folder is missing or closed to us, or the package is gone or is not the recorded one.
        Transient: the disk is full or failed, or the copy differs.
    """
    folder = _folder(destination)
    if begin:
        begin()
    final, part = folder / package.name, folder / part_name(package.name)
    try:
        there = _size(final)
        found = None
        if there is not None and worth_reading(package, there, "final"):
            found = RemoteFile(there, _md5(final) == package.md5)
        sent = 0
        if plan_upload(package, found, None) is not Upload.NOTHING:
            _copy(package, part, stop)
            if _md5(part) != package.md5:
                part.unlink()
                raise Transient("the copy that was read back differs from the package: it is copied again")
            rename_durably(part, final)
            sent = package.size_bytes
        line = md5_line(package.name, package.md5).encode()
        md5, md5sum, manifest = (folder / one for one in beside(package.name))
        triple = terms is not None and terms.triples
        for place, content in [(manifest, told_manifest(package)), (md5sum, line)] if triple else []:
            _put(place, content)
        _put(md5, line)  # last: whoever waits for it finds everything
    except PermissionError:
        raise _closed(destination) from None
    except OSError as error:
        raise Transient(
            f"destination '{destination.name}' failed ({error.strerror}): is its disk full?"
        ) from None
    return DeliveryReceipt(
        transfer_id, destination.name, package.name, package.size_bytes, package.md5, package.content_sha256,
        str(final), clock(), sent,
    )  # fmt: skip


def check(destination: Destination) -> str:
    """Write a small file into the folder, read it back and delete it; a sentence for `fiona doctor`."""
    folder, content = _folder(destination), secrets.token_bytes(64)
    place = folder / f".fiona-check-{secrets.token_hex(6)}"
    try:
        place.write_bytes(content)
        found = place.read_bytes()
        place.unlink()
    except PermissionError:
        raise _closed(destination) from None
    except OSError as error:
        raise Transient(
            f"destination '{destination.name}' failed ({error.strerror}): is its disk full?"
        ) from None
    if found != content:
        raise Transient(f"destination '{destination.name}' gave back something else than was written")
    return f"{folder} takes, gives back and deletes files"


def _folder(destination: Destination) -> Path:
    folder = Path(destination.path)
    if not folder.is_dir():
        raise Permanent(
            f"destination '{destination.name}' has no folder {folder}: make it, or mount its share"
        )
    return folder


def _closed(destination: Destination) -> Permanent:
    return Permanent(
        f"destination '{destination.name}' is closed to us: give our user the right to write there"
    )


def _put(place: Path, content: bytes) -> None:
    if _size(place) is None or place.read_bytes() != content:
        write_durably(place, content)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _copy(package: Package, part: Path, stop: Callable[[], bool] | None) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        source = package.path.open("rb", buffering=0)
    except OSError as error:
        raise Permanent(f"the package is not in the outbox ({error.strerror}): build it again") from None
    with source, part.open("wb", buffering=0) as target:
        while piece := source.read(_PIECE):
            digest.update(piece)
            target.write(piece)
            if stop is not None and stop():
                part.unlink()
                raise TakenOut
        os.fsync(target.fileno())
    if digest.hexdigest() != package.md5:
        part.unlink()
        raise Permanent("the package in the outbox is not the one that was built: build it again")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
