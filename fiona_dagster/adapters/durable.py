"""Durable writes: aside, synced, renamed into place, folder synced (law 1)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


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
