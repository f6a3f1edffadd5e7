from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fiona_dagster.adapters.keyring import Keyring
from fiona_dagster.adapters.signing import SigningKey
from fiona_dagster.cli.keys import keys
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project_keys import fingerprint


@pytest.fixture(autouse=True)
def datadir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def ring(datadir: Path) -> Keyring:
    return Keyring(datadir / "config" / "keyring.json")


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(keys, arguments, input=typed)


def test_keys_are_listed_rotated_and_never_shown(ring: Keyring) -> None:
    ring.project_key("STUDY_A")
    ring.project_key("STUDY_B")
    old, other = ring.active_key_id("STUDY_A"), ring.active_key_id("STUDY_B")
    rotated = run("rotate", "STUDY_A")
    assert rotated.exit_code == 0
    new = ring.active_key_id("STUDY_A")
    assert new in rotated.output
    rows = json.loads(run("list").stdout)
    assert [(r["project"], r["id"], r["state"], r["kept"]) for r in rows] == [
        ("STUDY_A", old, "older", "keyring"),
        ("STUDY_A", new, "active", "keyring"),
        ("STUDY_B", other, "active", "keyring"),
    ]
    shown = run("list").output + rotated.output + run("public").output
    material = [ring.project_key("STUDY_A", one).hex() for one in (old, new)]
    assert not [key for key in (*material, ring.site_key().hex()) if key in shown]


def test_destruction_asks_for_the_name_and_gives_a_certificate(ring: Keyring, datadir: Path) -> None:
    key = ring.project_key("STUDY_A")
    for wrong in (
        run("destroy", "STUDY_A", typed="STUDY_B\n"),
        run("destroy", "STUDY_A", "--yes-i-mean", "x"),
    ):
        assert isinstance(wrong.exception, ConfigurationError)
    assert ring.project_key("STUDY_A") == key
    result = run("destroy", "STUDY_A", "--output", str(datadir / "certificate.json"), typed="STUDY_A\n")
    assert result.exit_code == 0, result.output
    certificate = json.loads(result.stdout)["content"]
    assert [one["fingerprint"] for one in certificate["keys"]] == [fingerprint(key)]
    assert certificate["project"] == "STUDY_A"
    assert key.hex() not in result.output
    assert (datadir / "certificate.json").read_text() == result.stdout == run("certificate", "STUDY_A").stdout
    assert isinstance(run("destroy", "STUDY_A", "--yes-i-mean", "STUDY_A").exception, ConfigurationError)
    assert json.loads(run("list").stdout)[0]["state"] == "destroyed"
    with pytest.raises(ConfigurationError, match="were destroyed"):
        ring.project_key("STUDY_A")


def test_a_certificate_is_checked_by_the_public_key_alone(ring: Keyring, tmp_path: Path) -> None:
    ring.project_key("STUDY_A")
    file, public = tmp_path / "certificate.json", tmp_path / "site.pem"
    assert run("destroy", "STUDY_A", "--yes-i-mean", "STUDY_A", "--output", str(file)).exit_code == 0
    public.write_text(run("public").stdout)
    assert run("check", str(file), "--public-key", str(public)).exit_code == 0
    file.write_text(file.read_text().replace('"STUDY_A"', '"STUDY_B"'))
    assert run("check", str(file), "--public-key", str(public)).exit_code == 1
    file.write_bytes(SigningKey(tmp_path / "config" / "signing.pem").sign({"format": "fiona-proof/1"}))
    assert isinstance(run("check", str(file), "--public-key", str(public)).exception, ConfigurationError)


def test_a_certificate_needs_a_destruction(ring: Keyring) -> None:
    ring.project_key("STUDY_A")
    for name in ("STUDY_A", "STUDY_C"):
        assert isinstance(run("certificate", name).exception, ConfigurationError)
    assert isinstance(run("destroy", "STUDY_C", "--yes-i-mean", "STUDY_C").exception, ConfigurationError)


def test_nothing_is_destroyed_where_no_certificate_could_be_signed(ring: Keyring, datadir: Path) -> None:
    key = ring.project_key("STUDY_A")
    (datadir / "config" / "signing.pem").write_text("no key")
    (datadir / "config" / "signing.pem").chmod(0o600)
    assert isinstance(run("destroy", "STUDY_A", "--yes-i-mean", "STUDY_A").exception, ConfigurationError)
    assert ring.project_key("STUDY_A") == key


@pytest.mark.parametrize("behind", [False, True])
def test_the_keyring_may_be_named_before_and_behind_the_subcommand(tmp_path: Path, *, behind: bool) -> None:
    ring = tmp_path / "ring.json"
    Keyring(ring, {}).project_key("HEART")
    where = ["--keyring", str(ring)]
    words = ["list", *where] if behind else [*where, "list"]
    result = CliRunner().invoke(keys, words, catch_exceptions=False)
    assert [one["project"] for one in json.loads(result.stdout)] == ["HEART"]
