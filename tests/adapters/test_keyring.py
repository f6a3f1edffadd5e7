from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fiona_dagster.adapters.keyring import Keyring
from fiona_dagster.domain.errors import ConfigurationError, FionaError
from fiona_dagster.domain.project_keys import fingerprint

NOON = 1_790_000_000.0
OUTSIDE = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "keyring.json"


def version_1(path: Path, **projects: str) -> Path:
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 1, "site": "11" * 32, "projects": projects}))
    path.chmod(0o600)
    return path


def test_a_key_is_made_once_and_stays(path: Path) -> None:
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
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 3, "projects": {}}',
        '{"version": 1, "projects": {"STUDY_A": "beef"}}',
        '{"version": 2, "projects": {"STUDY_A": {"active": "x", "keys": []}}}',
        json.dumps(
            {
                "version": 2,
                "projects": {
                    "STUDY_A": {
                        "active": "0" * 16,
                        "keys": [
                            {"id": "0" * 16, "fingerprint": "0" * 64, "created": "", "key": "beef" * 16}
                        ],
                    }
                },
            }
        ),
    ],
)
def test_a_broken_keyring_is_refused_and_never_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(content)
    path.chmod(0o600)
    for ask in (Keyring(path).project_key, Keyring(path).rotate, Keyring(path).destroy):
        with pytest.raises(ConfigurationError) as refused:
            ask("STUDY_A")
        assert "beef" not in str(refused.value)
    assert path.read_text() == content


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="keyring"):
        Keyring(tmp_path / "file" / "keyring.json").site_key()


def test_the_keyring_is_json_that_a_backup_tool_can_check(path: Path) -> None:
    key = Keyring(path, clock=lambda: NOON).project_key("STUDY_A")
    content = json.loads(path.read_text())
    assert content["version"] == 2
    (entry,) = content["projects"]["STUDY_A"]["keys"]
    assert entry == {
        "id": fingerprint(key)[:16],
        "fingerprint": fingerprint(key),
        "created": "2026-09-21T14:13:20Z",
        "key": key.hex(),
    }


def test_a_keyring_of_version_1_keeps_its_keys_and_becomes_version_2_when_it_changes(path: Path) -> None:
    version_1(path, STUDY_A="22" * 32)
    ring = Keyring(path)
    assert ring.project_key("STUDY_A") == b"\x22" * 32
    assert ring.site_key() == b"\x11" * 32
    first = ring.active_key_id("STUDY_A")
    assert json.loads(path.read_text())["version"] == 1
    ring.rotate("STUDY_A")
    assert json.loads(path.read_text())["version"] == 2
    assert ring.project_key("STUDY_A", first) == b"\x22" * 32
    assert ring.site_key() == b"\x11" * 32


def test_after_a_rotation_new_work_gets_the_new_key_and_old_work_its_own(path: Path) -> None:
    ring = Keyring(path)
    old, old_id = ring.project_key("STUDY_A"), ring.active_key_id("STUDY_A")
    other = ring.project_key("STUDY_B")
    new_id = ring.rotate("STUDY_A")
    assert ring.active_key_id("STUDY_A") == new_id != old_id
    assert ring.project_key("STUDY_A") == ring.project_key("STUDY_A", new_id) != old
    assert ring.project_key("STUDY_A", old_id) == old
    assert ring.project_key("STUDY_B") == other
    with pytest.raises(ConfigurationError, match="restore the keyring"):
        ring.project_key("STUDY_A", "0123456789abcdef")


def test_a_destroyed_project_leaves_a_tombstone_and_never_gets_another_key(path: Path) -> None:
    ring = Keyring(path, clock=lambda: NOON)
    keys = [ring.project_key("STUDY_A")]
    ring.rotate("STUDY_A")
    keys.append(ring.project_key("STUDY_A"))
    other = ring.project_key("STUDY_B")
    gone = ring.destroy("STUDY_A")
    assert [one.fingerprint for one in gone.keys] == [fingerprint(key) for key in keys]
    text = path.read_text()
    assert not [key for key in keys if key.hex() in text]
    assert ring.project_key("STUDY_B") == other
    assert ring.projects()["STUDY_A"] == gone
    for ask in (ring.project_key, ring.active_key_id, ring.rotate, ring.destroy):
        with pytest.raises(ConfigurationError, match="were destroyed at 2026-09-21"):
            ask("STUDY_A")
    assert path.read_text() == text


