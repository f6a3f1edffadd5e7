"""What stands on the disk at the moment of Success, as a machine would find it that lost its power then.

An ext4 file system of our own on a loop device: its image is copied, without anything being synced or unmounted, and
the copy mounted, which replays its journal. What was in memory alone is not in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fiona_dagster.adapters import durable
from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.spool import Placed, Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.layout import Layout
from tests.conftest import need_program

STUDY = "1.2.3"
ASSOCIATIONS = 4
ROUNDS = 3


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(image), str(at)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system of our own: that takes root and a loop device")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return made(tmp_path / "disk.img")


def made(found: Path, *options: str) -> Path:
    if os.geteuid() != 0:
        pytest.skip("no file system of our own: that takes root and a loop device")
    with found.open("wb") as stream:
        stream.truncate(48 << 20)
    subprocess.run([need_program("mkfs.ext4"), "-q", "-F", *options, str(found)], check=True)
    return found


def content(number: int) -> bytes:
    """From a few blocks to many, of other bytes in each file."""
    size = 3_000 + 40_000 * (number % 7)
    return hashlib.shake_128(str(number).encode()).digest(size)


def received(spool: Spool, number: int) -> Placed:
    uid = f"{STUDY}.{number}"
    meta = file_meta("1.2.840.10008.5.1.4.1.1.2", uid, "1.2.840.10008.1.2.1", "CT1")
    with closing(Upload.begin(spool.incoming("w"), meta)) as upload:
        upload.goes_to_disk = True
        whole = memoryview(content(number))
        for at in range(0, len(whole), 50_000):
            upload.write(whole[at : at + 50_000])
        return spool.place(upload, STUDY, uid)


def after_a_power_cut(image: Path, tmp_path: Path, number: int) -> dict[str, bytes]:
    """The archive's files behind Success of four Associations at a time, as the disk has them; `number` is the last."""
    copy = tmp_path / f"cut-{number}.img"
    shutil.copyfile(image, copy)
    with mounted(copy, tmp_path / f"cut-{number}") as root:
        found = {path.name: path.read_bytes() for path in Layout(root).archive.glob("*/*")}
    copy.unlink()
    return found


def run(
    image: Path,
    tmp_path: Path,
    change: Callable[[Spool], None] = lambda _: None,
    behind: Callable[[Path], None] = lambda _: None,
    *,
    in_order: bool = True,
) -> Iterator[tuple[int, dict[str, bytes]]]:
    with mounted(image, tmp_path / "disk") as root:
        spool = Spool(Layout(root))
        assert durable.commits_in_order(root) == in_order
        change(spool)
        try:
            for turn in range(ROUNDS):
                numbers = range(turn * ASSOCIATIONS, (turn + 1) * ASSOCIATIONS)
                threads = [threading.Thread(target=received, args=(spool, number)) for number in numbers]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                behind(root)
                yield numbers[-1], after_a_power_cut(image, tmp_path, numbers[-1])
        finally:
            spool._studies.clear()  # its open folders


def is_whole(found: dict[str, bytes], number: int) -> bool:
    return found.get(f"{STUDY}.{number}", b"").endswith(content(number))


def test_what_was_acknowledged_is_whole_after_a_power_cut(image: Path, tmp_path: Path) -> None:
    for last, found in run(image, tmp_path):
        assert [number for number in range(last + 1) if not is_whole(found, number)] == []


def test_a_file_system_that_promises_no_order_has_the_file_synced_first(image: Path, tmp_path: Path) -> None:
    def fsync(spool: Spool) -> None:
        spool._content = os.fsync

    for last, found in run(image, tmp_path, fsync):
        assert [number for number in range(last + 1) if not is_whole(found, number)] == []


def test_without_a_journal_the_file_is_synced_first(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.img", "-O", "^has_journal")
    for last, found in run(image, tmp_path, in_order=False):
        assert [number for number in range(last + 1) if not is_whole(found, number)] == []


def test_without_the_content_written_back_the_cut_would_show(image: Path, tmp_path: Path) -> None:
    def nothing(spool: Spool) -> None:
        spool._content = lambda _: None

    broken = [number for last, found in run(image, tmp_path, nothing) for number in range(last + 1)
              if not is_whole(found, number)]  # fmt: skip
    assert broken


def test_a_name_that_another_commit_brought_to_the_disk_has_its_content(image: Path, tmp_path: Path) -> None:
    def interrupted(spool: Spool) -> None:
        """Every Association stops between the name and its sync; then somebody else's file is synced."""
        setattr(spool, "_sync", lambda _: None)  # noqa: B010  a method

    for last, found in run(image, tmp_path, interrupted, behind=_another_file):
        assert len(found) == last + 1
        assert all(is_whole(found, number) for number in range(last + 1))


def _another_file(root: Path) -> None:
    durable.write_durably(root / "another", b"something else")
