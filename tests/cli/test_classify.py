"""`fiona classify`: JSON on stdout and nothing else; what was left out is said on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fiona_dagster.cli.classify import classify
from tests.adapters.test_dicom_headers import instance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images" / "deeper"
    made.mkdir(parents=True)
    instance(made / "a", series="1.2.1")
    instance(made / "b", series="1.2.2")
    (made / "notes.txt").write_text("no image")
    return tmp_path / "images"


def rules_file(tmp_path: Path, **test: object) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps([{"type": "small", "id": "s", "rules": [{"tag": ["Rows"], **test}]}]))
    return path


def test_stdout_is_the_types_by_series(folder: Path, tmp_path: Path) -> None:
    rules = rules_file(tmp_path, value=3, operator="<")
    result = CliRunner().invoke(classify, [str(folder), str(folder / "deeper" / "a"), "--rules", str(rules)])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"1.2.1": ["small"], "1.2.2": ["small"]})
    assert "notes.txt: left out" in result.stderr


def test_an_explanation_names_the_rule(folder: Path, tmp_path: Path) -> None:
    rules = rules_file(tmp_path, value=3, operator="<")
    result = CliRunner().invoke(classify, [str(folder / "deeper" / "a"), "--rules", str(rules), "--explain"])
    why = {"small": 'rule 1 (id s): Rows < "3"; 1 of 1 images'}
    assert json.loads(result.stdout) == {"1.2.1": {"types": ["small"], "why": why}}


def test_our_own_rules_are_used_where_none_are_given(folder: Path) -> None:
    result = CliRunner().invoke(classify, [str(folder)])
    assert json.loads(result.stdout) == {"1.2.1": [], "1.2.2": []}


def test_a_bad_rule_file_ends_with_status_2_and_says_why(folder: Path, tmp_path: Path) -> None:
    rules = rules_file(tmp_path, value=3, operator="less")
    result = CliRunner().invoke(classify, [str(folder), "--rules", str(rules)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert 'rule 1 (line 1, type "small", id "s"): test 1: unknown operator' in result.stderr


def test_a_rule_file_that_is_not_there_ends_with_status_2(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(classify, [str(folder), "--rules", str(tmp_path / "none.json")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be read" in result.stderr
