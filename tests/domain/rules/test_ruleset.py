"""A rule file loads when every word of it is understood; otherwise one error names every rule that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.rules.ruleset import RuleSet, default_rules, load_rules, parse_rules
from tests.conftest import need_shared

TEST = {"tag": ["Modality"], "value": "MR"}


def rule(type_: str = "A", *tests: Any, **more: Any) -> dict[str, Any]:
    return {"type": type_, **more, "rules": list(tests) or [TEST]}


def parse(*rules: Any) -> RuleSet:
    return parse_rules(json.dumps(rules), "rules.json")


def refused(*rules: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(*rules)
    return str(caught.value)


def test_fionas_own_file_loads_with_a_warning_for_the_id_that_stands_twice() -> None:
    rules = load_rules(need_shared("data", "classifyRules.json"))
    assert len(rules.rules) == 62
    assert [one for one in rules.warnings if "GEDTI" in one]
    assert [one for one in rules.warnings if '"axial"' in one]  # asked for, but no rule of the file gives it


def test_our_own_rules_load_without_a_warning() -> None:
    assert default_rules().warnings == ()
    assert {"CHECKBURNEDINFO", "axial", "localizer", "T1", "spectroscopy", "RTSTRUCT", "WSI"} <= set(
        default_rules().types
    )


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"type": "A", "rules": []}, "has no tests"),
        ({"rules": [TEST]}, "has no type"),
        (rule(id=5), "id is no text"),
        (rule(check="StudyLevel"), '"SeriesLevel"'),
        (rule(typo=1), 'unknown key "typo"'),
        (rule("A", {**TEST, "operater": "=="}), 'did you mean "operator"'),
        (rule("A", {**TEST, "operator": "equals"}), "unknown operator 'equals'"),
        (rule("A", {**TEST, "operator": "exists"}), 'did you mean "exist"'),
        (rule("A", {**TEST, "operator": ["=="]}), "unknown operator"),
        (rule("A", {"tag": ["Modality"]}), "needs a value"),
        (rule("A", {"value": "MR"}), 'neither "tag" nor "rule"'),
        (rule("A", "MR"), "is no object"),
        (rule("A", {"tag": ["Modality"], "value": "("}), "no regular expression"),
        (rule("A", {"tag": ["Modality"], "value": ["Modalityy"]}), "did you mean"),
        (rule("A", {"tag": ["Modality"], "value": {"a": 1}}), "needs a text"),
        (rule("A", {**TEST, "negate": "perhaps"}), "negate is 'perhaps'"),
        (rule("A", {"tag": ["EchoTime"], "value": "long", "operator": "<"}), "compares numbers"),
        (rule("A", {"tag": ["EchoTime"], "value": True, "operator": "=="}), "compares numbers"),
        (rule("A", {"tag": ["EchoTime"], "value": 1, "operator": "approx", "approxLevel": -1}), "approxLevel"),
        (rule("A", {"tag": ["EchoTime"], "value": 1, "operator": "approx", "approxLevel": "x"}), "approxLevel"),
        (rule("A", {"tag": ["Modalty"], "value": "MR"}), 'did you mean "Modality"'),
        (rule("A", {"tag": "Modality", "value": "MR"}), "a tag is a list"),
        (rule("A", {"tag": [], "value": "MR"}), "a tag is a list"),
        (rule("A", {"tag": ["0x08"], "value": "MR"}), "stand together"),
        (rule("A", {"tag": ["0x08", "0x10000"], "value": "MR"}), "0xFFFF"),
        (rule("A", {"tag": [1.5], "value": "MR"}), "names and numbers"),
        (rule("A", {"tag": ["0x08", "0x08", 1, 2.5], "value": "MR"}), "names and numbers"),
        (rule("A", {"tag": ["0x08", "0x08", 1.5], "value": "MR"}), "whole number"),
        (rule("A", {"tag": ["ClassifyType"], "value": "B", "operator": "=="}), 'use "contains"'),
        (rule("A", {"tag": ["Modality"], "value": ["ClassifyType"]}), "not as value"),
        (rule("A", {"rule": "X", "notrule": "X"}), "alone"),
        (rule("A", {"rule": "X", "negate": "yes"}), "alone"),
        (rule("A", {"rule": ""}), "names the id"),
        (rule("A", {"rule": "X"}), 'refers to "X", which is no rule\'s id'),
        ("rule", "is no object"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_and_the_rule_is_named(broken: Any, said: str) -> None:
    message = refused(rule("fine"), broken)
    assert said in message
    assert "rule 2 (line 1" in message
    assert message.startswith("rules.json: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "line 1, column 1: a rule file is a list"),
        ("", "a rule file is a list"),
        ('[\n{"type": "A" "rules": []}]', "line 2"),
        ("[1 2]", "separated by a comma"),
        ("[] x", "behind the closing"),
        ('[{"type": "A", "type": "B"}]', '"type" stands twice'),
        ("[NaN]", "NaN is no JSON"),
        ("[" * 100_000, "mend the JSON"),
        ("[1,", "line 1"),
        ("[1", "comma"),
    ],
)
def test_a_file_that_is_no_json_list_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(text, "rules.json")
    assert said in str(caught.value)


def test_all_problems_are_reported_at_once_with_type_id_and_line() -> None:
    one = '{"type": "A", "id": "one", "rules": [{"rule": "none"}]}'
    text = f'[\n{one},\n{{"type": "B", "rules": [{{"tag": ["X"], "value": "("}}]}}\n]'
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(text, "rules.json")
    assert 'rule 1 (line 2, type "A", id "one"): refers to "none"' in str(caught.value)
    assert 'rule 2 (line 3, type "B"): test 1: "X" is no field' in str(caught.value)


def test_a_reference_to_an_id_that_stands_twice_is_an_error_that_names_both() -> None:
    message = refused(rule("A", id="X"), rule("B", id="X"), rule("C", {"rule": "X"}))
    assert 'rule 3 (line 1, type "C"): refers to "X", which is the id of several rules (1, 2)' in message


def test_an_id_that_stands_twice_is_a_warning_when_nothing_refers_to_it() -> None:
    warnings = parse(rule("A", id="X"), rule("B", id="X")).warnings
    assert len(warnings) == 2
    assert "stands more than once" in warnings[0]


@pytest.mark.parametrize("word", ["rule", "notrule"])
def test_references_in_a_circle_are_refused(word: str) -> None:
    message = refused(rule("A", {"rule": "y"}, id="x"), rule("B", {word: "x"}, id="y"))
    assert "references run in a circle: " in message
    assert "x -> y -> x" in message or "y -> x -> y" in message


def test_a_rule_that_refers_to_itself_is_refused() -> None:
    assert "circle: x -> x" in refused(rule("A", {"rule": "x"}, id="x"))


@pytest.mark.parametrize("negate", ["yes", "no"])
def test_types_that_ask_for_each_other_are_refused(negate: str) -> None:
    def asks(label: str) -> dict[str, Any]:
        return {"tag": ["ClassifyType"], "value": label, "operator": "contains", "negate": negate}

    message = refused(rule("A", asks("B")), rule("B", asks("A")))
    assert "ClassifyType tests run in a circle" in message
    assert "rule 1" in message or "rule 2" in message


def test_a_type_that_asks_for_itself_is_refused() -> None:
    assert "A -> A" in refused(rule("A", {"tag": ["ClassifyType"], "value": "^A"}))


def test_many_references_to_references_stay_small() -> None:
    chain = [rule("T", id="r0")]
    for number in range(1, 60):
        chain.append(rule("T", *[{"rule": f"r{number - 1}"}] * 3, id=f"r{number}"))
    assert all(len(one.tests) == 1 for one in parse(*chain).rules)


def test_a_rule_set_knows_which_attributes_it_reads() -> None:
    rules = parse(
        rule("A", {"tag": ["0x18", "0x9087"], "operator": "exist"}),
        rule("B", {"tag": ["PixelSpacing"], "operator": "approx", "value": ["0x18", "0x1164"]}),
    )
    assert {0x00189087, 0x00280030, 0x00181164} <= rules.tags
    assert {"DiffusionBValue", "PixelSpacing", "SeriesInstanceUID"} <= rules.keywords


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_rules(path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text("\ufeff" + json.dumps([rule("A")]), "utf-8")
    assert load_rules(path).types == ("A",)
