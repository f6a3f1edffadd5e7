"""Files that hold secrets: for us alone, written under a lock, overwritten when a secret in them must end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.domain.errors import ConfigurationError, Transient

LOCK_SECONDS = 30.0


def read_private(path: Path, what: str) -> bytes | None:
    """The content of `path`, or None where there is no such file. `what` names it in messages.

    A reader without the lock may hold a file that `replace_private` is overwriting: it has been replaced then, and
    is read again.

    Raises:
        ConfigurationError: it cannot be read, or others may read it.
    """
    try:
        while True:
            with path.open("rb") as stream:
                state, content = os.fstat(stream.fileno()), stream.read()
                if path.stat().st_ino == state.st_ino:
                    break
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{what} cannot be read ({error.strerror})",
            place=str(path),
            remedy="let the gateway's user read it",
        ) from error
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"{what} is open to other users", place=str(path), remedy=f"chmod 600 {path}"
        )
    return content


@contextmanager
def locked_for_writing(path: Path, what: str) -> Iterator[None]:
    """Only one process at a time makes or changes `path`; its folder is made.

    Raises:
        ConfigurationError: the place cannot be written.
        Transient: another process holds the lock too long.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS, mode=0o600):
            yield
    except Timeout:
        raise Transient(f"{path}.lock is held by another process") from None
    except OSError as error:
        raise ConfigurationError(
            f"{what} cannot be written ({error.strerror})",
            place=str(path),
            remedy="let the gateway's user write its folder, or name another place",
        ) from error


def replace_private(path: Path, content: bytes) -> None:
    """Replace `path` in one step, mode 600, then overwrite the bytes of the file that stood there before.

    A crash leaves the old content or the new one, never none. Overwriting reaches the blocks that the file had; file
    systems that write elsewhere (copy on write, flash) and backups keep what they keep.
    """
    try:
        old = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        write_durably(path, content, mode=0o600)
        return
    try:
        size = os.fstat(old).st_size
        write_durably(path, content, mode=0o600)
        os.pwrite(old, b"\0" * size, 0)
        os.fsync(old)
    finally:
        os.close(old)
