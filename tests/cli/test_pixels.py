from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.pixel_templates import load_templates
from fiona_dagster.cli import pixels as command
from fiona_dagster.cli.opening import Opened
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.settings import load_settings
from tests.factories import received

RECORD = {
    "name": "2.25.7", "series": "2.25.6", "reason": "why", "sources": ["reading"], "boxes": [[1, 2, 30, 4]],
    "device": {"Manufacturer": "Maker", "Modality": "US", "Rows": "60", "Columns": "80"}, "state": "waiting", "by": "",
}  # fmt: skip


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    settings = load_settings(None, {"FIONA_DATADIR": str(tmp_path)})
    ledger = Ledger("sqlite://")
    ledger.reception.record([(received(site=settings.sites[0].name), None)])
    monkeypatch.setattr(command, "open_gateway", lambda _: Opened(settings, ledger))
    (key,) = [one.key for one in ledger.studies.find("1.2.3")]
    folder = settings.sites[0].layout.pixel_previews / key / "STUDY_A-1"
    folder.mkdir(parents=True)
    (folder / "2.25.7.json").write_text(json.dumps(RECORD))
    return key


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command.pixels, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_person_lists_confirms_and_corrects(study: str, tmp_path: Path) -> None:
    assert "1: waiting, 1 boxes by reading" in run("review", study)
    assert json.loads(run("review", study, "--confirm", "1", "--json"))[0]["state"] == "confirmed"
    shown = run("propose", study, "1", "--name", "maker", "--mask", "5,6,7,8")
    file = tmp_path / "config" / "pixel-templates.yaml"
    assert "mask:" in shown
    assert not file.exists()
    assert f"fiona resend {study}" in run(
        "propose", study, "1", "--name", "maker", "--mask", "5,6,7,8", "--add"
    )
    assert load_templates(file)[0].mask == ((1, 2, 30, 4), (5, 6, 7, 8))
    assert run("check", str(file)) == "1 templates\n"
    assert "corrected" in run("review", study)
    assert "keep:" in run("propose", study, "1", "--name", "b", "--keep", "0,0,9,9")
    assert "- [5, 6, 7, 8]" in run("propose", study, "1", "--name", "c", "--mask", "5,6,7,8", "--only")
    assert "read" not in run("propose", study, "1", "--name", "d")
    assert "read: false" in run("propose", study, "1", "--name", "d", "--no-read")


def test_a_key_that_stands_twice_in_a_file_of_templates_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    head = "- name: a\n  when: {Manufacturer: M, Rows: 9, Columns: 9}\n  mask: [[0, 0, 1, 1]]\n"
    file.write_text(head)
    assert run("check", str(file)) == "1 templates\n"
    file.write_text(head + "  mask: [[2, 2, 1, 1]]\n")
    with pytest.raises(ConfigurationError, match=r"t\.yaml:4: 'mask' stands there twice"):
        load_templates(file)


def test_everything_that_is_wrong_in_a_file_of_templates_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    head = "- name: a\n  when: {Manufacturer: M, Rows: 9, Columns: 9}\n"
    file.write_text(
        f"{head}  mask: [[0, 0, 1, 1]]\n{head}  mask: [[9, 0, 1, 1]]\n  mask: []\n- name: b\n{head}"
    )
    result = CliRunner().invoke(command.pixels, ["check", str(file)])
    assert result.exit_code == 1
    assert [line.partition(f"{file}:")[2].partition(" ")[0] for line in result.stderr.splitlines()] == [
        "7:", "4,", "8,", "9,",
    ]  # fmt: skip


def test_a_template_may_have_the_boxes_of_all_previews_of_its_series(study: str, tmp_path: Path) -> None:
    (folder,) = (path.parent for path in tmp_path.rglob("2.25.7.json"))
    device = {**RECORD["device"], "Rows": "99"}  # type: ignore[dict-item]
    for name, change in (
        ("2.25.8", {"boxes": [[9, 9, 2, 2]]}),
        ("2.25.9", {"boxes": [[70, 1, 2, 2]], "series": "2.25.5"}),
        ("2.25.91", {"boxes": [[71, 1, 2, 2]], "device": device}),
    ):
        (folder / f"{name}.json").write_text(json.dumps({**RECORD, "name": name, **change}))
    (template,) = yaml.safe_load(run("propose", study, "1", "--name", "a", "--series", "--mask", "5,6,7,8"))
    assert template["mask"] == [[1, 2, 30, 4], [5, 6, 7, 8], [9, 9, 2, 2]]
    (template,) = yaml.safe_load(run("propose", study, "1", "--name", "a"))
    assert template["mask"] == [[1, 2, 30, 4]]


def test_what_is_not_there_or_no_rectangle_is_refused(study: str) -> None:
    with pytest.raises(ConfigurationError, match="no preview 2"):
        run("review", study, "--confirm", "2")
    for wrong in (
        ["--mask", "1,2,3"],
        ["--mask", "1,2,3,x"],
        ["--keep", "1,2,3,4", "--only"],
        ["--series", "--only"],
    ):
        assert (
            CliRunner().invoke(command.pixels, ["propose", study, "1", "--name", "n", *wrong]).exit_code == 2
        )


def test_a_template_is_added_only_where_the_file_stays_what_it_was(study: str, tmp_path: Path) -> None:
    file = tmp_path / "config" / "pixel-templates.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("# of our ultrasound scanners\n")
    arguments = ("propose", study, "1", "--mask", "5,6,7,8", "--add", "--name")
    run(*arguments, "a")
    assert file.read_text().endswith("# of our ultrasound scanners\n")
    before = f"---\n{file.read_text()}"
    file.write_text(before)
    with pytest.raises(ConfigurationError, match="nothing can be put before"):
        run(*arguments, "b")
    assert file.read_text() == before
