"""What a server answers on an SFTP channel, packet by packet (draft-ietf-secsh-filexfer-02, sections 3 and 7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel

FIRST_ID = 1 << 31
"""Far from paramiko's own numbers on the same channel, which begin at 1."""
STATUS = 101
_RECEIVE_BYTES = 1 << 20
"""Taking all that has come in one go is what spares paramiko's buffer its moves."""


class Answers:
    """Takes answers from a channel that nobody else reads meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer, self._start = bytearray(), 0

    def next(self) -> tuple[int, int, bytes]:
        """Kind, request number and the rest of the next packet.

        Raises:
            EOFError: the connection ended.
            TimeoutError: no answer in the channel's time.
        """
        self._need(4)
        length = struct.unpack_from(">I", self._buffer, self._start)[0]
        self._need(4 + length)
        kind, identity = struct.unpack_from(">BI", self._buffer, self._start + 4)
        end = self._start + 4 + length
        body = bytes(memoryview(self._buffer)[self._start + 9 : end])
        self._start = end
        return kind, identity, body

    @property
    def is_there(self) -> bool:
        """Whether something came that was not taken yet."""
        return len(self._buffer) > self._start or self._channel.recv_ready()

    def _need(self, count: int) -> None:
        while len(self._buffer) - self._start < count:
            received = self._channel.recv(_RECEIVE_BYTES)
            if not received:
                raise EOFError
            del self._buffer[: self._start]
            self._start = 0
            self._buffer += received
