from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fiona_dagster.adapters.keyring import Keyring
from fiona_dagster.domain.errors import ConfigurationError


def test_a_key_is_made_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "config" / "keyring.json"
    key = Keyring(path).project_key("STUDY_A")
    assert len(key) == 32
    assert Keyring(path).project_key("STUDY_A") == key
    assert Keyring(path).project_key("STUDY_B") != key
    assert Keyring(path).site_key() == Keyring(path).site_key() != key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_first_users_at_the_same_time_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda n: Keyring(path).project_key(f"P{n % 2}"), range(16)))
    assert len(set(keys)) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_keyring_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keyring.json"
    Keyring(path).site_key()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Keyring(path).site_key()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2, "projects": {}}', '{"version": 1, "projects": {"A": "beef"}}']
)
def test_a_broken_keyring_is_refused_and_never_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as refused:
        Keyring(path).project_key("STUDY_A")
    assert "beef" not in str(refused.value)
    assert path.read_text() == content


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="keyring"):
        Keyring(tmp_path / "file" / "keyring.json").site_key()


def test_the_keyring_is_json_that_a_backup_tool_can_check(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    key = Keyring(path).project_key("STUDY_A")
    assert json.loads(path.read_text())["projects"]["STUDY_A"] == key.hex()
