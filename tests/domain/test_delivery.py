from __future__ import annotations

from pathlib import Path

import pytest

from fiona_dagster.domain.delivery import RemoteFile, Upload, part_name, plan_upload, worth_reading
from fiona_dagster.domain.packaging import Package

PACKAGE = Package("a.zip", Path("/outbox/a.zip"), 100, "m5", "c", 1, 1)


@pytest.mark.parametrize(
    ("final", "part", "plan"),
    [
        (None, None, Upload.RESTART),
        (RemoteFile(100, md5_matches=True), None, Upload.NOTHING),
        (RemoteFile(100, md5_matches=False), None, Upload.RESTART),
        (RemoteFile(99, md5_matches=True), None, Upload.RESTART),
        (None, RemoteFile(40, md5_matches=True), Upload.RESUME),
        (None, RemoteFile(100, md5_matches=True), Upload.RESUME),
        (None, RemoteFile(40, md5_matches=False), Upload.RESTART),
        (None, RemoteFile(0, md5_matches=True), Upload.RESTART),
        (None, RemoteFile(101, md5_matches=True), Upload.RESTART),
        (RemoteFile(100, md5_matches=True), RemoteFile(40, md5_matches=True), Upload.NOTHING),
    ],
)
def test_what_lies_at_the_destination_decides(
    final: RemoteFile | None, part: RemoteFile | None, plan: Upload
) -> None:
    assert plan_upload(PACKAGE, final, part) is plan


def test_only_what_can_be_of_use_is_read_back() -> None:
    assert worth_reading(PACKAGE, 100, "final")
    assert not worth_reading(PACKAGE, 99, "final")
    assert worth_reading(PACKAGE, 99, "part")
    assert not worth_reading(PACKAGE, 0, "part")
    assert not worth_reading(PACKAGE, 101, "part")
    assert not worth_reading(PACKAGE, None, "final")


def test_a_part_is_hidden_and_is_never_taken_for_a_package() -> None:
    assert part_name("a.zip") == ".a.zip.part"
