"""Durable writes: aside, synced, renamed into place, folder synced (law 1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

_WRITE, _WAIT_WRITE_WAIT = 2, 7
"""Flags of sync_file_range(2): write what is not being written; wait for what is, write the rest, wait for that."""


def sync_file(path: Path) -> None:
    """Flush the content of `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the entries of `folder` to the disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def commits_in_order(folder: Path) -> bool:
    """Whether `folder` lies on an ext4 file system with a journal.

    There a commit, once on the disk, has all changes of names, sizes and extents that were made before it, and the disk
    has flushed what was written before it (barriers are on by default): a file whose content was written back before it
    got its name is whole wherever the name is found. Other file systems promise that to none but fsync(2).
    """
    device = folder.stat().st_dev
    found = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    task = Path("/sys/fs/ext4") / found.resolve().name / "journal_task"
    try:
        return task.read_text(encoding="ascii").strip().isdigit()  # "<none>" where there is no journal
    except OSError:
        return False


def write_back(descriptor: int) -> None:
    """Bring the content of a file to the disk, which may still hold it in its cache; wait until it is there.

    No commit of the file system's journal is asked for, nor made sure of: see `commits_in_order`.

    Raises:
        OSError: the disk reports that something could not be written.
    """
    call = _sync_file_range()
    if call is None:
        os.fsync(descriptor)
    else:
        _checked(call(descriptor, 0, 0, _WAIT_WRITE_WAIT))


def begin_write_back(descriptor: int, start: int, count: int) -> None:
    """Have the disk begin with `count` bytes of a file from `start`; wait for nothing.

    Raises:
        OSError: they cannot be written.
    """
    call = _sync_file_range()
    if call is not None:
        _checked(call(descriptor, start, count, _WRITE))


def _checked(result: int) -> None:
    if result:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    import ctypes

    found = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found  # type: ignore[no-any-return]


def sync_tree(folder: Path) -> None:
    """Flush everything below `folder` to the disk: one commit for thousands of files, where the system has syncfs.

    Raises:
        OSError: the disk reports that something could not be written.
    """
    import ctypes  # here, and others below: a process that makes copies starts sooner without them

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        for at, _, names in os.walk(folder):
            for name in names:
                sync_file(Path(at) / name)
            sync_folder(Path(at))
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def rename_durably(source: Path, target: Path) -> None:
    """Move a synced file into place on the same file system and sync the target's folder."""
    source.rename(target)
    sync_folder(target.parent)


def write_durably(target: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Replace `target` by `content` in one step: a reader sees the old file or the new one, never a part."""
    import secrets

    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        rename_durably(aside, target)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_json_durably(target: Path, value: Any, *, mode: int = 0o640) -> None:
    """`value` as indented JSON with sorted keys, as FIONA writes its own."""
    import json

    write_durably(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode(), mode=mode)
