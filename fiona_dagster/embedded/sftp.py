"""A real SFTP server for trials and tests: confined to one folder, with switches for the faults that happen.

python -m fiona_dagster.embedded.sftp --root R --port P --user U --password-file F
"""

from __future__ import annotations

import argparse
import hmac
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)

from fiona_dagster.embedded.sftp_files import Faults, Session, SftpFiles

__all__ = ["EmbeddedSftp", "Faults", "main"]
_PUBLIC_KEY_TYPES = ("ssh-", "ecdsa-")


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
            session = Session(self.faults, transport)
            transport.set_subsystem_handler(
                "sftp", paramiko.SFTPServer, SftpFiles, root=self.root, session=session
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
