"""Packages in the formats that change or choose copies, built of files and read back."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from fiona_dagster.adapters import package_sources
from fiona_dagster.adapters.package_files import manifest_file
from fiona_dagster.adapters.packages import build
from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.errors import Hold, Permanent
from fiona_dagster.domain.exports.changes import ExportContext
from fiona_dagster.domain.exports.demographics import Demographics
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.exports.templates import folder_template
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.verification import VerifiedStudy
from tests.deliverables import SERIES, instances, verified_study, write_copy

RAM_MS, TRANSPARA = ExportProfile(ExportType.RAM_MS), ExportProfile(ExportType.TRANSPARA)
CONTEXT = ExportContext(
    Demographics("F", "19500203"),
    restore=DateShift(-42).value,
    shifted=lambda _sop_class: lambda tag, _vr, _parents: tag != 0x00100030,
    birth_dates_may_leave=True,
    digest="d",
)


def study_of(folder: Path, *, syntax: str = "", participant: str = "P_001", size: int = 600) -> VerifiedStudy:
    """One CT with everything that formats change."""
    write_copy(
        folder / "CT.1.dcm", "2.25.1", size=size, PatientID=participant, PatientName=participant, StudyDate="20200212",
        SeriesDate="20200212", ContentDate="20200213", AcquisitionDateTime="20200212101500", PatientWeight="70",
        StudyDescription="Thorax", PatientAge="", OperatorsName="x", SpecificCharacterSet="ISO_IR 192",
    )  # fmt: skip
    dataset = dcmread(folder / "CT.1.dcm")
    reference, request = Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        "2.25.77",
    )
    request.ScheduledProcedureStepStartDate, request.ScheduledProcedureStepID = "20200211", "S1"
    dataset.ReferencedImageSequence, dataset.RequestAttributesSequence = [reference], [request]
    dataset.add_new(0x00091001, "UN", b"private, kept")
    dataset.add_new(0x00090010, "LO", "MAKER")
    if syntax:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(folder / "CT.1.dcm", implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    found = instances(folder, [("CT.1.dcm", "2.25.1", SERIES)])
    return replace(verified_study(folder, found, participant=participant), event="Year_week4")


def files_of(package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def built(
    study: VerifiedStudy, profile: ExportProfile, folder: Path, **more: Any
) -> tuple[dict[str, bytes], dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    package = build(study, profile, folder, **{"context": CONTEXT, **more})
    return files_of(package), json.loads(manifest_file(package.path).read_bytes())


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_ram_ms_gives_back_dates_and_blanks_what_its_receiver_may_not_have(
    tmp_path: Path, syntax: str
) -> None:
    study = study_of(tmp_path / "copy", syntax=syntax)
    files, manifest = built(study, RAM_MS, tmp_path / "outbox")
    (name,) = files
    assert name == "DICOM_P-001_Year_Week4/DICOM/CT.1.dcm"
    made, before = dcmread(io.BytesIO(files[name])), dcmread(study.folder / "CT.1.dcm")
    assert (made.StudyDate, made.SeriesDate, made.ContentDate) == ("20200101", "20200101", "20200102")
    assert made.AcquisitionDateTime == "20200101101500"
    assert made.RequestAttributesSequence[0].ScheduledProcedureStepStartDate == "20191231"
    assert (made.PatientID, made.PatientName, made.PatientSex) == ("P-001", "P-001", "F")
    assert (made.PatientBirthDate, made.PatientAge) == ("19500101", "069Y")
    assert not made.PatientWeight
    assert not made.StudyDescription
    assert not made.InstitutionName
    changed = {
        element.keyword or str(element.tag)
        for element in made
        if element.tag not in before or before[element.tag].value != element.value
    }
    assert changed == {
        "StudyDate", "SeriesDate", "ContentDate", "AcquisitionDateTime", "RequestAttributesSequence", "PatientID",
        "PatientName", "PatientSex", "PatientBirthDate", "PatientAge", "PatientWeight", "StudyDescription",
        "InstitutionName",
    }  # fmt: skip
    (entry,) = manifest["files"]
    assert entry["sha256"] == hashlib.sha256(files[name]).hexdigest()
    assert entry["source_sha256"] == study.instances[0].sha256


def test_ram_ms_takes_no_reports_and_no_presentation_states(tmp_path: Path) -> None:
    study = study_of(tmp_path / "copy")
    report = replace(study.instances[0], modality="SR")
    files, manifest = built(verified_study(study.folder, [report]), RAM_MS, tmp_path / "outbox")
    assert list(files) == ["warning.txt"]
    assert manifest["left_out"] == {"structured report or presentation state": 1}


def test_transpara_names_patients_after_accessions_and_blanks_the_rest(tmp_path: Path) -> None:
    study = study_of(tmp_path / "copy")
    files, _ = built(study, TRANSPARA, tmp_path / "outbox")
    made = dcmread(io.BytesIO(files["Year_week4/DICOM/CT.1.dcm"]))
    assert (made.PatientID, made.PatientName, made.AccessionNumber) == ("ACC1", "ACC1", "ACC1")
    assert not [
        k
        for k in ("StudyDate", "StudyTime", "ContentDate", "InstitutionName", "OperatorsName")
        if made[k].value
    ]
    assert not made.ReferencedImageSequence
    assert made.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"
    assert "PatientBirthDate" not in made


def test_transpara_does_without_no_accession_number(tmp_path: Path) -> None:
    write_copy(tmp_path / "copy" / "a.dcm", "2.25.1", AccessionNumber="")
    study = verified_study(tmp_path / "copy", instances(tmp_path / "copy", [("a.dcm", "2.25.1", SERIES)]))
    with pytest.raises(Permanent, match="accession"):
        built(study, TRANSPARA, tmp_path / "outbox")
    assert list((tmp_path / "outbox").iterdir()) == []


def test_spectroscopy_takes_nothing_else(tmp_path: Path) -> None:
    study = study_of(tmp_path / "copy")
    spectrum = replace(study.instances[0], sop_class_uid="1.2.840.10008.5.1.4.1.1.4.2")
    found = verified_study(study.folder, [spectrum])
    files, _ = built(found, ExportProfile(ExportType.SPECTROSCOPY), tmp_path / "outbox")
    assert list(files)[1:] == ["PROJ1/P_001/20200212_101500_Baseline/3_Thorax__5_mm/CT.1.dcm"]
    files, manifest = built(study, ExportProfile(ExportType.SPECTROSCOPY), tmp_path / "other")
    assert list(files) == ["fiona.txt", "warning.txt"]
    assert manifest["left_out"] == {"not spectroscopy": 1}


def test_templates_name_folders_and_attributes(tmp_path: Path) -> None:
    template = folder_template("{participant}/{event}/{modality}/{series}")
    profile = ExportProfile(
        ExportType.NATIVE, template=template, tag_overrides=(("PatientComments", "{project} ø {event}"),)
    )
    files, manifest = built(study_of(tmp_path / "copy"), profile, tmp_path / "outbox")
    made = dcmread(io.BytesIO(files["P_001/Year_week4/unknown/0003_Thorax--5-mm/CT.1.dcm"]))
    assert made.PatientComments == "PROJ1 ø Year_week4"
    assert (made.StudyDate, "PatientSex" in made) == ("20200212", False)
    assert manifest["export_digest"] == profile.digest


def test_a_birth_date_leaves_only_with_the_right_to_dates(tmp_path: Path) -> None:
    profile = ExportProfile(ExportType.NATIVE, demographics=True)
    context = replace(CONTEXT, birth_dates_may_leave=False)
    files, _ = built(study_of(tmp_path / "copy"), profile, tmp_path / "outbox", context=context)
    made = dcmread(io.BytesIO(files["Year_week4/DICOM/CT.1.dcm"]))
    assert (made.PatientSex, "PatientBirthDate" in made) == ("F", False)


def test_the_package_is_current_until_the_project_or_its_demographics_change(tmp_path: Path) -> None:
    study = study_of(tmp_path / "copy")
    files, _ = built(study, RAM_MS, tmp_path / "outbox")
    (package,) = (tmp_path / "outbox").glob("*.zip")
    before = package.stat().st_mtime_ns
    assert built(study, RAM_MS, tmp_path / "outbox")[0] == files
    assert package.stat().st_mtime_ns == before
    other = replace(CONTEXT, demographics=Demographics("M"), digest="e")
    assert built(study, RAM_MS, tmp_path / "outbox", context=other)[0] != files


def test_a_large_copy_is_changed_in_pieces_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path / "copy", size=50_000)
    whole = built(study, RAM_MS, tmp_path / "outbox")
    monkeypatch.setattr(package_sources, "AT_ONCE", 1000)
    monkeypatch.setattr(package_sources, "PIECE", 512)
    pieces = built(study, RAM_MS, tmp_path / "other")
    assert (whole[0], whole[1]["files"]) == (pieces[0], pieces[1]["files"])


@pytest.mark.parametrize("at_once", [1000, 1 << 22])
def test_a_copy_that_changed_since_it_was_verified_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(package_sources, "AT_ONCE", at_once)
    study = study_of(tmp_path / "copy", size=50_000)
    path = study.folder / "CT.1.dcm"
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # in the header, which the export makes anew
    path.write_bytes(content)
    with pytest.raises((Hold, Permanent)):
        built(study, RAM_MS, tmp_path / "outbox")
    assert list((tmp_path / "outbox").glob("*.zip")) == []


def test_a_value_that_does_not_fit_its_attribute_is_an_error(tmp_path: Path) -> None:
    profile = ExportProfile(ExportType.NATIVE, tag_overrides=(("StudyID", "{project}" * 9),))
    with pytest.raises(Permanent, match="does not fit StudyID"):
        built(study_of(tmp_path / "copy"), profile, tmp_path / "outbox")


def test_the_proof_of_changed_copies_is_not_called_the_proof_of_the_files(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    proof.write_bytes(b"{}")
    files, _ = built(study_of(tmp_path / "copy"), TRANSPARA, tmp_path / "outbox", proof=proof)
    assert files["proofs/2.25.9.copies.json"] == b"{}"
    assert "proof.json" not in files
