"""Delivery by SFTP: sent under a temporary name, read back, then renamed; an interrupted upload goes on.

What counts is what the server holds: size and checksum are compared before the package gets its name (law 5).
"""

from __future__ import annotations

import hashlib
import posixpath
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.package_files import told_manifest
from fiona_dagster.adapters.sftp_checksum import holds
from fiona_dagster.adapters.sftp_server_sums import server_says
from fiona_dagster.adapters.sftp_writing import REQUEST_BYTES, RemoteWriter
from fiona_dagster.adapters.ssh_patience import STALLED_SECONDS
from fiona_dagster.adapters.ssh_session import patient, sftp_session
from fiona_dagster.domain.delivery import (
    DeliveryReceipt,
    RemoteFile,
    TakenOut,
    Upload,
    beside,
    part_name,
    pause,
    plan_upload,
    worth_reading,
)
from fiona_dagster.domain.delivery_settings import DeliveryTerms
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.packaging import Package, md5_line

if TYPE_CHECKING:
    from paramiko import SFTPClient

    from fiona_dagster.domain.project import Destination

Progress = Callable[[int, int], None]
"""Called with the bytes that are there so far and their total."""
_PIECE = 1 << 20


def deliver(
    package: Package,
    destination: Destination,
    secret: str,
    *,
    transfer_id: int,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
    terms: DeliveryTerms | None = None,
    patience: float = STALLED_SECONDS,
    stop: Callable[[], bool] | None = None,
    begin: Callable[[], None] | None = None,
) -> DeliveryReceipt:
    """Bring a package and its `.md5` to an SFTP server and read both back.

    Args:
        package: a finished package in the outbox.
        destination: of type sftp; its folder must exist.
        secret: the password, or a private key as PEM text.
        transfer_id: the ledger's number, for the receipt.
        progress: told while the package is sent.
        clock: seconds since the epoch, for the receipt.
        terms: what an upload may use of the line, and FIONA's companions of a package.
        patience: seconds that the session may stand still while we wait for the server.
        stop: asked while the package is sent.
        begin: called once we are logged in, before anything is written.

    Raises:
        TakenOut: `stop` said so; nothing of it is left there.
        Permanent: host key, login, permission, folder, or a package that is gone or is not the recorded one.
        Transient: network, time-out, full disk, or a copy that differs: the next call goes on from there.
    """
    with sftp_session(destination, secret, patience=patience) as client:
        if begin:
            begin()
        work = _Delivery(client, package, destination.path, terms or DeliveryTerms(), patience, stop)
        sent = work.run(progress)
    return DeliveryReceipt(
        transfer_id=transfer_id,
        destination=destination.name,
        package=package.name,
        size_bytes=package.size_bytes,
        md5=package.md5,
        content_sha256=package.content_sha256,
        place=f"sftp://{destination.host}:{destination.port}/{_place(destination.path, package.name).lstrip('/')}",
        confirmed_at=clock(),
        sent_bytes=sent,
    )


def check(destination: Destination, secret: str) -> str:
    """Log in, write a small file into the destination's folder, read it back and delete it.

    Returns a sentence for `fiona doctor`; raises as `deliver` does.
    """
    content = secrets.token_bytes(64)
    with sftp_session(destination, secret) as client:
        place = _place(destination.path, f".fiona-check-{secrets.token_hex(6)}")
        with client.open(place, "wb") as remote:
            remote.write(content)
        try:
            with client.open(place, "rb") as remote:
                found = remote.read(len(content) + 1)
        finally:
            client.remove(place)
    if found != content:
        raise Transient(f"destination '{destination.name}' gave back something else than was written")
    return f"{destination.user}@{destination.host}:{destination.port} takes, gives back and deletes files"


def send_only(client: SFTPClient, package: Package, folder: str) -> None:
    """Send a package under its temporary name and neither look at it nor rename it: what a benchmark compares."""
    _Delivery(client, package, folder, DeliveryTerms()).send()


