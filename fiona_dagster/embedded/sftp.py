"""A real SFTP server for trials and tests: confined to one folder, with switches for the faults that happen.

    python -m fiona_dagster.embedded.sftp --root R --port P --user U --password-file F

Paths are resolved below the root; a symbolic link that leads out of it is as good as absent, and none can be made.
"""

from __future__ import annotations

import argparse
import hmac
import os
import posixpath
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
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

_PUBLIC_KEY_TYPES = ("ssh-", "ecdsa-")


@dataclass
class Faults:
    """What the server does wrong from now on; shared by all sessions.

    `drop_after_bytes`: drop the connection when that many more bytes were written, once. `refuse_writes`: answer
    every write with a failure, as a full disk does. `corrupt_writes`: change a bit in every write.
    """

    drop_after_bytes: int | None = None
    refuse_writes: bool = False
    corrupt_writes: bool = False


class EmbeddedSftp:
    """The server; `start` and `stop`, or a `with` block.

    Args:
        root: the folder that users see as `/`.
        host: address to listen on.
        port: 0 picks one; see `port` after `start`.
        users: by name the password, or a public key as one line of `authorized_keys`.
        host_key: file of the host key, made when it is missing; default: `<root>` with `.host_key` added.
    """

    def __init__(
        self,
        root: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        users: Mapping[str, str],
        host_key: Path | None = None,
    ) -> None:
        self.root, self.host, self.port, self.users = root.resolve(), host, port, dict(users)
        self.faults = Faults()
        self._key_file = host_key or self.root.with_name(f"{self.root.name}.host_key")
        self._key = _host_key(self._key_file)
        self._socket: socket.socket | None = None
        self._transports: list[paramiko.Transport] = []
        self._accepting: threading.Thread | None = None

    @property
    def known_hosts(self) -> str:
        """The line that a client's known_hosts needs."""
        host = self.host if self.port == 22 else f"[{self.host}]:{self.port}"
        return f"{host} {self._key.get_name()} {self._key.get_base64()}"

    def start(self) -> Self:
        """Listen; `port` is known afterwards."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._socket = socket.create_server((self.host, self.port))
        self.port = int(self._socket.getsockname()[1])
        self._accepting = threading.Thread(
            target=self._accept, args=(self._socket,), name="sftp-accept", daemon=True
        )
        self._accepting.start()
        return self

    def stop(self) -> None:
        """Stop listening and drop all sessions."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread; close alone does not
            self._socket.close()
            self._socket = None
        if self._accepting is not None:
            self._accepting.join()
            self._accepting = None
        for transport in self._transports:
            transport.close()
        for transport in self._transports:
            transport.join(5)
        self._transports.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # stopped
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._transports = [t for t in self._transports if t.is_active()]
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            session = _Session(self.faults, transport)
            transport.set_subsystem_handler(
                "sftp", paramiko.SFTPServer, _Files, root=self.root, session=session
            )
            self._transports.append(transport)
            # With an event it returns at once: a client that never speaks holds nobody up.
            transport.start_server(event=threading.Event(), server=_Logins(self.users))


class _Logins(paramiko.ServerInterface):
    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_auth_password(self, username: str, password: str) -> int:
        expected = self._users.get(username, "")
        is_password = bool(expected) and not expected.startswith(_PUBLIC_KEY_TYPES)
        right = hmac.compare_digest(password.encode(), expected.encode())
        return AUTH_SUCCESSFUL if is_password and right else AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        expected = self._users.get(username, "").split()
        right = len(expected) >= 2 and expected[:2] == [key.get_name(), key.get_base64()]
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


@dataclass
class _Session:
    """One connection; once dropped, writes that had already come are lost as they would be on a cut wire."""

    faults: Faults
    transport: paramiko.Transport
    dropped: bool = False


class _OpenFile(paramiko.SFTPHandle):
    def __init__(self, descriptor: int, flags: int, session: _Session) -> None:
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


class _Files(paramiko.SFTPServerInterface):
    """The file operations, below `root`."""

    def __init__(self, server: paramiko.ServerInterface, *, root: Path, session: _Session) -> None:
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


def _host_key(path: Path) -> paramiko.PKey:
    """The host key in `path`, made when it is missing, so that clients know the server again after a restart."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.touch(mode=0o600)
        paramiko.ECDSAKey.generate(bits=256).write_private_key_file(str(aside))
        aside.rename(path)
    return paramiko.ECDSAKey.from_private_key_file(str(path))


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; prints `listening on H:P` and the known_hosts line."""
    parser = argparse.ArgumentParser(
        prog="python -m fiona_dagster.embedded.sftp", description="SFTP server for trials"
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that the user sees as /")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks one")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--host-key", type=Path, help="file of the host key; made when missing")
    chosen = parser.parse_args(arguments)
    password = chosen.password_file.read_text(encoding="utf-8").strip()
    if not password:
        parser.error("the password file is empty")
    stopped = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stopped.set())
    users = {chosen.user: password}
    with EmbeddedSftp(chosen.root, chosen.host, chosen.port, users=users, host_key=chosen.host_key) as server:
        sys.stdout.write(f"listening on {server.host}:{server.port}\nknown_hosts: {server.known_hosts}\n")
        sys.stdout.flush()
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
