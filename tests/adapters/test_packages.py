from __future__ import annotations

import hashlib
import io
import json
import resource
import subprocess
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from fiona_dagster.adapters import package_sources
from fiona_dagster.adapters.package_files import manifest_file, md5_file
from fiona_dagster.adapters.packages import build
from fiona_dagster.adapters.stored_zip import StoredZip
from fiona_dagster.domain.errors import FionaError, Hold, Permanent
from fiona_dagster.domain.exports.formats import ExportType
from tests.conftest import need_program
from tests.deliverables import SERIES, a_study, instances, verified_study, write_copy


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


def _snapshot(outbox: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in outbox.iterdir()}


def test_a_package_is_a_zip_with_its_md5_and_manifest(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy")
    package = build(study, ExportType.NATIVE, outbox)
    assert package.name == "PROJ1_P001_Baseline_2.25.9_ACC1_native.zip"
    assert sorted(p.name for p in outbox.iterdir()) == sorted(
        [package.name, f"{package.name}.md5", f"{package.name}.manifest.json"]
    )
    with zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["fiona.txt", *(f"Baseline/DICOM/CT.2.25.{n}.dcm" for n in (1, 2, 3))]
        for one in study.instances:
            assert archive.read(f"Baseline/DICOM/{one.path}") == (study.folder / one.path).read_bytes()
        assert b"files: 3\n" in archive.read("fiona.txt")
    content = package.path.read_bytes()
    assert (package.size_bytes, package.entries) == (len(content), 3)
    assert package.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    manifest = json.loads(manifest_file(package.path).read_bytes())
    assert [f["sha256"] for f in manifest["files"]] == [one.sha256 for one in study.instances]
    assert manifest["package"]["md5"] == package.md5


def test_the_proof_of_a_release_is_in_its_dicom_packages(tmp_path: Path, outbox: Path) -> None:
    study, proof = a_study(tmp_path / "copy"), tmp_path / "7.1.json"
    proof.write_text("signed")
    package = build(study, ExportType.NATIVE, outbox, proof=proof)
    with zipfile.ZipFile(package.path) as archive:
        assert archive.read("proof.json") == b"signed"
        assert archive.namelist()[:2] == ["fiona.txt", "proof.json"]
    before = _snapshot(outbox)
    proof.write_text("signed at another time")
    assert build(study, ExportType.NATIVE, outbox, proof=proof) == package
    assert _snapshot(outbox) == before


def test_md5sum_and_unzip_agree(tmp_path: Path, outbox: Path) -> None:
    package = build(a_study(tmp_path / "copy"), ExportType.NATIVE, outbox)
    subprocess.run(
        [need_program("md5sum"), "-c", md5_file(package.path).name],
        cwd=outbox,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run([need_program("unzip"), "-tqq", package.path], check=True)


def test_building_again_leaves_the_files_alone(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy")
    first, before = build(study, ExportType.NATIVE, outbox), _snapshot(outbox)
    assert build(study, ExportType.NATIVE, outbox) == first
    assert _snapshot(outbox) == before


def test_the_same_study_gives_the_same_bytes_elsewhere_and_in_any_order(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy")
    (tmp_path / "other").mkdir()
    turned = verified_study(study.folder, reversed(study.instances))
    one, two = build(study, ExportType.NATIVE, outbox), build(turned, ExportType.NATIVE, tmp_path / "other")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert manifest_file(one.path).read_bytes() == manifest_file(two.path).read_bytes()


def test_a_new_revision_of_the_same_files_keeps_the_zip_and_says_so_in_the_manifest(
    tmp_path: Path, outbox: Path
) -> None:
    study = a_study(tmp_path / "copy")
    before = build(study, ExportType.NATIVE, outbox).path.stat().st_mtime_ns
    package = build(replace(study, revision=2), ExportType.NATIVE, outbox)
    assert package.revision == 2
    assert package.path.stat().st_mtime_ns == before
    assert json.loads(manifest_file(package.path).read_bytes())["revision"] == 2


def test_late_images_make_a_new_package_under_the_old_name(tmp_path: Path, outbox: Path) -> None:
    first = build(a_study(tmp_path / "copy", 2), ExportType.NATIVE, outbox)
    second = build(a_study(tmp_path / "copy", 3, revision=2), ExportType.NATIVE, outbox)
    assert second.name == first.name
    assert second.entries == 3
    assert md5_file(second.path).read_text() == f"{second.md5}  {second.name}\n"


@pytest.mark.parametrize("broken", ["zip", "md5", "manifest"])
def test_whatever_of_a_package_is_damaged_is_mended(tmp_path: Path, outbox: Path, broken: str) -> None:
    study = a_study(tmp_path / "copy")
    package = build(study, ExportType.NATIVE, outbox)
    content = {path: path.read_bytes() for path in outbox.iterdir()}
    damaged = {"zip": package.path, "md5": md5_file(package.path), "manifest": manifest_file(package.path)}[
        broken
    ]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert build(study, ExportType.NATIVE, outbox) == package
    assert {path: path.read_bytes() for path in outbox.iterdir()} == content


@pytest.mark.parametrize("at_once", [1 << 20, 100])
@pytest.mark.parametrize("change", ["flip", "shorten", "lengthen"])
def test_a_file_that_changed_after_its_verification_is_never_packed(
    tmp_path: Path, outbox: Path, change: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_sources, "AT_ONCE", at_once)
    study = a_study(tmp_path / "copy")
    victim = study.folder / study.instances[1].path
    content = victim.read_bytes()
    victim.write_bytes(
        {"flip": content[:-1] + b"?", "shorten": content[:-1], "lengthen": content + b"?"}[change]
    )
    with pytest.raises(Hold, match="changed after its verification"):
        build(study, ExportType.NATIVE, outbox)
    assert list(outbox.iterdir()) == []


def test_a_file_that_is_gone_is_a_permanent_error_without_its_name(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy")
    (study.folder / study.instances[2].path).unlink()
    with pytest.raises(Permanent) as raised:
        build(study, ExportType.NATIVE, outbox)
    assert "2.25" not in str(raised.value)
    assert list(outbox.iterdir()) == []


def test_a_failed_build_leaves_the_older_package_whole(tmp_path: Path, outbox: Path) -> None:
    build(a_study(tmp_path / "copy", 2), ExportType.NATIVE, outbox)
    before = _snapshot(outbox)
    study = a_study(tmp_path / "copy", 3)
    (study.folder / study.instances[2].path).write_bytes(b"changed")
    with pytest.raises(FionaError):
        build(study, ExportType.NATIVE, outbox)
    assert _snapshot(outbox) == before


def test_large_files_are_packed_in_pieces_with_the_same_result(
    tmp_path: Path, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = a_study(tmp_path / "copy", size=50_000)
    whole = build(study, ExportType.NATIVE, outbox).path.read_bytes()
    monkeypatch.setattr(package_sources, "AT_ONCE", 1000)
    monkeypatch.setattr(package_sources, "PIECE", 4096)
    (tmp_path / "other").mkdir()
    assert build(study, ExportType.NATIVE, tmp_path / "other").path.read_bytes() == whole


def test_memory_does_not_grow_with_an_object(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy", 1)
    big = tmp_path / "copy" / "big.dcm"
    with big.open("wb") as stream:
        stream.truncate(300 << 20)
    digest = hashlib.sha256()
    with big.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    one = replace(
        study.instances[0],
        path="big.dcm",
        sop_instance_uid="2.25.7",
        size_bytes=300 << 20,
        sha256=digest.hexdigest(),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build(verified_study(study.folder, (*study.instances, one)), ExportType.NATIVE, outbox)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


def test_a_study_without_files_gives_a_package_with_a_warning(tmp_path: Path, outbox: Path) -> None:
    package = build(verified_study(tmp_path, ()), ExportType.NATIVE, outbox)
    with zipfile.ZipFile(package.path) as archive:
        assert archive.namelist() == ["fiona.txt", "warning.txt"]
    assert package.entries == 0


def test_the_pure_tree_is_named_after_the_copy(tmp_path: Path, outbox: Path) -> None:
    package = build(a_study(tmp_path / "copy", 1), ExportType.PURE, outbox)
    with zipfile.ZipFile(package.path) as archive:
        assert "PROJ1/P001/20200101_101500_Baseline/0003_Thorax--5-mm/CT.2.25.1.dcm" in archive.namelist()


def test_two_series_of_one_number_and_description_do_not_mix_in_the_pure_tree(
    tmp_path: Path, outbox: Path
) -> None:
    folder = tmp_path / "copy"
    write_copy(folder / "a.dcm", "2.25.1")
    write_copy(folder / "b.dcm", "2.25.2", series="2.25.21")
    study = verified_study(
        folder, instances(folder, [("a.dcm", "2.25.1", SERIES), ("b.dcm", "2.25.2", "2.25.21")])
    )
    with zipfile.ZipFile(build(study, ExportType.PURE, outbox).path) as archive:
        assert len({name.rpartition("/")[0] for name in archive.namelist() if name.endswith(".dcm")}) == 2


def test_files_of_one_name_in_two_folders_are_both_packed(tmp_path: Path, outbox: Path) -> None:
    folder = tmp_path / "copy"
    write_copy(folder / "1" / "a.dcm", "2.25.1")
    write_copy(folder / "2" / "a.dcm", "2.25.2")
    study = verified_study(
        folder, instances(folder, [("1/a.dcm", "2.25.1", SERIES), ("2/a.dcm", "2.25.2", SERIES)])
    )
    with zipfile.ZipFile(build(study, ExportType.NATIVE, outbox).path) as archive:
        assert archive.namelist()[1:] == ["Baseline/DICOM/2.25.1.dcm", "Baseline/DICOM/2.25.2.dcm"]


def test_a_name_that_another_participant_holds_is_not_taken(tmp_path: Path, outbox: Path) -> None:
    study = a_study(tmp_path / "copy")
    build(replace(study, participant="P 001"), ExportType.NATIVE, outbox)
    with pytest.raises(Permanent, match="another participant"):
        build(replace(study, participant="P_001"), ExportType.NATIVE, outbox)


def test_a_file_that_is_not_dicom_is_a_permanent_error_without_values(tmp_path: Path, outbox: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(b"Nordmann^Kari" * 50)
    with pytest.raises(Permanent) as raised:
        build(
            verified_study(folder, instances(folder, [("a.dcm", "2.25.1", SERIES)])),
            ExportType.NATIVE,
            outbox,
        )
    assert "Nordmann" not in str(raised.value)


def test_progress_ends_with_all_bytes(tmp_path: Path, outbox: Path) -> None:
    told: list[tuple[int, int]] = []
    study = a_study(tmp_path / "copy")
    build(study, ExportType.NATIVE, outbox, lambda done, total: told.append((done, total)))
    total = sum(one.size_bytes for one in study.instances)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_names_in_other_scripts_survive_the_zip() -> None:
    stream = io.BytesIO()
    archive = StoredZip(stream)
    archive.add("Bærum/ø.dcm", 3, zlib.crc32(b"abc"), (b"a", b"bc"))
    archive.close()
    with zipfile.ZipFile(stream) as found:
        assert found.read("Bærum/ø.dcm") == b"abc"


def test_an_entry_of_another_size_than_announced_is_an_error() -> None:
    archive = StoredZip(io.BytesIO())
    try:
        with pytest.raises(ValueError, match="changed its size"):
            archive.add("a", 4, 0, (b"abc",))
    finally:
        archive.stop()


def test_more_entries_than_a_plain_directory_can_count() -> None:
    stream = io.BytesIO()
    archive = StoredZip(stream)
    for number in range(0x10001):
        archive.add(str(number), 0, 0, ())
    archive.close()
    with zipfile.ZipFile(stream) as found:
        assert len(found.namelist()) == 0x10001


def test_an_object_above_four_gigabytes_has_zip64_sizes(tmp_path: Path) -> None:
    """The holes cost neither disk nor time: behind its beginning, a large buffer is only zeros here."""

    class Sparse(io.FileIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            super().write(data[:4096])
            self.seek(max(0, len(data) - 4096), io.SEEK_CUR)
            return len(data)

    size = (4 << 30) + 5
    zeros = bytes(64 << 20)
    with Sparse(tmp_path / "big.zip", "wb") as stream:
        archive = StoredZip(stream)
        archive._md5 = _NoHash()
        archive.add(
            "big", size, 0, (zeros[: min(len(zeros), size - done)] for done in range(0, size, len(zeros)))
        )
        archive.add("small", 3, zlib.crc32(b"abc"), (b"abc",))
        archive.close()
    with zipfile.ZipFile(tmp_path / "big.zip") as found:
        assert found.getinfo("big").file_size == size
        assert found.read("small") == b"abc"


class _NoHash:
    """The sum of four gigabytes would take the test's time, and is not its subject."""

    def update(self, data: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return ""