def test_the_bytes_of_a_keyring_that_was_replaced_are_overwritten(path: Path, tmp_path: Path) -> None:
    ring = Keyring(path)
    key = ring.project_key("STUDY_A")
    os.link(path, tmp_path / "what stood there")
    ring.destroy("STUDY_A")
    left = (tmp_path / "what stood there").read_bytes()
    assert left
    assert left.strip(b"\0") == b""
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and key.hex() in p.read_text()]


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_crash_while_the_keyring_is_written_loses_no_key(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ring = Keyring(path)
    key = ring.project_key("STUDY_A")

    def crash(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        if call == "rename":
            broken.setattr(Path, "rename", crash)
        else:
            broken.setattr(os, "fsync", crash)
        for change in (ring.rotate, ring.destroy, ring.project_key):
            with pytest.raises(ConfigurationError, match="cannot be written"):
                change("STUDY_A" if change != ring.project_key else "STUDY_C")
    assert ring.project_key("STUDY_A") == key
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(".")] == []


def test_a_reader_never_sees_a_keyring_that_is_being_overwritten(path: Path) -> None:
    ring = Keyring(path)
    key, first = ring.project_key("STUDY_A"), ring.active_key_id("STUDY_A")
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(ring.rotate, "STUDY_A") for _ in range(10)]
        reading = [pool.submit(ring.project_key, "STUDY_A", first) for _ in range(200)]
        assert {one.result() for one in reading} == {key}
        assert len({one.result() for one in writing}) == 10
    assert len(ring.projects()["STUDY_A"].keys) == 11


@pytest.mark.parametrize("name", ["study_a", "Study_A", "STUDY_A ", " STUDY_A", "STUDY _A", "study_a\t"])
def test_a_destroyed_project_does_not_come_back_under_a_name_like_its_own(path: Path, name: str) -> None:
    ring = Keyring(path, clock=lambda: NOON)
    ring.project_key("STUDY_A")
    ring.destroy("STUDY_A")
    before = path.read_bytes()
    for ask in (ring.project_key, ring.active_key_id):
        with pytest.raises(ConfigurationError, match="STUDY_A, whose keys were destroyed at 2026-09-21"):
            ask(name)
    assert path.read_bytes() == before
    assert len(ring.project_key("STUDY_AB")) == len(ring.project_key("STUDY-A")) == 32


def test_names_that_differ_in_case_have_keys_of_their_own_while_none_is_destroyed(path: Path) -> None:
    ring = Keyring(path)
    key = ring.project_key("study_a")
    assert ring.project_key("STUDY_A") != key
    ring.destroy("STUDY_A")
    assert ring.project_key("study_a") == key


def test_a_project_without_keys_cannot_be_rotated_or_destroyed(path: Path) -> None:
    for ask in (Keyring(path).rotate, Keyring(path).destroy):
        with pytest.raises(ConfigurationError, match="has no key"):
            ask("STUDY_A")
    assert not path.exists()


def test_a_key_may_be_kept_outside_and_the_keyring_remembers_its_fingerprint(path: Path) -> None:
    outside = Keyring(path, {"FIONA_PROJECT_KEY_STUDY_A": OUTSIDE})
    assert outside.project_key("STUDY-A") == bytes.fromhex(OUTSIDE)
    assert OUTSIDE not in path.read_text()
    assert outside.active_key_id("STUDY-A") == fingerprint(bytes.fromhex(OUTSIDE))[:16]
    with pytest.raises(ConfigurationError, match="set FIONA_PROJECT_KEY_STUDY_A"):
        Keyring(path).project_key("STUDY-A")
    other = Keyring(path, {"FIONA_PROJECT_KEY_STUDY_A": "cd" * 32})
    with pytest.raises(ConfigurationError, match="other pseudonyms"):
        other.project_key("STUDY-A")
    with pytest.raises(ConfigurationError, match="outside"):
        outside.rotate("STUDY-A")
    with pytest.raises(ConfigurationError, match="take the variable away"):
        outside.destroy("STUDY-A")
    assert Keyring(path).destroy("STUDY-A").destroyed_at


def test_a_file_with_a_key_must_be_ours_alone(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(OUTSIDE + "\n")
    file.chmod(0o600)
    ring = Keyring(path, {"FIONA_PROJECT_KEY_STUDY_A": f"file:{file}"})
    assert ring.project_key("STUDY_A") == bytes.fromhex(OUTSIDE)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        ring.project_key("STUDY_A")


@pytest.mark.parametrize("value", ["beef", "no hex beef", "file:/nowhere/beef-key", "beef" * 17])
def test_no_message_holds_a_key(path: Path, value: str) -> None:
    with pytest.raises(FionaError) as refused:
        Keyring(path, {"FIONA_PROJECT_KEY_STUDY_A": value}).project_key("STUDY_A")
    assert "beef" not in str(refused.value).replace("file:/path", "")
    assert not path.exists()


def test_keys_do_not_show_when_they_are_printed(path: Path) -> None:
    key = Keyring(path).project_key("STUDY_A")
    shown = repr(Keyring(path).projects()) + repr(Keyring(path)._read())
    assert key.hex() not in shown
    assert repr(key) not in shown


def test_the_key_that_was_active_at_a_time_is_found_again(path: Path) -> None:
    ring = Keyring(path, clock=lambda: NOON)
    first = ring.active_key_id("STUDY_A")
    assert Keyring(path, clock=lambda: NOON + 60).rotate("STUDY_A") == ring.active_key_id("STUDY_A") != first
    found = [ring.active_key_id_at("STUDY_A", NOON + after) for after in (-60.0, 0.0, 59.9, 60.0, 1e6)]
    assert found == [first, first, first, ring.active_key_id("STUDY_A"), ring.active_key_id("STUDY_A")]
