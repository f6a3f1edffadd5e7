from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters import configuration
from fiona_dagster.adapters.configuration import classification_rules, project_catalogue, registry
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.dictionaries import role_dictionary
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient
from fiona_dagster.domain.pixels.templates import device_templates
from fiona_dagster.settings import Settings, load_settings


class Redcap:
    """The one call that the catalogue makes, with a switch for being down; counts how often it is asked."""

    url = "https://redcap.example/api/"

    def __init__(self, *names: str) -> None:
        self.names, self.down, self.asked = names, False, 0

    def project_rows(self) -> list[dict[str, Any]]:
        self.asked += 1
        if self.down:
            raise Transient("REDCap does not answer")
        return [{"project_name": name} for name in self.names]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the epoch, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(configuration.time, "time", lambda: now[0])
    return now


def settings(tmp_path: Path, **content: Any) -> Settings:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"DATADIR": str(tmp_path), "PROJECTS": str(tmp_path / "projects.yaml"), **content})
    )
    return load_settings(file, {})


def catalogue(tmp_path: Path, ledger: Ledger, redcap: Redcap | None = None) -> configuration.Catalogue:
    return project_catalogue(settings(tmp_path), ledger, redcap)  # type: ignore[arg-type]


def test_redcap_is_asked_at_most_every_half_minute(
    tmp_path: Path, ledger: Ledger, clock: list[float]
) -> None:
    redcap = Redcap("HEART")
    for now in (1000.0, 1010.0, 1029.0):
        clock[0] = now
        assert set(catalogue(tmp_path, ledger, redcap).projects) == {"HEART"}
    assert redcap.asked == 1
    clock[0], redcap.names = 1031.0, ("HEART", "BRAIN")
    assert set(catalogue(tmp_path, ledger, redcap).projects) == {"HEART", "BRAIN"}


def test_the_last_good_answer_serves_as_long_as_redcap_is_down(
    tmp_path: Path, ledger: Ledger, clock: list[float]
) -> None:
    redcap = Redcap("HEART")
    catalogue(tmp_path, ledger, redcap)
    redcap.down, clock[0] = True, 1e6
    assert set(catalogue(tmp_path, ledger, redcap).projects) == {"HEART"}
    assert set(catalogue(tmp_path, Ledger(str(ledger.engine.url)), redcap).projects) == {"HEART"}, (
        "kept on disk"
    )


def test_a_redcap_that_never_answered_is_waited_for(tmp_path: Path, ledger: Ledger) -> None:
    redcap = Redcap()
    redcap.down = True
    with pytest.raises(Transient):
        catalogue(tmp_path, ledger, redcap)


def test_a_project_that_cannot_be_used_costs_no_other_and_is_told(
    tmp_path: Path, ledger: Ledger, clock: list[float]
) -> None:
    found = catalogue(tmp_path, ledger, Redcap("HEART", "no name!"))
    assert set(found.projects) == {"HEART"}
    (problem,) = found.problems
    assert "'no name!' cannot name a project" in problem
    assert Redcap.url in problem


def test_without_redcap_the_projects_stand_in_a_file(tmp_path: Path, ledger: Ledger) -> None:
    assert catalogue(tmp_path, ledger).projects == {}
    (tmp_path / "projects.yaml").write_text(
        "projects:\n  - project_name: HEART\n    project_patient_naming: 'H\\d+'\n"
        "    destinations:\n      - {dest_name: shelf, dest_url: 'file:///shelf'}\n"
    )
    project = catalogue(tmp_path, ledger).projects["HEART"]
    assert project.participant_problem("H1") is None
    assert [(one.name, one.type, one.path) for one in project.destinations] == [("shelf", "folder", "/shelf")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("projects: [\n", "is not YAML"),
        ("- HEART\n", "has no list 'projects'"),
        ("projects: HEART\n", "has no list 'projects'"),
        ("projects: []\nprojects: []\n", "has the list 'projects' twice"),
    ],
)
def test_a_file_that_is_not_understood_does_not_load(
    tmp_path: Path, ledger: Ledger, text: str, problem: str
) -> None:
    (tmp_path / "projects.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        catalogue(tmp_path, ledger)
    assert str(tmp_path / "projects.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        (["HEART"], 4, "is not a list of fields"),
        (["project_name: HEART", "  destinations: [shelf]"], 4, "HEART or its destinations"),
        (
            ["project_name: HEART", "  deid_date_mode: 1", "  deid_date_mode: 2"],
            6,
            "'deid_date_mode' stands there twice",
        ),
        (
            ["project_name: HEART", "  destinations:", "  - {dest_name: a, dest_name: b}"],
            6,
            "'dest_name' stands there",
        ),
        (["project_name: HEART", "  deid_datemode: 1"], 5, "did you mean deid_date_mode"),
        (
            ["project_name: HEART", "  destinations:", "  - dest_name: a", "    dest_secretref: env:X"],
            7,
            "HEART: 'dest_secretref' is not known — did you mean dest_secret_ref?",
        ),
        (
            ["project_name: HEART", "  project_active: 1", "  deid_uid_scheme: md5"],
            6,
            "deid_uid_scheme of HEART",
        ),
        (["project_name: HEART", "  deid_restore_dates: maybe"], 5, "neither yes nor no"),
        (["project_name: LUNGS"], 4, "LUNGS stands there twice"),
    ],
)
def test_a_projects_mistake_has_its_line_and_is_its_own(
    tmp_path: Path, ledger: Ledger, lines: list[str], line: int, problem: str
) -> None:
    file = tmp_path / "projects.yaml"
    text = "\n".join(
        ["projects:", "- project_name: BRAIN", "- project_name: LUNGS", f"- {lines[0]}", *lines[1:]]
    )
    file.write_text(text + "\n- project_name: LIVER\n")
    found = catalogue(tmp_path, ledger)
    (told,) = found.problems
    assert problem in told
    assert told.startswith(f"{file}:{line}: ")
    assert {"BRAIN", "LIVER"} <= set(found.projects)
    assert ("LUNGS" in found.projects) == ("LUNGS" not in lines[0])


