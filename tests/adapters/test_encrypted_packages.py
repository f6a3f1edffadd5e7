"""Packages that are made encrypted: what opens them, what does not, and when they are made anew."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fiona_dagster.adapters.encryption import Seal, opens
from fiona_dagster.adapters.package_files import manifest_file, md5_file, remove_other_forms, told_manifest
from fiona_dagster.adapters.packages import build
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold
from fiona_dagster.domain.exports.formats import Encryption, ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile
from fiona_dagster.domain.layout import DELIVERED_FOLDER
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.verification import VerifiedStudy
from tests.conftest import need_program
from tests.deliverables import a_study

PASSWORD, OTHER = "correct horse battery", "correct horse staple"
PLAIN = "PROJ1_P001_Baseline_2.25.9_ACC1_native.zip"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


@pytest.fixture(params=["zip", "7z"])
def encryption(request: pytest.FixtureRequest) -> Encryption:
    found: Encryption = request.param
    return found


def sealed(study: VerifiedStudy, outbox: Path, encryption: Encryption, password: str = PASSWORD) -> Package:
    export = replace(NATIVE, encryption=encryption, password_ref="env:X")
    return build(study, export, outbox, password=password)


def test_it_holds_the_plain_package_and_opens_with_its_password_only(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    program, study = need_program("7z", "7zz", "7za"), a_study(tmp_path / "copy")
    package = sealed(study, outbox, encryption)
    assert package.name == PLAIN.replace(".zip", f"_encrypted.{encryption}")
    content = package.path.read_bytes()
    assert (package.md5, package.size_bytes) == (hashlib.md5(content).hexdigest(), len(content))
    assert md5_file(package.path).read_text() == f"{package.md5}  {package.name}\n"
    assert {one.name for one in outbox.iterdir()} == {
        package.name, f"{package.name}.md5", f"{package.name}.manifest.json"
    }  # fmt: skip
    for word in (b"DICM", b"fiona.txt", PASSWORD.encode()):
        assert word not in content
    assert PASSWORD not in manifest_file(package.path).read_text()
    (tmp_path / "plain").mkdir()
    plain = build(study, NATIVE, tmp_path / "plain")
    command = [program, "x", "-so", f"-p{PASSWORD}", str(package.path)]
    unpacked = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert unpacked == plain.path.read_bytes()
    assert package.content_sha256 == plain.content_sha256
    wrong = [program, "t", f"-p{OTHER}", str(package.path)]
    assert subprocess.run(wrong, capture_output=True, check=False, timeout=60).returncode != 0


def test_only_the_right_password_is_found_to_open_it(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    package = sealed(a_study(tmp_path / "copy"), outbox, encryption)
    assert opens(package.path, Seal(encryption, PASSWORD, PLAIN))
    assert not opens(package.path, Seal(encryption, PASSWORD, f"other-{PLAIN}"))
    assert not any(opens(package.path, Seal(encryption, f"{OTHER} {n}", PLAIN)) for n in range(8))
    package.path.write_bytes(b"no container")
    assert not opens(package.path, Seal(encryption, PASSWORD, PLAIN))
    assert PASSWORD not in repr(Seal(encryption, PASSWORD, PLAIN))


def test_what_is_there_and_unchanged_is_used_again_and_another_password_makes_it_anew(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    first = sealed(study, outbox, encryption)
    before = {one.name: one.read_bytes() for one in outbox.iterdir()}
    assert sealed(study, outbox, encryption) == first
    assert {one.name: one.read_bytes() for one in outbox.iterdir()} == before
    later = sealed(replace(study, revision=2), outbox, encryption)
    assert (later.md5, later.revision) == (first.md5, 2)
    changed = sealed(study, outbox, encryption, OTHER)
    assert (changed.name, changed.content_sha256) == (first.name, first.content_sha256)
    assert opens(changed.path, Seal(encryption, OTHER, PLAIN))
    assert not opens(changed.path, Seal(encryption, PASSWORD, PLAIN))


def test_it_is_salted_so_that_made_again_it_has_other_bytes(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    first = sealed(study, outbox, encryption)
    first.path.unlink()
    again = sealed(study, outbox, encryption)
    assert again.md5 != first.md5
    assert again.content_sha256 == first.content_sha256


@pytest.mark.parametrize("password", ["", "short", "grønn grønn grønn"])
def test_without_a_usable_password_nothing_is_made(
    tmp_path: Path, outbox: Path, encryption: Encryption, password: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sealed(a_study(tmp_path / "copy"), outbox, encryption, password)
    assert not password or password not in str(caught.value)
    assert list(outbox.iterdir()) == []


def test_a_copy_that_changed_leaves_no_part_of_a_container(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    path = study.folder / study.instances[-1].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Hold):
        sealed(study, outbox, encryption)
    assert list(outbox.iterdir()) == []


def test_a_disk_that_is_full_leaves_no_part_of_a_container(
    tmp_path: Path, outbox: Path, encryption: Encryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiona_dagster.adapters import packages

    def full(path: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packages, "md5_of", full)
    with pytest.raises(FionaError, match="disk of the outbox is full"):
        sealed(a_study(tmp_path / "copy"), outbox, encryption)
    assert list(outbox.iterdir()) == []


def test_what_lies_beside_it_elsewhere_names_no_file_of_it(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    package = sealed(study, outbox, encryption)
    told = json.loads(told_manifest(package))
    assert told["encryption"] == encryption
    assert told["package"]["md5"] == package.md5
    assert told["participant"] == "P001"
    assert "files" not in told
    assert study.instances[0].sha256 not in told_manifest(package).decode()
    plain = build(study, ExportType.PURE, outbox)
    assert told_manifest(plain) == manifest_file(plain.path).read_bytes()


def test_what_it_was_before_encryption_was_switched_on_is_deleted_and_nothing_else(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    plain, pure = build(study, NATIVE, outbox), build(study, ExportType.PURE, outbox)
    named = build(study, ExportProfile(ExportType.NATIVE, "native-a"), outbox)
    package = sealed(study, outbox, encryption)
    assert remove_other_forms(package) == 1
    assert not plain.path.exists()
    assert not manifest_file(plain.path).exists()
    for kept in (package, pure, named):
        assert manifest_file(kept.path).exists()
        assert kept.path.exists()
    with zipfile.ZipFile(pure.path) as archive:
        assert archive.testzip() is None
    back = build(study, NATIVE, outbox)
    assert remove_other_forms(back) == 1
    assert not package.path.exists()


def test_one_that_was_delivered_before_is_deleted_too(
    tmp_path: Path, outbox: Path, encryption: Encryption
) -> None:
    study = a_study(tmp_path / "copy")
    plain = build(study, NATIVE, outbox)
    delivered = outbox / DELIVERED_FOLDER
    delivered.mkdir()
    for one in (plain.path, manifest_file(plain.path), md5_file(plain.path)):
        one.rename(delivered / one.name)
    assert remove_other_forms(sealed(study, outbox, encryption)) == 1
    assert list(delivered.iterdir()) == []
