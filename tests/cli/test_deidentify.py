from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread

from fiona_dagster.cli.deidentify import deidentify
from fiona_dagster.cli.map_file import MAP_COLUMNS, staging_beside
from fiona_dagster.cli.verify import verify
from fiona_dagster.domain.errors import ConfigurationError
from tests.domain.deid.planted import GONE, ct_instance, saved


@pytest.fixture(autouse=True)
def _nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        saved(ct_instance(number), tmp_path / "in" / "a" / f"{number}.dcm")
    return tmp_path / "in"


def run(folder: Path, *more: str, project: str = "STUDY_A") -> Result:
    out = folder.parent / "out"
    arguments = [str(folder), str(out), "--project", project, "--participant", "P-001", *more]
    return CliRunner().invoke(deidentify, arguments)


def copies(folder: Path) -> dict[str, bytes]:
    out = folder.parent / "out"
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def read_map(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_is_released_with_map_and_summary(folder: Path) -> None:
    map_file = folder.parent / "map.csv"
    result = run(folder, "--event", "baseline", "--map", str(map_file))
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["received"], summary["released"], summary["held"], summary["failed"]) == (2, 2, 0, 0)
    assert all(check["passed"] for checks in summary["studies"].values() for check in checks.values())
    rows = read_map(map_file)
    assert tuple(rows[0]) == MAP_COLUMNS
    assert {row["output"] for row in rows} == set(copies(folder))
    for row in rows:
        copy = dcmread(folder.parent / "out" / row["output"])
        assert copy.SOPInstanceUID == row["new_sop_instance_uid"]
        assert row["sop_instance_uid"] == dcmread(row["source"]).SOPInstanceUID
    assert map_file.stat().st_mode & 0o077 == 0
    assert not [v for v in GONE if v.lower().encode() in b"".join(copies(folder).values()).lower()]
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_running_twice_changes_nothing(folder: Path) -> None:
    run(folder)
    before = copies(folder)
    assert run(folder).exit_code == 0
    assert copies(folder) == before
    assert len(before) == 2


@pytest.mark.parametrize("name", ["0.dcm", "zz.dcm"])
def test_the_same_file_twice_costs_no_copy(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / "a" / "1.dcm").read_bytes())
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["released"], json.loads(result.stdout)["excluded"]) == (2, 1)
    assert len(copies(folder)) == 2
    assert CliRunner().invoke(verify, [str(folder.parent / "out")]).exit_code == 0


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_two_patients_do_not_become_one_participant(folder: Path, more: list[str]) -> None:
    other = ct_instance(3, study="1.2.826.0.1.3680043.99.8")
    other.PatientID = "88224411"
    saved(other, folder / "b" / "3.dcm")
    result = run(folder, *more)
    assert isinstance(result.exception, ConfigurationError)
    assert "2 PatientIDs" in str(result.exception)
    assert "88224411" not in result.output + str(result.exception)
    assert copies(folder) == {}


@pytest.mark.parametrize("project", ["P", "../../evil", "a b c d"])
def test_what_cannot_name_a_project_is_refused(folder: Path, project: str) -> None:
    assert isinstance(run(folder, project=project).exception, ConfigurationError)


def test_the_named_keyring_makes_the_pseudonyms(folder: Path) -> None:
    run(folder, "--keyring", str(folder.parent / "one.json"))
    first = set(copies(folder))
    run(folder, "--keyring", str(folder.parent / "two.json"))
    assert len(set(copies(folder)) - first) == 2


def test_what_is_no_dicom_is_held_in_the_map(folder: Path) -> None:
    (folder / "notes.txt").write_text("about Mr Zwingenberger")
    map_file = folder.parent / "map.csv"
    result = run(folder, "--map", str(map_file))
    assert result.exit_code == 1
    row = next(row for row in read_map(map_file) if row["source"].endswith("notes.txt"))
    assert (row["disposition"], row["reason"], row["output"]) == ("held", "not a DICOM instance", "")
    assert len(copies(folder)) == 2


