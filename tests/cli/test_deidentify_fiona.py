"""Projects that chose FIONA's profile and UIDs, from the configuration file to verified copies."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread
from pydicom.dataset import Dataset

from fiona_dagster.cli.deidentify import deidentify
from tests.domain.deid.planted import STUDY, ct_instance, saved

FIELDS = {
    "project_name": "STUDY_A",
    "deid_profile": "fiona",
    "deid_profile_version": "2025-09-05 PS3.15 2026c",
}


def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **fields: object) -> list[Dataset]:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "data"))
    config = tmp_path / "data" / "config"
    config.mkdir(parents=True)
    (config / "projects.yaml").write_text(json.dumps({"projects": [{**FIELDS, **fields}]}))
    source = tmp_path / "in"
    source.mkdir()
    for number in (1, 2):
        saved(ct_instance(number), source / f"{number}.dcm")
    out = tmp_path / "out"
    asked = [str(source), str(out), "--project", "STUDY_A", "--participant", "A001", "--event", "baseline"]
    result = CliRunner().invoke(deidentify, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["profile"] == fields.get("name", "FIONA")
    return [dcmread(path) for path in sorted(out.rglob("*.dcm"))]


def digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().translate(str.maketrans("abcdef", "012345"))


def test_fionas_profile_keeps_what_fiona_kept_and_moves_dates_by_42_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ct_instance(1)
    for copy in released(tmp_path, monkeypatch):
        assert (copy.PatientSex, copy.PatientAge) == (original.PatientSex, original.PatientAge)
        assert copy.DeviceSerialNumber == original.DeviceSerialNumber
        assert "StationName" not in copy
        assert (original.StudyDate, copy.StudyDate) == ("20191224", "20200204")
        assert copy.InstitutionName == "STUDY_A"
        assert {item.CodeValue for item in copy.DeidentificationMethodCodeSequence} == {
            "113100", "113105", "113107", "113108", "113109", "113111",
        }  # fmt: skip
        assert copy.StudyInstanceUID.startswith("2.25.")


def test_late_images_of_a_project_that_began_in_fiona_meet_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for copy in released(tmp_path, monkeypatch, deid_uid_scheme="fiona"):
        assert copy.StudyInstanceUID == f"1.3.6.1.4.1.45037.{digits(STUDY + 'STUDY_A')}"[:63]
        assert copy.StudyID == digits(STUDY + "STUDY_A")[:16]
        assert copy.SOPInstanceUID.startswith("1.3.6.1.4.1.45037.")


def test_a_projects_overrides_and_tags_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        "deid_tag_overrides": {"narrows": True, "PatientAge": "remove", "KVP": "remove"},
        "deid_institution_tag": 0,
        "deid_event_tag": 0,
    }
    for copy in released(tmp_path, monkeypatch, **fields):
        assert "PatientAge" not in copy
        assert "KVP" not in copy
        assert copy.get("InstitutionName", "") == ""
        assert str(copy.ReferringPhysicianName) == ""
