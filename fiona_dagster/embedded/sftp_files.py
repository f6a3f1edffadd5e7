"""What an SFTP user may do with the files below one folder, and the faults that can be switched on.

Paths are resolved below the root; a symbolic link that leads out of it is as good as absent, and none can be made.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
from paramiko.sftp import (
    SFTP_EOF,
    SFTP_FAILURE,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_OP_UNSUPPORTED,
    SFTP_PERMISSION_DENIED,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass
class Faults:
    """What the server does wrong from now on; shared by all sessions.

    `drop_after_bytes`: drop the connection when that many more bytes were written, once. `refuse_writes`: answer
    every write with a failure, as a full disk does. `corrupt_writes`: change a bit in every write.
    """

    drop_after_bytes: int | None = None
    refuse_writes: bool = False
    corrupt_writes: bool = False


@dataclass
class Session:
    """One connection; once dropped, writes that had already come are lost as they would be on a cut wire."""

    faults: Faults
    transport: paramiko.Transport
    dropped: bool = False


class _OpenFile(paramiko.SFTPHandle):
    def __init__(self, descriptor: int, flags: int, session: Session) -> None:
        super().__init__(flags)
        self._descriptor, self._session = descriptor, session

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, length: int) -> bytes | int:
        try:
            # never b"": paramiko's check-file would ask for ever
            return os.pread(self._descriptor, length, offset) or SFTP_EOF
        except OSError as error:
            return _code(error)

    def write(self, offset: int, data: Buffer) -> int:
        faults = self._session.faults
        if faults.refuse_writes or self._session.dropped:
            return SFTP_FAILURE
        content = bytes(data)
        if faults.corrupt_writes:
            content = bytes([content[0] ^ 1]) + content[1:]
        dropping = faults.drop_after_bytes is not None and faults.drop_after_bytes <= len(content)
        try:
            _write_all(self._descriptor, content[: faults.drop_after_bytes] if dropping else content, offset)
        except OSError as error:
            return _code(error)
        if faults.drop_after_bytes is not None:
            faults.drop_after_bytes = None if dropping else faults.drop_after_bytes - len(content)
        if dropping:
            self._session.dropped = True
            self._session.transport.close()
        return SFTP_OK

    def stat(self) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))
        except OSError as error:
            return _code(error)


class SftpFiles(paramiko.SFTPServerInterface):
    """The file operations, below `root`."""

    def __init__(self, server: paramiko.ServerInterface, *, root: Path, session: Session) -> None:
        super().__init__(server)
        self._root, self._session = root, session

    def canonicalize(self, path: str) -> str:
        """The path as the user sees it; `..` ends at the root."""
        return posixpath.normpath(posixpath.join("/", path)).replace("//", "/")

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        try:
            # The parent is resolved and below the root; the last part may not be a link at all.
            descriptor = os.open(self._inside(path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError as error:
            return _code(error)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return SFTP_FAILURE
        return _OpenFile(descriptor, flags, self._session)

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        try:
            folder = self._inside(path)
            if folder.is_symlink():
                return SFTP_NO_SUCH_FILE
            return [
                paramiko.SFTPAttributes.from_stat(entry.lstat(), entry.name)
                for entry in sorted(folder.iterdir())
            ]
        except OSError as error:
            return _code(error)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            real = self._inside(path).resolve(strict=True)
            if not real.is_relative_to(self._root):
                return SFTP_NO_SUCH_FILE
            return paramiko.SFTPAttributes.from_stat(real.stat())
        except OSError as error:
            return _code(error)

    def lstat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(self._inside(path).lstat())
        except OSError as error:
            return _code(error)

    def remove(self, path: str) -> int:
        return self._do(lambda: self._inside(path).unlink())

    def rename(self, oldpath: str, newpath: str) -> int:
        """SFTP's rename never replaces (draft-ietf-secsh-filexfer-02, 6.5)."""

        def act() -> None:
            if os.path.lexists(self._inside(newpath)):
                raise FileExistsError
            self._inside(oldpath).rename(self._inside(newpath))

        return self._do(act)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return self._do(lambda: self._inside(oldpath).rename(self._inside(newpath)))

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return self._do(lambda: self._inside(path).mkdir(mode=0o750))

    def rmdir(self, path: str) -> int:
        return self._do(lambda: self._inside(path).rmdir())

    def symlink(self, target_path: str, path: str) -> int:
        return SFTP_OP_UNSUPPORTED

    def _inside(self, path: str) -> Path:
        """The place of `path` on disk, whose folder is free of links and lies below the root.

        Raises:
            PermissionError: a link leads out of the root.
        """
        shown = Path(self.canonicalize(path)).relative_to("/")
        if shown == Path():
            return self._root
        parent = (self._root / shown.parent).resolve()
        if not parent.is_relative_to(self._root):
            raise PermissionError
        return parent / shown.name

    def _do(self, act: Callable[[], object]) -> int:
        try:
            act()
        except OSError as error:
            return _code(error)
        return SFTP_OK


def _code(error: OSError) -> int:
    if isinstance(error, PermissionError):
        return SFTP_PERMISSION_DENIED
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return SFTP_NO_SUCH_FILE
    return SFTP_FAILURE


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
