"""How the receiver knows that a call comes from its own gateway: passes that only the gateway's user can make.

A pass is the name of an empty file in a folder that is closed to everybody else; the name goes over the loopback with
the Association request (User Identity Negotiation, PS3.7 D.3.3.7), and the receiver removes the file: a pass is good
for one Association, and for a minute.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from fiona_dagster.domain.errors import ConfigurationError

LIFETIME_SECONDS = 60.0
_PASS = re.compile(r"[0-9a-f]{64}")


class OwnCalls:
    """The passes of one data directory, as the receiver or as who calls it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issued: list[str] = []

    def prepare(self) -> None:
        """Make the folder and forget passes that nobody used; for the receiver, whose user owns it."""
        with suppress(OSError):  # without it there are no passes, and the access list alone counts
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            for path in self._folder.iterdir():
                if not self._is_fresh(path):
                    path.unlink(missing_ok=True)

    def issue(self) -> str:
        """A new pass.

        Raises:
            ConfigurationError: this user cannot make one, or no receiver has run here yet.
        """
        name = secrets.token_hex(32)
        try:
            os.close(os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise ConfigurationError(
                f"the receiver's ACCESS names its callers, and no pass for it can be made here ({error.strerror})",
                place=str(self._folder),
                remedy="call as the gateway's user on the receiver's machine, with a receiver that runs; or add the "
                "AE title with this machine's address to ACCESS.callers",
            ) from None
        self._issued.append(name)
        return name

    def withdraw(self) -> None:
        """Take back what was issued here and not used."""
        for name in self._issued:
            with suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)
        self._issued.clear()

    def redeem(self, name: str) -> bool:
        """Use a pass up; whether it was one. Of two who show the same, one succeeds."""
        if not _PASS.fullmatch(name):
            return False
        path = self._folder / name
        try:
            folder = self._folder.lstat()
            closed = stat.S_ISDIR(folder.st_mode) and not folder.st_mode & 0o077
            fresh = self._is_fresh(path)
            path.unlink()
        except OSError:
            return False
        return closed and folder.st_uid == os.geteuid() and fresh

    @staticmethod
    def _is_fresh(path: Path) -> bool:
        try:
            return abs(time.time() - path.lstat().st_mtime) <= LIFETIME_SECONDS
        except OSError:
            return False
