from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag

from fiona_dagster.adapters.keyring import Keyring
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.cli.chosen_project import destroyed_at
from fiona_dagster.cli.deidentify import deidentify
from fiona_dagster.domain.errors import ConfigurationError
from tests.domain.deid.planted import GONE, ct_instance, saved


@pytest.fixture(autouse=True)
def datadir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        saved(ct_instance(number), tmp_path / "in" / "a" / f"{number}.dcm")
    return tmp_path / "in"


def run(folder: Path, *more: str) -> Result:
    arguments = [str(folder), "--dry-run", "--project", "STUDY_A", "--participant", "P-001", *more]
    return CliRunner().invoke(deidentify, arguments, catch_exceptions=False)


def reported(folder: Path, *more: str) -> tuple[Result, dict[str, Any]]:
    file = folder.parent / "report.json"
    result = run(folder, *more, "--json", str(file))
    text = file.read_text()
    file.unlink()
    for part in (result.stdout, result.stderr, text):
        assert not [value for value in GONE if value.lower() in part.lower()]
    return result, json.loads(text)


def by_attribute(report: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    return {one["attribute"]: (one["action"], one["shapes"]) for one in report["elements"]}


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder with its time of change and its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_it_tells_what_would_become_of_files_and_elements(folder: Path) -> None:
    result, report = reported(folder)
    assert result.exit_code == 0
    assert (report["received"], report["released"], report["held"], report["copies"]) == (2, 2, 0, 2)
    assert report["instances"][1] == {"number": 2, "disposition": "released", "reason": ""}
    found = by_attribute(report)
    assert found["PatientName"] == ("made anew", ["A-9{2,3}"])
    assert found["PatientBirthDate"] == ("emptied", ["empty"])
    assert found["PatientAddress"] == ("removed", [])
    assert found["StudyDate"] == ("moved", ["9{8}"])
    assert found["StudyInstanceUID"] == ("mapped", ["UID{13,64}"])
    assert found["SOPClassUID"] == ("kept", ["UID{13,64}"])
    assert found["ImagePositionPatient"] == ("kept", ["9.9\\9"])
    assert found["0009xx03(private).PatientName"] == ("removed", [])
    assert found["ContributingEquipmentSequence.PurposeOfReferenceCodeSequence.DeviceUID"][0] == "mapped"
    assert report["totals"]["moved"]["met"] == sum(
        one["instances"] for one in report["elements"] if one["action"] == "moved"
    )
    assert all(report["verification"][check]["passed"] for check in ("no_removed_value_left", "valid_uids"))
    assert "conservation" in report["verification"]["not_told"]
    assert "made anew" in result.stdout
    assert "Nothing was written" in result.stdout


def test_it_tells_what_the_run_then_does(folder: Path) -> None:
    _, report = reported(folder)
    found = by_attribute(report)
    out = folder.parent / "out"
    arguments = [str(folder), str(out), "--project", "STUDY_A", "--participant", "P-001"]
    assert CliRunner().invoke(deidentify, arguments).exit_code == 0
    copies = sorted(out.rglob("*.dcm"))
    assert len(copies) == report["copies"]
    for copy in map(dcmread, copies):
        original = dcmread(folder / "a" / f"{copy.InstanceNumber}.dcm")
        said = {
            attribute
            for attribute, (action, _) in found.items()
            if "." not in attribute and action != "removed"
        }
        there = {keyword_for_tag(element.tag) for element in copy} - {"PixelData"}
        assert there == said
        for keyword, (action, _) in found.items():
            if keyword not in there or copy[keyword].VR == "SQ":
                continue
            if action == "kept":
                assert copy[keyword].value == original[keyword].value
            elif action in {"moved", "mapped", "replaced"}:
                assert copy[keyword].value != original[keyword].value
            elif action == "emptied":
                assert not copy[keyword].value


def test_it_leaves_everything_as_it_is(folder: Path, datadir: Path) -> None:
    (datadir / "config").mkdir(parents=True)
    (datadir / "config" / "projects.yaml").write_text(
        "projects:\n- {project_name: STUDY_A, deid_date_mode: 3}\n"
    )
    Ledger(f"sqlite:///{datadir / 'ledger.sqlite'}").engine.dispose()
    profile = folder.parent / "profile.yaml"
    profile.write_text("name: x\noptions: [clean_descriptors]\n")
    before = tree(folder.parent)
    result = run(folder, "--profile", str(profile))
    assert result.exit_code == 0, result.output
    assert tree(folder.parent) == before
    _, report = reported(folder)
    assert by_attribute(report)["StudyDate"][0] == "emptied"  # as the configured project says


def test_two_runs_say_the_same(folder: Path) -> None:
    assert reported(folder)[1] == reported(folder)[1]


def test_what_would_be_held_is_told_by_number_and_reason(folder: Path) -> None:
    (folder / "b.dcm").write_bytes(b"\0" * 128 + b"DICM")
    burned = ct_instance(3)
    burned.BurnedInAnnotation, burned.SeriesInstanceUID = "YES", "1.2.3.99"
    saved(burned, folder / "c.dcm")
    map_file = folder.parent / "map.csv"
    result, report = reported(folder, "--map", str(map_file))
    assert result.exit_code == 1
    assert [one["disposition"] for one in report["instances"]][:2] == ["released", "released"]
    assert report["instances"][2]["disposition"] in {"held", "failed"}
    assert report["instances"][3] == {
        "number": 4,
        "disposition": "held",
        "reason": "pixels may carry burned-in text: BurnedInAnnotation is YES",
    }
    burned.SeriesInstanceUID = ct_instance(1).SeriesInstanceUID
    saved(burned, folder / "c.dcm")
    beside = reported(folder)[1]["instances"]
    assert beside[0]["reason"].endswith("classified as CHECKBURNEDINFO"), (
        "as the site's rules class its series"
    )
    lines = map_file.read_text().splitlines()
    assert lines[4].startswith(f"{folder / 'c.dcm'},,")
    assert lines[1].endswith(",,released,")
    assert map_file.stat().st_mode & 0o077 == 0


def test_what_verification_would_find_holds_the_study(folder: Path) -> None:
    dataset = ct_instance(3)
    dataset.OtherPatientNames, dataset.SequenceName = "Lung^Smooth", "LUNG"
    saved(dataset, folder / "3.dcm")
    result, report = reported(folder)
    assert (result.exit_code, report["held"], report["released"]) == (1, 3, 0)
    assert {one["reason"] for one in report["instances"]} == {
        "verification would fail: no_removed_value_left"
    }
    assert report["verification"]["no_removed_value_left"]["places"] == {
        "SequenceName has an original value": 1
    }
    assert report["copies"] == 3


def test_a_participant_that_does_not_fit_is_refused(folder: Path) -> None:
    arguments = [str(folder), "--dry-run", "--project", "STUDY_A", "--participant", "a\\b"]
    assert isinstance(CliRunner().invoke(deidentify, arguments).exception, ConfigurationError)


def test_a_run_needs_a_place_for_its_copies_and_has_no_report(folder: Path) -> None:
    wanted = ["--project", "STUDY_A", "--participant", "P-001"]
    result = CliRunner().invoke(deidentify, [str(folder), *wanted])
    assert (result.exit_code, "Missing argument 'OUT'" in result.output) == (2, True)
    out = str(folder.parent / "out")
    result = CliRunner().invoke(deidentify, [str(folder), out, *wanted, "--json", str(folder.parent / "x")])
    assert (result.exit_code, "--dry-run" in result.output) == (2, True)
    assert not Path(out).exists()


def test_it_says_that_a_projects_keys_were_destroyed(tmp_path: Path) -> None:
    ring = tmp_path / "ring.json"
    Keyring(ring, {}).project_key("STUDY_A")
    Keyring(ring, {}).destroy("STUDY_A")
    assert destroyed_at("STUDY_A", None, ring)
    assert destroyed_at("STUDY_B", None, ring) == ""


def test_what_would_be_read_and_masked_is_no_failure(folder: Path, datadir: Path) -> None:
    (datadir / "config").mkdir(parents=True)
    (datadir / "config" / "projects.yaml").write_text(
        "projects:\n- {project_name: STUDY_A, deid_pixel_mode: 2}\n"
    )
    burned = ct_instance(3)
    burned.BurnedInAnnotation, burned.SeriesInstanceUID = "YES", "1.2.3.99"
    saved(burned, folder / "c.dcm")
    result, report = reported(folder)
    assert result.exit_code == 0, result.output
    assert report["instances"][2]["reason"].startswith(
        "its pixels would be read, and masked: pixels may carry"
    )
