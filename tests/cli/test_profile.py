from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fiona_dagster.cli import main as cli
from fiona_dagster.cli.profile import profile
from fiona_dagster.domain.errors import ConfigurationError

ATTRIBUTES = Path(__file__).parents[2] / "docs" / "attributes.md"


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(profile, ["show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def row(table: str, keyword: str) -> list[str]:
    line = next(line for line in table.splitlines() if f"| {keyword} |" in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_in_the_documentation_is_what_the_profiles_do() -> None:
    assert shown("--profile", "ps315", "--profile", "fiona") == ATTRIBUTES.read_text(encoding="utf-8"), (
        "make it anew: fiona profile show --profile ps315 --profile fiona > docs/attributes.md"
    )


def test_a_row_says_what_happens_in_each_profile() -> None:
    table = shown("--profile", "ps315", "--profile", "fiona")
    assert row(table, "PatientSex") == ["0010,0040", "PatientSex", "CS", "Z", "emptied", "kept"]
    assert row(table, "PatientName")[4:] == ["written anew", "written anew"]
    assert row(table, "StationName")[4:] == ["removed or emptied or dummy", "removed"]
    assert row(table, "StudyTime")[4] == "kept"
    assert row(table, "ContentSequence")[4] == "entered"


def test_one_object_type_has_one_outcome_on_its_first_level() -> None:
    assert row(shown("--sop-class", "CTImageStorage"), "OperatorsName")[4] == "removed"
    assert row(shown("--sop-class", "1.2.840.10008.5.1.4.1.1.481.5"), "OperatorsName")[4] == "emptied"


@pytest.mark.parametrize(
    ("dates", "word"),
    [("keep", "kept"), ("year", "year only"), ("remove", "emptied"), ("per_project", "moved")],
)
def test_dates_are_shown_as_the_project_treats_them(dates: str, word: str) -> None:
    assert row(shown("--dates", dates), "StudyDate")[4] == word


def test_a_profile_file_is_shown_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "cardiology.yaml"
    file.write_text("name: Cardiology\noptions: [retain_uids]\noverrides: {KVP: remove}\n")
    assert row(shown("--profile", str(file)), "KVP")[4] == "removed"
    result = CliRunner().invoke(profile, ["check", str(file)], catch_exceptions=False)
    assert result.output == f"{file}: Cardiology, 2026c: retain_uids; 1 overrides\n"


def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: a\noverrides:\n  SerieDescription: keep\n")
    monkeypatch.setattr("sys.argv", ["fiona", "profile", "check", str(file)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"fiona: {file}:3: 'SerieDescription'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["--profile", "nobody"], "neither a profile nor a file"), (["--sop-class", "Nope"], "no SOP Class")],
)
def test_what_is_not_known_is_refused(arguments: list[str], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        CliRunner().invoke(profile, ["show", *arguments], catch_exceptions=False)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("name: Blåbær".encode("latin-1"))
    good = tmp_path / "good.yaml"
    good.write_text("name: Good\n")
    result = CliRunner().invoke(profile, ["check", str(file), str(good)], catch_exceptions=False)
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr
    assert "Good" in result.stdout  # the next file is looked at all the same
