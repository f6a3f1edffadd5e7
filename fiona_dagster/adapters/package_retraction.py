"""Takes a delivered package back from its destination: deleted with what lies beside it, and looked for afterwards."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fiona_dagster.adapters.ssh_session import sftp_session
from fiona_dagster.domain.delivery import beside, part_name
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.project import Destination
from fiona_dagster.domain.retirement import Outcome, package_receipt


def retract(
    destination: Destination, name: str, size_bytes: int, secret: str, *, confirmed: bool = True
) -> tuple[Outcome, str]:
    """Delete the package `name` and its companions, if the file there has the size that was confirmed.

    A package that a recipient already took cannot be taken back: that is said, and never called gone. One that was
    not `confirmed` may lie there in part, whole, or not at all.

    Raises:
        Transient: the destination does not answer.
        Permanent: its host key, login or folder is not what it was.
    """
    with _files_at(destination, secret) as files:
        return _retract(files, name, size_bytes, confirmed=confirmed)


def remove_part(destination: Destination, name: str, secret: str) -> None:
    """Delete what an upload that did not come to its end left of the package `name`. Raises as `retract`."""
    with _files_at(destination, secret) as files:
        files.remove(part_name(name))


@contextmanager
def _files_at(destination: Destination, secret: str) -> Iterator[_RemoteFiles]:
    if destination.type == "folder":
        yield _FolderFiles(Path(destination.path))
        return
    with sftp_session(destination, secret) as client:
        folder = destination.path or "."
        yield _RemoteFiles(
            lambda one: client.stat(posixpath.join(folder, one)).st_size or 0,
            lambda one: client.remove(posixpath.join(folder, one)),
        )


class _RemoteFiles:
    def __init__(self, stat: Callable[[str], int], remove: Callable[[str], None]) -> None:
        self._stat, self._remove = stat, remove

    def size(self, name: str) -> int | None:
        try:
            return self._stat(name)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._remove(name)


class _FolderFiles(_RemoteFiles):
    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():  # a share that is not mounted would look empty
            raise Permanent(f"there is no folder {folder}: mount its share")
        super().__init__(lambda one: (folder / one).stat().st_size, lambda one: (folder / one).unlink())


def _retract(files: _RemoteFiles, name: str, size_bytes: int, *, confirmed: bool) -> tuple[Outcome, str]:
    found, removed = files.size(name), False
    if found not in (None, size_bytes):
        with suppress(PermissionError):
            files.remove(part_name(name))
    else:
        try:
            # what names it goes first: nobody waits for a package that is half gone
            for one in (*beside(name), *map(part_name, beside(name)), part_name(name), name):
                files.remove(one)
            removed = files.size(name) is None
        except PermissionError:
            removed = False
    return package_receipt(found=found, recorded=size_bytes, removed=removed, confirmed=confirmed)
