from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset, FileDataset

from fiona_dagster.cli import main as cli
from fiona_dagster.cli.profile import profile
from fiona_dagster.domain.deid.dictionary import keyword_of, standard_tags, standard_vr
from fiona_dagster.domain.deid.named_profiles import fiona_profile
from fiona_dagster.domain.deid.profile import Profile, default_profile
from fiona_dagster.domain.deid.profile_difference import profile_difference
from fiona_dagster.domain.deid.written import is_written_by_us
from tests.domain.deid.planted import GONE, ct_instance, saved

KEEPS = """
name: Keeps three
options: [retain_safe_private]
weakens: yes
overrides:
  StudyDescription: clean
  ContributionDescription: keep
"""
SECRETS = (*GONE, "Quokka", "1234", "Coil B")
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def instance(number: int) -> FileDataset:
    dataset = ct_instance(number)
    item = Dataset()
    item.Manufacturer, item.ContributionDescription = "Maker", "Quokka with Coil B"
    dataset.ContributingEquipmentSequence = [item]
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1234")
    return dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        saved(instance(number), tmp_path / "in" / f"{number}.dcm")
    return tmp_path / "in"


def written(folder: Path, name: str, text: str) -> str:
    path = folder.parent / name
    path.write_text(text)
    return str(path)


def compared(folder: Path, *arguments: str) -> tuple[Result, dict[str, Any]]:
    report = folder.parent / "report.json"
    result = CliRunner().invoke(profile, ["diff", *arguments, "--json", str(report)], catch_exceptions=False)
    text = report.read_text()
    for part in (result.stdout, result.stderr, text):
        assert not [secret for secret in SECRETS if secret.lower() in part.lower()]
    return result, json.loads(text)


def test_what_one_profile_keeps_and_the_other_removes_is_told_and_nothing_else(folder: Path) -> None:
    result, report = compared(folder, written(folder, "a.yaml", KEEPS), "ps315", str(folder))
    assert result.exit_code == 1
    sample = report["sample"]
    gone = {"action": "removed", "shapes": []}
    assert sample["newly_removed"] == [
        {
            "attribute": "0019xx0C(SIEMENS MR HEADER)",
            "vr": "IS",
            "instances": 2,
            "a": {"action": "kept", "shapes": ["9"]},
            "b": gone,
        },
        {
            "attribute": "ContributingEquipmentSequence.ContributionDescription",
            "vr": "ST",
            "instances": 2,
            "a": {"action": "kept", "shapes": ["A{4,12} A{4,12} A{4,12} A"]},
            "b": gone,
        },
        {
            "attribute": "StudyDescription",
            "vr": "LO",
            "instances": 2,
            "a": {"action": "cleaned", "shapes": sample["newly_removed"][2]["a"]["shapes"]},
            "b": gone,
        },
    ]
    assert (sample["newly_kept"], sample["differently_changed"], sample["dispositions"]) == ([], [], [])
    assert (sample["files"], sample["compared"]) == (2, 2)
    assert sample["verification"]["a"] == sample["verification"]["b"]
    assert sample["verification"]["a"]["no_removed_value_left"]["passed"]
    assert report["decisions"] == {
        "only_a": ["retain_safe_private"],
        "only_b": [],
        "conventions": [],
        "overrides": [
            {"attribute": "StudyDescription", "a": "clean", "b": ""},
            {"attribute": "ContributionDescription", "a": "keep", "b": ""},
        ],
        "attributes": [
            {"attribute": "ContributionDescription", "a": "keep", "b": "remove"},
            {"attribute": "StudyDescription", "a": "clean", "b": "remove"},
        ],
    }


def test_the_other_way_round_the_same_is_newly_kept(folder: Path) -> None:
    _, report = compared(folder, "ps315", written(folder, "a.yaml", KEEPS), str(folder))
    assert [one["attribute"] for one in report["sample"]["newly_kept"]] == [
        "0019xx0C(SIEMENS MR HEADER)",
        "ContributingEquipmentSequence.ContributionDescription",
        "StudyDescription",
    ]
    assert report["sample"]["newly_removed"] == []


def test_a_profile_does_what_it_does_itself(folder: Path) -> None:
    result, report = compared(folder, "FIONA", "fiona", str(folder))
    assert (result.exit_code, report["equal"]) == (0, True)
    assert result.stdout.endswith("They do the same.\n")