def test_a_study_that_verification_refuses_leaves_nothing(folder: Path) -> None:
    assert run(folder).exit_code == 0
    dataset = ct_instance(3)
    dataset.OtherPatientNames, dataset.SequenceName = "Lung^Smooth", "LUNG"
    saved(dataset, folder / "3.dcm")
    result = run(folder)
    assert result.exit_code == 1
    assert copies(folder) == {}
    summary = json.loads(result.stdout)
    assert (summary["released"], summary["held"]) == (0, 3)
    assert summary["reasons"] == {"verification failed: no_removed_value_left": 3}
    assert "Zwingen" not in result.output


def test_a_profile_file_is_followed_and_a_bad_one_refused(folder: Path) -> None:
    profile = folder.parent / "profile.yaml"
    profile.write_text("name: Keeps sex\noptions: [retain_patient_characteristics]\n")
    assert run(folder, "--profile", str(profile)).exit_code == 0
    out = folder.parent / "out"
    assert {dcmread(out / name).PatientSex for name in copies(folder)} == {"M"}
    profile.write_text("name: x\noverrides:\n  PatientsAge: keep\n")
    result = run(folder, "--profile", str(profile))
    assert isinstance(result.exception, ConfigurationError)
    assert "profile.yaml:3" in str(result.exception)


def test_a_configured_project_has_its_own_rules(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datadir = tmp_path / "data"
    (datadir / "config").mkdir(parents=True)
    monkeypatch.setenv("FIONA_DATADIR", str(datadir))
    projects = datadir / "config" / "projects.yaml"
    projects.write_text("projects:\n- {project_name: STUDY_A, deid_date_mode: 1, deid_date_shift_days: 42}\n")
    result = run(folder)
    assert result.exit_code == 0, result.output
    assert {dcmread(folder.parent / "out" / name).StudyDate for name in copies(folder)} == {"20200204"}
    assert (datadir / "config" / "keyring.json").exists()
    projects.write_text("projects:\n- {project_name: STUDY_A, deid_date_mode: 9}\n")
    assert isinstance(run(folder).exception, ConfigurationError)


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ("HEART_1", "is not active"),
        ("HEART_3", "there is no project"),
        ("HEART_2", "did you mean deid_options"),
    ],
)
def test_a_project_must_be_the_one_that_is_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, project: str, message: str
) -> None:
    config = folder.parent / "data" / "config"
    config.mkdir(parents=True)
    wrong = (
        "  - project_name: HEART_2\n    deid_optons: [clean_descriptors]\n" if project == "HEART_2" else ""
    )
    (config / "projects.yaml").write_text(
        "projects:\n  - project_name: HEART_1\n    project_active: 0\n" + wrong
    )
    monkeypatch.setenv("FIONA_DATADIR", str(folder.parent / "data"))
    result = run(folder, project=project)
    assert isinstance(result.exception, ConfigurationError)
    assert message in str(result.exception)


def test_a_participant_that_does_not_fit_is_refused(folder: Path) -> None:
    arguments = [str(folder), str(folder.parent / "out"), "--project", "STUDY_A", "--participant", "a\\b"]
    result = CliRunner().invoke(deidentify, arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def proofs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder.parent / "out.proofs").glob("*"))}


def test_the_proof_lies_beside_the_copies_and_holds_with_overrides(folder: Path) -> None:
    profile = folder.parent / "profile.yaml"
    profile.write_text(
        "name: Keeps\nweakens: yes\noverrides:\n  BodyPartExamined: empty\n  ProtocolName: empty\n"
    )
    assert run(folder, "--profile", str(profile)).exit_code == 0
    before = proofs(folder)
    assert len(before) == 1
    result = CliRunner().invoke(verify, [str(folder.parent / "out")])
    assert result.exit_code == 0, result.output
    (proof,) = json.loads(result.stdout)["proofs"]
    assert (proof["signature"], proof["profile"], proof["participant"]) == ("unknown", "Keeps", "P-001")
    assert "nobody vouches" in result.stderr
    assert run(folder, "--profile", str(profile)).exit_code == 0
    assert proofs(folder) == before
    copy = next((folder.parent / "out").rglob("*.dcm"))
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    assert CliRunner().invoke(verify, [str(folder.parent / "out")]).exit_code == 1


