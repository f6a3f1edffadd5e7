"""Durable writes: the order of the calls is the promise, so the calls themselves are watched."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fiona_dagster.adapters.durable import rename_durably, sync_folder, write_durably, write_json_durably


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced and renamed, in order; everything is really done."""
    seen: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append(f"sync {kind}")
        fsync(descriptor)

    def watched_rename(self: Path, target: Path) -> Path:
        seen.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    return seen


def test_the_content_is_synced_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, calls: list[str]
) -> None:
    write_durably(tmp_path / "x", b"content")
    assert calls == ["sync file", "rename", "sync folder"]
    assert (tmp_path / "x").read_bytes() == b"content"


def test_a_rename_survives_a_power_cut(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "a").write_bytes(b"1")
    rename_durably(tmp_path / "a", tmp_path / "b")
    assert calls == ["rename", "sync folder"]


@pytest.mark.parametrize("cut", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if cut == "fsync" else (Path, "rename")), full)  # type: ignore[call-overload]
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "x", b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("x", b"old")]


def test_what_is_written_is_closed_to_others_and_a_secret_to_the_group(tmp_path: Path) -> None:
    write_durably(tmp_path / "a", b"")
    write_durably(tmp_path / "b", b"", mode=0o600)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_json_is_written_the_same_for_the_same_value(tmp_path: Path) -> None:
    write_json_durably(tmp_path / "a", {"b": "Åse", "a": [1]})
    write_json_durably(tmp_path / "b", {"a": [1], "b": "Åse"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text(encoding="utf-8")) == {"a": [1], "b": "Åse"}


def test_only_a_folder_is_synced_as_one(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "x")
