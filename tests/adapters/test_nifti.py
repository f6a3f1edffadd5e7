from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from fiona_dagster.adapters import nifti
from fiona_dagster.adapters.package_files import manifest_file
from fiona_dagster.adapters.packages import build
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.verification import VerifiedStudy
from tests.conftest import need_shared
from tests.deliverables import instances, verified_study, write_copy


@pytest.fixture
def study(tmp_path: Path) -> VerifiedStudy:
    """One series of functional MR that converts and one text-like object that does not."""
    folder = tmp_path / "copy"
    folder.mkdir()
    source = need_shared("corpus", "dcm_qa_nih", "In", "20180918Si", "mr_0004")
    files = []
    for number, path in enumerate(sorted(source.glob("*.dcm"))):
        shutil.copy(path, folder / f"MR.{number}.dcm")
        files.append((f"MR.{number}.dcm", f"2.25.{number + 1}", "2.25.20"))
    shutil.copy(need_shared("corpus", "dcmqi", "data", "sr-example", "sr.dcm"), folder / "SR.dcm")
    return verified_study(folder, instances(folder, [*files, ("SR.dcm", "2.25.99", "2.25.21")]))


def test_images_are_converted_and_series_without_a_result_are_named(
    study: VerifiedStudy, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    conversion = nifti.convert(study, tmp_path / "work")
    assert {path.suffix for path in conversion.files} == {".json", ".nii"}
    assert conversion.not_converted == (("2.25.21", "holds no images that dcm2niix converts"),)


def test_the_sidecar_names_no_institution_device_or_person(study: VerifiedStudy, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    conversion = nifti.convert(study, tmp_path / "work")
    sidecar = json.loads(next(p for p in conversion.files if p.suffix == ".json").read_bytes())
    assert {"EchoTime", "RepetitionTime", "PatientPosition"} <= set(sidecar)
    assert not {"InstitutionName", "InstitutionAddress", "DeviceSerialNumber", "StationName"} & set(sidecar)


@pytest.mark.parametrize(
    "name",
    ["PatientName", "PatientID", "PatientBirthDate", "PatientWeight", "ReferringPhysicianName", "OperatorsName",
     "InstitutionalDepartmentName", "StudyInstanceUID", "AcquisitionDateTime", "AccessionNumber", "ImageComments"],
)  # fmt: skip
def test_identifying_names_leave_a_sidecar(name: str) -> None:
    assert nifti.sidecar_without_identity({name: "x", "EchoTime": 0.05}) == {"EchoTime": 0.05}


def test_a_nifti_package_is_built_and_built_again_without_change(
    study: VerifiedStudy, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    package = build(study, ExportType.NIFTI, outbox)
    content = package.path.read_bytes()
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
        assert b"not converted: 2.25.21" in archive.read("fiona.txt")
    assert [n.split("/")[:2] for n in names[1:]] == [["Baseline", "NIFTI"]] * 2
    manifest = json.loads(manifest_file(package.path).read_bytes())
    assert manifest["not_converted"] == {"2.25.21": "holds no images that dcm2niix converts"}
    assert manifest["converter"].startswith("dcm2niix v")
    assert not [p for p in outbox.iterdir() if p.name.startswith("tmp_")]
    before = package.path.stat().st_mtime_ns
    assert build(study, ExportType.NIFTI, outbox) == package
    assert package.path.stat().st_mtime_ns == before
    package.path.unlink()
    assert build(study, ExportType.NIFTI, outbox).path.read_bytes() == content


def test_two_series_of_one_number_and_description_are_both_kept(study: VerifiedStudy, tmp_path: Path) -> None:
    files = [(f"MR.{n}.dcm", f"2.25.{n + 1}", f"2.25.2{n}") for n in range(2)]
    (tmp_path / "work").mkdir()
    conversion = nifti.convert(
        verified_study(study.folder, instances(study.folder, files)), tmp_path / "work"
    )
    assert len([p for p in conversion.files if p.suffix == ".nii"]) == 2


def test_a_study_without_images_gives_an_empty_package_with_a_warning(tmp_path: Path) -> None:
    folder, outbox = tmp_path / "copy", tmp_path / "outbox"
    write_copy(folder / "a.dcm", "2.25.1")
    outbox.mkdir()
    package = build(
        verified_study(folder, instances(folder, [("a.dcm", "2.25.1", "2.25.20")])), ExportType.NIFTI, outbox
    )
    with zipfile.ZipFile(package.path) as archive:
        assert archive.namelist() == ["fiona.txt", "warning.txt"]


def test_a_conversion_that_takes_too_long_is_ended(study: VerifiedStudy, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with pytest.raises(Permanent, match="did not finish within"):
        nifti.convert(study, tmp_path / "work", timeout=0.0001)


def test_a_failing_converter_is_a_permanent_error_with_its_summary_but_no_names(
    study: VerifiedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "converter"
    program.write_text('#!/bin/sh\necho "Error: unable to decode $7/000000.dcm today" >&2\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr(nifti, "_program", lambda: str(program))
    (tmp_path / "work").mkdir()
    with pytest.raises(Permanent) as raised:
        nifti.convert(study, tmp_path / "work")
    assert "status 3: Error: unable to decode … today" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