def test_a_difference_that_the_sample_does_not_show_is_one(folder: Path) -> None:
    other = written(folder, "a.yaml", "name: x\noverrides: {ExposureTime: remove}\n")
    result, report = compared(folder, "Basic Profile", other, str(folder))
    assert (result.exit_code, report["equal"]) == (1, False)
    assert report["decisions"]["attributes"] == [{"attribute": "ExposureTime", "a": "keep", "b": "remove"}]
    assert not any(report["sample"][kind] for kind in ("newly_kept", "newly_removed", "differently_changed"))


def test_emptied_rather_than_removed_is_changed_differently(folder: Path) -> None:
    other = written(
        folder, "a.yaml", "name: x\nweakens: yes\noverrides: {PatientAddress: empty, KVP: empty}\n"
    )
    _, report = compared(folder, "ps315", other, str(folder))
    (one,) = report["sample"]["differently_changed"]
    assert (one["attribute"], one["a"]["action"], one["b"]["action"]) == (
        "PatientAddress",
        "removed",
        "emptied",
    )
    assert [one["attribute"] for one in report["sample"]["newly_removed"]] == ["KVP"]


def test_instances_that_only_one_profile_holds_are_told_by_number(folder: Path) -> None:
    other = written(folder, "a.yaml", "name: x\noptions: [clean_recognizable_visual_features]\n")
    (folder / "3.txt").write_text("Zwingenberger")
    result, report = compared(folder, "ps315", other, str(folder))
    moved = report["sample"]["dispositions"]
    assert [(one["number"], one["a"]["disposition"], one["b"]["disposition"]) for one in moved] == [
        (1, "released", "held"),
        (2, "released", "held"),
    ]
    assert moved[0]["b"]["reason"]
    assert (report["sample"]["files"], report["sample"]["compared"]) == (3, 0)
    assert result.exit_code == 1


def test_what_verification_would_find_is_told_by_profile_and_place(folder: Path) -> None:
    dataset = instance(3)
    dataset.OtherPatientNames, dataset.SequenceName = "Lung^Smooth", "LUNG"
    saved(dataset, folder / "3.dcm")
    other = written(folder, "a.yaml", "name: x\noverrides: {SequenceName: remove}\n")
    result, report = compared(folder, "ps315", other, str(folder))
    found = {name: one["no_removed_value_left"] for name, one in report["sample"]["verification"].items()}
    assert found["a"]["places"] == {"SequenceName has an original value": 1}
    assert found["b"] == {"passed": True, "found": 0, "places": {}}
    reasons = {one["a"]["reason"] for one in report["sample"]["dispositions"]}
    assert reasons == {"verification would fail: no_removed_value_left"}
    assert "SequenceName has an original value: 1" in result.stdout
    assert report["sample"]["compared"] == 3


def test_nothing_is_written(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    CliRunner().invoke(profile, ["diff", "ps315", "fiona", str(folder)], catch_exceptions=False)
    assert sorted(folder.parent.rglob("*")) == before


def test_without_a_sample_profiles_are_compared_in_general(tmp_path: Path) -> None:
    result = CliRunner().invoke(profile, ["diff", "ps315", "fiona"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "retain_safe_private" in result.stdout
    assert CliRunner().invoke(profile, ["diff", "fiona", "fiona"]).exit_code == 0


def test_a_profile_that_is_none_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fiona", "profile", "diff", "ps315", "nobody"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "neither a profile nor a file" in capsys.readouterr().err


def test_object_types_decide_by_their_own_demands() -> None:
    found = profile_difference(default_profile(), fiona_profile(), "per_participant", [CT])
    general = profile_difference(default_profile(), fiona_profile(), "per_participant")
    ours, all_of_them = (
        {(one.attribute, one.a, one.b) for one in which.attributes} for which in (found, general)
    )
    assert ("PatientSex", "empty", "keep") in ours
    assert ("DeviceSerialNumber", "remove", "keep") in ours
    assert ("AcquisitionDeviceProcessingDescription", "replace", "clean") in all_of_them - ours


def test_every_decision_of_a_type_is_found_by_asking_for_every_attribute() -> None:
    """The short way through the object types finds what the long way does."""
    a, b = default_profile(), Profile(options=fiona_profile().options)
    types = [CT, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.33"]
    found = {(one.attribute, one.a) for one in profile_difference(a, b, "remove", types).attributes}
    for uid in types:
        mine, its = a.rules(uid, "remove"), b.rules(uid, "remove")
        for tag in standard_tags():
            vr = standard_vr(tag) or ""
            if mine.code(tag, vr) is not its.code(tag, vr) and not is_written_by_us(keyword_of(tag)):
                word = "enter" if vr == "SQ" and mine.code(tag, vr) == "keep" else mine.code(tag, vr).value
                assert (keyword_of(tag), word) in found
