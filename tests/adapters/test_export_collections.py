"""Packages of many studies, plain and encrypted."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fiona_dagster.adapters import stored_zip
from fiona_dagster.adapters.export_collections import CollectedStudy, build_collection
from fiona_dagster.adapters.package_files import md5_file
from fiona_dagster.domain.errors import ConfigurationError, Hold
from fiona_dagster.domain.exports.bids import Session
from fiona_dagster.domain.exports.changes import NO_CONTEXT
from fiona_dagster.domain.exports.collections import Place
from fiona_dagster.domain.exports.formats import Encryption
from fiona_dagster.domain.exports.profiles import NATIVE
from fiona_dagster.domain.packaging import Package
from tests.conftest import need_program
from tests.deliverables import a_study

PASSWORD = "correct horse battery"


def collected(folder: Path, count: int, *, files: int = 2) -> Iterator[CollectedStudy]:
    """`count` studies, each made when it is asked for and deleted when the next one is."""
    proof = folder / "proof"
    proof.parent.mkdir(parents=True, exist_ok=True)
    proof.write_bytes(b"{}")
    for number in range(count):
        study = a_study(folder / "copy", files, participant=f"P{number:03d}")
        study = replace(study, study=replace(study.study, study_instance_uid=f"2.25.{900 + number}"))
        yield CollectedStudy(study, Place(f"P{number:03d}", Session("x", "1")), NO_CONTEXT, proof)


def made(folder: Path, count: int, *, password: str = "", encryption: Encryption | None = None) -> Package:
    outbox = folder / "outbox"
    outbox.mkdir(parents=True, exist_ok=True)
    studies = collected(folder, count)
    return build_collection(
        studies, NATIVE, "PROJ1", "PROJ1_native.zip", outbox, password=password, encryption=encryption
    )


def test_a_package_of_many_studies_has_every_file_sums_and_proofs(tmp_path: Path) -> None:
    package = made(tmp_path, 3)
    content = package.path.read_bytes()
    assert md5_file(package.path).read_text() == f"{hashlib.md5(content).hexdigest()}  PROJ1_native.zip\n"
    with zipfile.ZipFile(package.path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert len(manifest["files"]) == package.entries == 6
        for entry in manifest["files"]:
            assert hashlib.sha256(archive.read(entry["name"])).hexdigest() == entry["sha256"]
        names = set(archive.namelist()) - {entry["name"] for entry in manifest["files"]}
    proofs = {f"proofs/2.25.{900 + n}.proof.json" for n in range(3)}
    assert names == {"fiona.txt", "manifest.json"} | proofs
    assert manifest["studies"] == 3
    assert manifest["content_sha256"] == package.content_sha256
    assert {path.name for path in package.path.parent.iterdir()} == {package.name, f"{package.name}.md5"}


def test_the_same_studies_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(tmp_path / "a", 2).path.read_bytes()
    monkeypatch.setattr(stored_zip, "_DIRECTORY_IN_MEMORY", 10)
    assert made(tmp_path / "b", 2).path.read_bytes() == first


def test_memory_does_not_grow_with_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_zip, "_DIRECTORY_IN_MEMORY", 1 << 10)
    made(tmp_path / "first", 2)  # what is imported and remembered once
    peaks = []
    for count in (4, 20):
        tracemalloc.start()
        made(tmp_path / str(count), count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_study_that_changed_leaves_no_package(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()

    def studies() -> Iterator[CollectedStudy]:
        for number, one in enumerate(collected(tmp_path, 2)):
            if number:
                path = one.study.folder / one.study.instances[0].path
                path.write_bytes(path.read_bytes()[:-1] + b"?")
            yield one

    with pytest.raises(Hold):
        build_collection(studies(), NATIVE, "PROJ1", "PROJ1_native.zip", outbox)
    assert list(outbox.iterdir()) == []


@pytest.mark.parametrize("encryption", ["zip", "7z"])
def test_an_encrypted_package_opens_with_its_password_only(tmp_path: Path, encryption: Encryption) -> None:
    program = need_program("7z", "7zz", "7za")
    plain = made(tmp_path / "plain", 2).path.read_bytes()
    package = made(tmp_path, 2, password=PASSWORD, encryption=encryption)
    assert package.name == f"PROJ1_native_encrypted.{encryption}"
    content = package.path.read_bytes()
    assert package.md5 == hashlib.md5(content).hexdigest()
    assert package.size_bytes == len(content)
    for word in (b"P001", b"DICM", b"manifest", PASSWORD.encode()):
        assert word not in content
    command = [program, "x", "-so", f"-p{PASSWORD}", str(package.path)]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == plain
    wrong = subprocess.run(
        [program, "t", "-pwrong", str(package.path)], capture_output=True, check=False, timeout=60
    )
    assert wrong.returncode != 0
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        assert "manifest.json" in archive.namelist()
    assert {path.name for path in package.path.parent.iterdir()} == {package.name, f"{package.name}.md5"}


def test_the_zip_is_encrypted_with_aes_256(tmp_path: Path) -> None:
    package = made(tmp_path, 1, password=PASSWORD, encryption="zip")
    with zipfile.ZipFile(package.path) as archive:
        (entry,) = archive.infolist()
    # AE-x extra field (0x9901): version, vendor AE, strength 3 for 256 bit, method 0 for stored
    start = entry.extra.index(b"\x01\x99")
    assert entry.extra[start + 6 : start + 9] == b"AE\x03"
    assert entry.compress_type == 99


@pytest.mark.parametrize("encryption", ["zip", "7z"])
@pytest.mark.parametrize("password", ["", "short", "grønn grønn grønn", "tab\tin the middle"])
def test_a_weak_or_ambiguous_password_is_refused(
    tmp_path: Path, encryption: Encryption, password: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        made(tmp_path, 1, password=password, encryption=encryption)
    assert not password or password not in str(raised.value)
    assert list((tmp_path / "outbox").iterdir()) == []


@pytest.mark.parametrize("encryption", ["zip", "7z"])
def test_a_study_that_changed_leaves_no_encrypted_package(tmp_path: Path, encryption: Encryption) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()

    def studies() -> Iterator[CollectedStudy]:
        (one,) = collected(tmp_path, 1)
        path = one.study.folder / one.study.instances[0].path
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        yield one

    with pytest.raises(Hold):
        build_collection(
            studies(), NATIVE, "PROJ1", "a.zip", outbox, password=PASSWORD, encryption=encryption
        )
    assert list(outbox.iterdir()) == []
