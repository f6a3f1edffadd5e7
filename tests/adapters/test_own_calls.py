"""Passes of the gateway for its own receiver."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fiona_dagster.adapters.own_calls import LIFETIME_SECONDS, OwnCalls
from fiona_dagster.domain.errors import ConfigurationError


def test_a_pass_is_good_once_and_what_is_none_removes_nothing(tmp_path: Path) -> None:
    receiver, caller = OwnCalls(tmp_path / "own"), OwnCalls(tmp_path / "own")
    receiver.prepare()
    shown, other = caller.issue(), caller.issue()
    assert (tmp_path / "own" / shown).stat().st_mode & 0o777 == 0o600
    assert [receiver.redeem(shown), receiver.redeem(shown)] == [True, False]
    (tmp_path / "file").touch()
    for wrong in ("", "../file", "0" * 64, other + "\n", str(tmp_path / "file")):
        assert not receiver.redeem(wrong)
    assert (tmp_path / "file").exists()
    caller.withdraw()
    assert not receiver.redeem(other)


def test_an_old_pass_or_one_of_a_folder_that_others_can_write_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    passes = OwnCalls(folder)
    with pytest.raises(ConfigurationError, match=r"ACCESS\.callers"):
        passes.issue()
    passes.prepare()
    assert folder.stat().st_mode & 0o777 == 0o700
    old, left = passes.issue(), passes.issue()
    for name in (old, left):
        then = (folder / name).stat().st_mtime - LIFETIME_SECONDS - 1
        os.utime(folder / name, (then, then))
    assert not passes.redeem(old)
    fresh = passes.issue()
    passes.prepare()
    assert [path.name for path in folder.iterdir()] == [fresh]
    folder.chmod(0o770)
    assert not passes.redeem(fresh)
    moved = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(moved)
    moved.chmod(0o700)
    assert not passes.redeem(passes.issue())
