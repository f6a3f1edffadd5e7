"""Writes a remote file with many requests under way, straight into paramiko's channel.

paramiko's own pipelined write sends without a bound, or waits until every answer is there before it goes on, and in the
order in which it asked: a server may answer in any. Packets: draft-ietf-secsh-filexfer-02, section 6.4 (write);
limits@openssh.com: OpenSSH's PROTOCOL, section 4.8.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.sftp_packets import FIRST_ID, STATUS, Answers

if TYPE_CHECKING:
    from paramiko import SFTPClient, SFTPFile

_WRITE, _EXTENDED, _EXTENDED_REPLY, _OK = 6, 200, 201, 0
_LIMITS = b"limits@openssh.com"
_PERMISSION_DENIED = 3
_STATUS_NAMES = {4: "failure", 7: "connection lost", 8: "not supported"}
REQUEST_BYTES = 32768
"""The size that every server must take (section 3)."""
_LARGEST_REQUEST = 255 * 1024
"""As OpenSSH's own client: fewer answers, where a server says that it takes this."""
_UNDER_WAY_BYTES = 3 << 20
_OF_THE_LIBRARY = 64
"""paramiko leaves so much of a packet free; anything longer costs a second, nearly empty packet."""


class RemoteWriter:
    """Writes in order from `offset`; the client must not be used for anything else before `finish`.

    Every method raises:
        PermissionError, OSError: as the server says.
        EOFError: the connection ended.
        TimeoutError: no answer in the channel's time.
    """

    def __init__(
        self, client: SFTPClient, remote: SFTPFile, offset: int, *, acknowledged: Callable[[], None]
    ) -> None:
        """`acknowledged` is called whenever the server has taken something."""
        channel = client.get_channel()
        if channel is None:
            raise EOFError
        self._channel, self._answers = channel, Answers(channel)
        longest: Any = channel.out_max_packet_size  # an int, whatever the type stubs say
        self._packet_bytes = max(1024, longest - _OF_THE_LIBRARY)
        self._handle: Any = remote.handle  # bytes, whatever the type stubs say
        self._offset, self._next_id = offset, FIRST_ID
        self._waiting: set[int] = set()
        self._problem: int | None = None
        self._request_bytes = self._most_at_once()
        self._under_way = max(1, _UNDER_WAY_BYTES // self._request_bytes)
        self._acknowledged = acknowledged

    def write(self, piece: bytes) -> None:
        """Send a piece; waits while too many requests are under way."""
        requests: list[bytes | memoryview] = []
        view = memoryview(piece)
        for start in range(0, len(piece), self._request_bytes):
            data = view[start : start + self._request_bytes]
            body = struct.pack(">BII", _WRITE, self._next_id, len(self._handle)) + self._handle
            body += struct.pack(">QI", self._offset, len(data))
            requests += [struct.pack(">I", len(body) + len(data)), body, data]
            self._waiting.add(self._next_id)
            self._next_id += 1
            self._offset += len(data)
        content = b"".join(requests)
        for start in range(0, len(content), self._packet_bytes):
            self._channel.sendall(content[start : start + self._packet_bytes])
            while self._answers.is_there:
                self._take()
        while len(self._waiting) > self._under_way:
            self._take()
        self._raise_problem()

    def finish(self) -> None:
        """Wait until everything was answered."""
        while self._waiting:
            self._take()
        self._raise_problem()

    def _most_at_once(self) -> int:
        """Bytes a write request may have: as OpenSSH's server says; others are not asked, for some never answer."""
        if "OpenSSH" not in str(self._channel.get_transport().remote_version):
            return REQUEST_BYTES
        number, self._next_id = self._next_id, self._next_id + 1
        body = struct.pack(">BII", _EXTENDED, number, len(_LIMITS)) + _LIMITS
        self._channel.sendall(struct.pack(">I", len(body)) + body)
        identity = -1
        while identity != number:
            kind, identity, answer = self._answers.next()
        if kind != _EXTENDED_REPLY or len(answer) < 24:
            return REQUEST_BYTES
        most: int = struct.unpack_from(">QQQ", answer)[2]
        return max(min(most or REQUEST_BYTES, _LARGEST_REQUEST), REQUEST_BYTES)

    def _take(self) -> None:
        kind, identity, body = self._answers.next()
        self._acknowledged()
        if identity not in self._waiting:
            return  # to a request of paramiko's, which nobody waits for any more
        self._waiting.remove(identity)
        status = struct.unpack_from(">I", body)[0] if kind == STATUS else -1
        if status != _OK and self._problem is None:
            self._problem = status

    def _raise_problem(self) -> None:
        """Between requests, when nothing is under way that would confuse whoever uses the channel next."""
        if self._problem is None:
            return
        while self._waiting:
            self._take()
        if self._problem == _PERMISSION_DENIED:
            raise PermissionError
        raise OSError(f"the server answered a write with {_STATUS_NAMES.get(self._problem, self._problem)}")
