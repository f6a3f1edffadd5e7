from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fiona_dagster.cli.deidentify import deidentify
from fiona_dagster.domain.errors import ConfigurationError
from tests.domain.deid.planted import ct_instance, saved


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIONA_DATADIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    saved(ct_instance(), tmp_path / "all" / "in" / "1.dcm")
    (tmp_path / "link").symlink_to(tmp_path / "all")
    return tmp_path


def run(source: Path, target: Path, *more: str) -> Result:
    arguments = [str(source), str(target), "--project", "STUDY_A", "--participant", "P-001", *more]
    return CliRunner().invoke(deidentify, arguments)


def tree(place: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(place.rglob("*"))}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("all/in", "all/in"), ("all/in", "all/in/deep/out"), ("all/in", "all"), ("all/in/1.dcm", "all/in"),
        ("link/in", "all/in/out"), ("all/in", "link/in"), ("all/in", "all/x/../in/out"),
    ],
)  # fmt: skip
def test_originals_and_copies_in_one_folder_are_refused_before_anything_is_written(
    place: Path, source: str, target: str
) -> None:
    before = tree(place)
    result = run(place / source, place / target)
    assert isinstance(result.exception, ConfigurationError)
    assert "one lies in the other" in str(result.exception)
    assert tree(place) == before


def test_originals_in_the_folder_of_proofs_are_refused(place: Path) -> None:
    (place / "out.proofs").symlink_to(place / "all" / "in")
    assert isinstance(run(place / "all" / "in", place / "out").exception, ConfigurationError)


@pytest.mark.parametrize("option", ["--map", "--keyring"])
def test_what_leads_back_to_originals_may_not_lie_among_copies(place: Path, option: str) -> None:
    before = tree(place)
    for folder in ("out", "out.proofs"):
        result = run(place / "all" / "in", place / "out", option, str(place / folder / "deep" / "file"))
        assert isinstance(result.exception, ConfigurationError)
        assert option in str(result.exception)
    assert tree(place) == before


def test_folders_whose_names_begin_alike_are_apart(place: Path) -> None:
    result = run(place / "all" / "in", place / "all" / "in-copies")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("participant", ["77112233", "zwingenberger-1"])
def test_the_patient_is_no_participant(place: Path, participant: str) -> None:
    arguments = [str(place / "all" / "in"), str(place / "out"), "--project", "STUDY_A", "--participant"]
    result = CliRunner().invoke(deidentify, [*arguments, participant])
    assert result.exit_code == 1
    assert "no_removed_value_left: the participant is the original's" in result.stderr
    assert not list((place / "out").rglob("*.dcm"))
    dry = CliRunner(env={"COLUMNS": "250"}).invoke(
        deidentify, [str(place / "all" / "in"), "--dry-run", *arguments[2:], participant]
    )
    assert dry.exit_code == 1
    assert "the participant is the original's" in dry.output