def test_projects_that_mask_have_the_sites_templates_and_its_mistakes(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "projects.yaml").write_text(
        "projects:\n- {project_name: BRAIN}\n- project_name: LUNGS\n  deid_pixel_mode: 2\n"
        "  rewritepixelexclusions: [{rewrite_ex_tag: 1, rewrite_ex_reg: clean}]\n"
    )
    file = tmp_path / "config" / "pixel-templates.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text("- {name: a, when: {Rows: 6, Columns: 8}, mask: [[0, 0, 8, 1]]}\n")
    projects = catalogue(tmp_path, ledger).projects
    first, *ours = projects["LUNGS"].pixels.templates
    assert (first.name, tuple(ours)) == ("a", device_templates())
    assert len(projects["LUNGS"].pixels.exclusions) == 1
    assert projects["BRAIN"].pixels.templates == ()
    file.write_text("- {name: a}\n")
    found = catalogue(tmp_path, ledger)
    assert set(found.projects) == {"BRAIN"}
    assert "template 1" in found.problems[0]


def test_studies_of_a_project_with_a_mistake_wait_and_those_of_one_that_is_gone_do_not(
    tmp_path: Path, ledger: Ledger
) -> None:
    file = tmp_path / "projects.yaml"
    file.write_text("projects:\n- project_name: BRAIN\n- {project_name: HEART, deid_datemode: 1}\n")
    found = catalogue(tmp_path, ledger)
    assert found.project("BRAIN").name == "BRAIN"
    with pytest.raises(Transient, match=r"HEART waits until its mistake is mended.*deid_date_mode"):
        found.project("HEART")
    with pytest.raises(Permanent, match="LIVER does not exist any more"):
        found.project("LIVER")
    file.write_text("projects:\n- {project_name: BRAIN, project_name: LIVER}\n- HEART\n")
    for name in ("BRAIN", "HEART", "LUNGS"):
        with pytest.raises(Transient):
            catalogue(tmp_path, ledger).project(name)


def test_redcaps_form_has_every_field_that_de_identification_reads() -> None:
    known = {field["field_name"] for field in role_dictionary("DataTransferProjects").fields}
    assert {"deid_uid_scheme", "deid_restore_dates", "deid_release_raw_data", "deid_tag_overrides"} <= known


def test_our_own_rules_serve_where_the_site_has_none_and_a_broken_file_does_not_load(tmp_path: Path) -> None:
    assert classification_rules(settings(tmp_path)).types
    (tmp_path / "rules.json").write_text("[{]")
    with pytest.raises(ConfigurationError, match=r"rules\.json"):
        classification_rules(settings(tmp_path, CLASSIFYRULES=str(tmp_path / "rules.json")))


def test_there_is_one_registry_a_gateway_and_none_without_redcap(tmp_path: Path) -> None:
    assert registry(settings(tmp_path)) is None
    one = settings(tmp_path, REDCAP={"url": Redcap.url, "tokens": {}})
    assert registry(one) is registry(one)
    assert registry(
        settings(tmp_path, DATADIR=str(tmp_path / "other"), REDCAP={"url": Redcap.url})
    ) is not registry(one)


def test_a_mistake_in_an_export_is_told_with_its_own_line(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "projects.yaml").write_text(
        "projects:\n  - project_name: STUDY_A\n    export_profiles:\n      - export_format: native\n"
        "        export_tag_overrides: {PatientComments: x}\n      - export_format: NIFTI\n"
        "        export_name: b\n        export_tag_overrides: {PatientComments: x}\n"
        "  - project_name: STUDY_B\n    export_profiles:\n      - export_name: c\n"
    )
    (_, first), (_, second) = catalogue(tmp_path, ledger).blocked
    assert first.startswith(
        f"{tmp_path}/projects.yaml:8: export 2: export_tag_overrides changes nothing in NIFTI"
    )
    assert second.startswith(f"{tmp_path}/projects.yaml:11: export 1: export_format is empty")