class _Delivery:
    """One package on its way over one session."""

    def __init__(
        self, client: SFTPClient, package: Package, folder: str, terms: DeliveryTerms,
        patience: float = STALLED_SECONDS, stop: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self._client, self._package, self._terms = client, package, terms
        self._stop = stop or (lambda: False)
        self._patience = patience
        self._folder = folder
        self._final = _place(folder, package.name)
        self._part = _place(folder, part_name(package.name))

    def run(self, progress: Progress | None) -> int:
        """Deliver; returns how many bytes of the package were sent."""
        plan, part_size = self._plan()
        sent = 0
        if plan is not Upload.NOTHING:
            offset = part_size if plan is Upload.RESUME else 0
            try:
                self._send(offset, progress)
                self._confirm_part()
                if self._stop():
                    raise TakenOut
            except TakenOut:
                self._client.remove(self._part)
                raise
            sent = self._package.size_bytes - offset
            self._rename(self._part, self._final)
            if self._size(self._final) != self._package.size_bytes:
                raise Transient("the package has another size after its renaming: it is looked at again")
        for name, content in self._companions():
            self._beside(name, content)
        return sent

    def send(self) -> None:
        """Send all of the package under its temporary name."""
        self._send(0, None)

    def _plan(self) -> tuple[Upload, int]:
        """What to do, and the size of the part that is there."""
        size = self._size(self._final)
        if size is not None and worth_reading(self._package, size, "final"):
            final = RemoteFile(size, self._is_there(size))
            if plan_upload(self._package, final, None) is Upload.NOTHING:
                return Upload.NOTHING, 0
        size = self._size(self._part)
        if size is None or not worth_reading(self._package, size, "part"):
            return Upload.RESTART, 0
        part = RemoteFile(size, holds(self._client, self._part, size, self._local_md5(size)))
        return plan_upload(self._package, None, part), size

    def _is_there(self, size: int) -> bool:
        """Whether the file of that size is the package: by the sum that the server publishes, else by looking."""
        if self._terms.server_sums and server_says(self._client, self._final, self._package.md5):
            return True
        return holds(self._client, self._final, size, self._package.md5)

    def _send(self, offset: int, progress: Progress | None) -> None:
        """Write behind `offset`, many requests under way at once; from 0 an old part is overwritten."""
        done, began = offset, time.monotonic()
        with (
            _local(self._package) as local,
            patient(self._client, self._patience) as patience,
            self._client.open(self._part, "r+b" if offset else "wb") as remote,
        ):
            local.seek(offset)
            writer = RemoteWriter(self._client, remote, offset, acknowledged=patience.step)
            while piece := local.read(_piece_bytes(self._terms.bytes_per_second)):
                patience.step()
                writer.write(piece)
                done += len(piece)
                seconds = pause(done - offset, time.monotonic() - began, self._terms.bytes_per_second)
                if seconds:
                    time.sleep(seconds)  # the limit of bandwidth
                if progress:
                    progress(done, self._package.size_bytes)
                if self._stop():
                    writer.finish()  # the session is used again
                    raise TakenOut
            writer.finish()

    def _confirm_part(self) -> None:
        """Read the part back; what is not the package is removed, or left to go on from if it is only short."""
        if holds(self._client, self._part, self._package.size_bytes, self._package.md5):
            return
        if self._local_md5(self._package.size_bytes) != self._package.md5:
            self._client.remove(self._part)
            raise Permanent("the package in the outbox is not the one that was built: build it again")
        size = self._size(self._part) or 0
        if size < self._package.size_bytes:
            raise Transient(
                f"the destination kept {size} of {self._package.size_bytes} bytes: is its disk full?"
            )
        self._client.remove(self._part)
        raise Transient("the copy that was read back differs from the package: it is sent again")

    def _local_md5(self, size: int) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        with _local(self._package) as local:
            for piece in _up_to(local, size):
                digest.update(piece)
        return digest.hexdigest()

    def _companions(self) -> list[tuple[str, bytes]]:
        """What lies beside the package, the `.md5` last: whoever waits for it finds everything."""
        name, line = self._package.name, md5_line(self._package.name, self._package.md5).encode()
        md5, md5sum, manifest = beside(name)
        triple = []
        if self._terms.triples:
            triple = [(manifest, told_manifest(self._package)), (md5sum, line)]
        return [*triple, (md5, line)]

    def _beside(self, name: str, content: bytes) -> None:
        place = _place(self._folder, name)
        if self._size(place) == len(content) and self._read(place) == content:
            return
        aside = _place(self._folder, part_name(name))
        with self._client.open(aside, "wb") as remote:
            remote.write(content)
        self._rename(aside, place)
        if self._read(place) != content:
            raise Transient(
                f"the {name.rpartition('.')[2]} file that was read back differs: it is sent again"
            )

    def _read(self, place: str) -> bytes:
        with self._client.open(place, "rb") as remote:
            remote.prefetch()
            return bytes(remote.read())

    def _size(self, place: str) -> int | None:
        try:
            return self._client.stat(place).st_size
        except FileNotFoundError:
            return None

    def _rename(self, source: str, target: str) -> None:
        """Replace in one step where the server can (posix-rename@openssh.com), else remove the old file first."""
        try:
            self._client.posix_rename(source, target)
        except PermissionError:
            raise
        except OSError:
            if self._size(target) is not None:
                self._client.remove(target)
            self._client.rename(source, target)


def _piece_bytes(bytes_per_second: float) -> int:
    """What is sent between two pauses: seconds' worth, so that a slow line is not taken for one that stands still."""
    if bytes_per_second <= 0:
        return _PIECE
    return max(REQUEST_BYTES, min(_PIECE, int(bytes_per_second * 5)))


def _place(folder: str, name: str) -> str:
    return posixpath.join(folder or ".", name)


def _local(package: Package) -> Any:
    try:
        return package.path.open("rb", buffering=0)
    except OSError as error:
        raise Permanent(f"the package is not in the outbox ({error.strerror}): build it again") from None


def _up_to(stream: Any, size: int) -> Any:
    """The next `size` bytes of `stream` in pieces."""
    while size > 0 and (piece := stream.read(min(_PIECE, size))):
        size -= len(piece)
        yield piece
