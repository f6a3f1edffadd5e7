"""The MD5 of a file at an SFTP server: computed there where the server can, else by reading the file back.

Reading back sends every byte over the wire a second time; `md5sum` in the user's shell spares that. Its answer may
confirm a file, never condemn it: a shell may see other folders than SFTP does, so anything else is settled by reading
back. The check-file extension is not used: the commonest server that has it answers wrongly or never.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import TYPE_CHECKING

from fiona_dagster.adapters.sftp_reading import read_remote
from fiona_dagster.adapters.ssh_patience import Patience

if TYPE_CHECKING:
    from paramiko import SFTPClient

COMMAND_SECONDS = 600.0
"""For `md5sum` over a whole package on a slow disk."""


def holds(client: SFTPClient, place: str, size: int, md5: str) -> bool:
    """Whether the file at `place` has exactly this size (bytes) and MD5.

    Raises:
        OSError, EOFError, paramiko.SSHException: as the session fails.
    """
    if client.stat(place).st_size != size:
        return False
    return _by_command(client, place) == md5 or read_back(client, place) == (size, md5)


def read_back(client: SFTPClient, place: str) -> tuple[int, str]:
    """Size and MD5 of a file, from all its bytes."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for piece in read_remote(client, place):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def _by_command(client: SFTPClient, place: str) -> str:
    """The MD5 by `md5sum` in the user's shell; blank where there is none, or only SFTP is allowed."""
    import paramiko

    own = client.get_channel()
    if own is None:
        return ""
    path = client.normalize(place)
    try:
        with (
            Patience(own.get_transport(), COMMAND_SECONDS + 60.0, "md5sum at the destination did not answer"),
            own.get_transport().open_session() as channel,
        ):
            channel.settimeout(COMMAND_SECONDS)
            channel.exec_command(f"md5sum -b -- {shlex.quote(path)}")
            channel.shutdown_write()  # a forced internal-sftp ends here instead of waiting for us
            answer = channel.recv(4096)
    except (paramiko.SSHException, TimeoutError):
        return ""
    found = re.match(rb"\\?([0-9a-f]{32})\s", answer)
    return found.group(1).decode() if found else ""
