"""`fiona export` of delivered studies, in every format; and what may not be exported."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.routing import TransferRequest
from tests.gateway import Gateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One delivered CT, and a study that nobody claimed."""
    with running_gateway(tmp_path_factory.mktemp("hospital")) as made:
        for name in ("ct-thorax", "cr-uncoupled"):
            made.receive(name)
        made.settle()
        yield made


def export(gateway: Gateway, *arguments: object) -> Result:
    return CliRunner().invoke(fiona, ["export", *map(str, arguments), "--config", str(gateway.config_file)])


def packages(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, (result.output, result.exception)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("export_type", "suffix", "files"), [("native", ".dcm", 12), ("pure", "", 12), ("NIFTI", ".nii", 1)]
)
def test_a_delivered_study_is_exported_in_every_format(
    gateway: Gateway, tmp_path: Path, export_type: str, suffix: str, files: int
) -> None:
    key = gateway.study("ct-thorax").key
    result = export(gateway, key, "--format", export_type, "--to", tmp_path / "out")
    (made,) = packages(result)
    package = Path(made["package"])
    assert package.parent == tmp_path / "out"
    assert (made["study"], made["project"], made["bytes"]) == (key, "BRAINAGE", package.stat().st_size)
    assert made["md5"] == hashlib.md5(package.read_bytes()).hexdigest()
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        found = [
            n for n in archive.namelist() if n.endswith(suffix) and not n.endswith((".json", ".csv", ".txt"))
        ]
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert len(found) == files
    for word in ("Ødegård", "13885512345", "HUS2400001"):
        assert word.encode() not in content


def test_a_whole_project_is_exported_and_twice_gives_the_same_bytes(gateway: Gateway, tmp_path: Path) -> None:
    first = packages(export(gateway, "--project", "BRAINAGE", "--to", tmp_path / "a"))
    second = packages(export(gateway, "--project", "BRAINAGE", "--to", tmp_path / "b"))
    assert [one["md5"] for one in first] == [one["md5"] for one in second]
    assert len(first) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to export"),
        (["--project", "NOBODY"], "no such study is confirmed"),
        (["20990101-0123456789ab"], "no study is known by that name"),
        (["--project", "BRAINAGE", "--format", "MP3"], "'MP3' is no export type"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(
    gateway: Gateway, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    result = export(gateway, *arguments, "--to", tmp_path / "out")
    assert result.exit_code != 0
    assert problem in str(result.exception)
    assert list(tmp_path.rglob("*.zip")) == []
    (transfer,) = gateway.ledger.transfers.of_study(gateway.study("ct-thorax").key)
    places = [one.place for one in gateway.ledger.deliveries.of_transfer(transfer.id)]
    assert str(tmp_path / "out") not in places, "nobody has a copy of what was refused"


def test_an_export_that_lacks_a_study_says_so_with_its_exit_status(gateway: Gateway, tmp_path: Path) -> None:
    both = [gateway.study(name).key for name in ("ct-thorax", "cr-uncoupled")]
    request = TransferRequest("OTHER", "O-1", "baseline", "assign")
    gateway.ledger.transfers.request(both[1], request, now=1.0)
    result = export(gateway, *both, "--to", tmp_path)
    assert result.exit_code == 1
    assert f"left out {both[1]}" in result.stderr
    assert "1 transfer(s) of what was asked for are not in it" in result.stderr
    assert [one["study"] for one in json.loads(result.stdout)] == both[:1]


def test_a_study_that_was_not_released_is_not_exported(gateway: Gateway, tmp_path: Path) -> None:
    result = export(gateway, gateway.study("cr-uncoupled").key, "--to", tmp_path)
    assert "no such study is confirmed" in str(result.exception)


def test_a_copy_that_changed_since_it_was_verified_is_not_exported(gateway: Gateway, tmp_path: Path) -> None:
    (transfer,) = gateway.ledger.transfers.of_study(gateway.study("ct-thorax").key)
    copy = gateway.site.layout.datadir / gateway.ledger.transfers.release_rows(transfer.id)[0].path
    before = copy.read_bytes()
    copy.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        result = export(gateway, "--project", "BRAINAGE", "--to", tmp_path)
    finally:
        copy.write_bytes(before)
    assert "is not the file that was verified" in str(result.exception)
    assert list(tmp_path.glob("*.zip")) == []


def test_a_project_in_one_package_is_verified_by_the_proofs_in_it(gateway: Gateway, tmp_path: Path) -> None:
    listed = tmp_path / "brainage.fiona"
    (made,) = packages(
        export(gateway, "--project", "BRAINAGE", "--together", "--to", tmp_path / "out", "--list", listed)
    )
    package = Path(made["package"])
    assert package.name == "BRAINAGE_native.zip"
    assert listed.read_text().splitlines()[1:] == [f"{package.name},{made['md5']}"]
    answer = CliRunner().invoke(fiona, ["verify", str(package)])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["instances"] == 12
    assert json.loads(answer.stdout)["proofs"]


def test_an_encrypted_export_asks_for_a_password_and_shows_it_nowhere(
    gateway: Gateway, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse battery\n")
    key = gateway.study("ct-thorax").key
    result = export(
        gateway, key, "--encrypt", "zip", "--password-ref", f"file:{secret}", "--to", tmp_path / "out"
    )
    (made,) = packages(result)
    assert made["package"].endswith("_native_encrypted.zip")
    assert "correct horse" not in result.output
    assert b"correct horse" not in b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("export_type", ["BIDS", "Transpara", "Spectroscopy"])
def test_further_formats_hold_nothing_of_the_original(
    gateway: Gateway, tmp_path: Path, export_type: str
) -> None:
    (made,) = packages(export(gateway, "--project", "BRAINAGE", "--format", export_type, "--to", tmp_path))
    with zipfile.ZipFile(made["package"]) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for word in ("Ødegård", "13885512345", "HUS2400001"):
        assert word.encode() not in content


def test_dates_are_not_given_back_without_the_right(gateway: Gateway, tmp_path: Path) -> None:
    result = export(gateway, "--project", "BRAINAGE", "--format", "RAM-MS", "--to", tmp_path)
    assert "may not restore dates" in str(result.exception)
    assert list(tmp_path.glob("*.zip")) == []