def test_a_proof_of_an_earlier_run_goes_when_its_copies_do(folder: Path) -> None:
    run(folder)
    before = proofs(folder)
    saved(ct_instance(3), folder / "3.dcm")
    run(folder)
    assert len(proofs(folder)) == 2  # the first still holds for its two copies
    assert CliRunner().invoke(verify, [str(folder.parent / "out")]).exit_code == 0
    profile = folder.parent / "profile.yaml"
    profile.write_text("name: Other\noverrides:\n  Manufacturer: empty\n")
    run(folder, "--profile", str(profile))
    assert len(proofs(folder)) == 1
    assert not before.keys() & proofs(folder).keys()
    assert CliRunner().invoke(verify, [str(folder.parent / "out")]).exit_code == 0
    dataset = ct_instance(4)
    dataset.OtherPatientNames, dataset.SequenceName = "Lung^Smooth", "LUNG"
    saved(dataset, folder / "4.dcm")
    assert run(folder).exit_code == 1
    assert proofs(folder) == {}


@pytest.mark.parametrize("event", ["2020-05-17", "week 2 of Zwingenberger", "77112233"])
def test_an_event_that_tells_who_it_is_leaves_nothing(folder: Path, event: str) -> None:
    result = run(folder, "--event", event)
    assert result.exit_code != 0
    assert not [one for one in copies(folder) if one.endswith(".dcm")]
    assert event not in result.output


def test_what_cannot_be_written_is_said_before_anything_is_released(folder: Path) -> None:
    (folder.parent / "file").write_text("")
    result = run(folder, "--map", str(folder.parent / "file" / "map.csv"))
    assert isinstance(result.exception, ConfigurationError)
    assert "--map" in str(result.exception)
    assert not (folder.parent / "out").exists()
    out = str(folder.parent / "file" / "out")
    result = CliRunner().invoke(
        deidentify, [str(folder), out, "--project", "STUDY_A", "--participant", "P-001"]
    )
    assert isinstance(result.exception, ConfigurationError)


def test_links_to_folders_are_followed_once_and_dangling_ones_told(folder: Path) -> None:
    saved(ct_instance(3), folder.parent / "elsewhere" / "3.dcm")
    (folder / "link").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere" / "back").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nowhere")
    result = run(folder)
    summary = json.loads(result.stdout)
    assert (summary["received"], summary["released"], summary["failed"]) == (4, 3, 1)
    assert result.exit_code == 1


def test_a_folder_without_files_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    result = run(tmp_path / "in")
    assert isinstance(result.exception, ConfigurationError)
    assert "no files" in str(result.exception)


def test_an_empty_folder_of_configuration_is_no_gateway(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "data"))
    (tmp_path / "data" / "config").mkdir(parents=True)
    assert run(folder).exit_code == 0
    assert (tmp_path / "home" / ".fiona" / "keyring.json").exists()
    assert not any((tmp_path / "data" / "config").iterdir())


def test_copies_that_were_not_verified_go_where_the_command_is_ended(tmp_path: Path) -> None:
    def work() -> None:
        with staging_beside(tmp_path / "out") as staging:
            (staging / "copy.dcm").write_bytes(b"")
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_series_that_the_sites_rules_class_are_held_as_the_gateway_holds_them(
    folder: Path, tmp_path: Path
) -> None:
    rule = {"tag": ["0x08", "0x103e"], "value": "^Screen"}
    (tmp_path / "rules.json").write_text(json.dumps([{"type": "CHECKBURNEDINFO", "rules": [rule]}]))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"DATADIR": str(tmp_path), "CLASSIFYRULES": str(tmp_path / "rules.json")}))
    screen = ct_instance(7)
    screen.SeriesDescription, screen.SeriesInstanceUID = "Screen 1", "1.2.3.99"
    saved(screen, folder / "screen.dcm")
    result = run(folder, "--config", str(config))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reasons"] == {
        "pixels may carry burned-in text: classified as CHECKBURNEDINFO": 1
    }
