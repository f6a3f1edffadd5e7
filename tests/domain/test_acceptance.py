"""What a person may accept, and what stays a problem whatever they say."""

from __future__ import annotations

import pytest

from fiona_dagster.domain.acceptance import acceptable_places, place_of, split_accepted, wanted_places
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.verification import Findings

FOUND = [
    "ConvolutionKernel has an original value",
    "ConvolutionKernel has an original value",
    "RequestAttributesSequence.CodeMeaning has an original value",
    "ConvolutionKernel is not technical text",
    "StudyDate is not a moved date",
    "the participant is the original's PatientID or name, or holds it: choose another, or a naming rule",
]


def test_only_what_the_search_found_in_an_attribute_has_a_place() -> None:
    assert [place_of(one) for one in FOUND] == [
        "ConvolutionKernel", "ConvolutionKernel", "RequestAttributesSequence.CodeMeaning", "", "", "",
    ]  # fmt: skip
    checks = {"no_removed_value_left": {"places": FOUND}, "pixels_unchanged": {"places": FOUND}}
    assert acceptable_places(checks) == ["ConvolutionKernel", "RequestAttributesSequence.CodeMeaning"]


def test_an_accepted_place_is_no_problem_and_is_told() -> None:
    remaining, places = split_accepted(FOUND, frozenset({"ConvolutionKernel"}))
    assert (remaining, places) == (FOUND[2:], ["ConvolutionKernel"] * 2)
    findings = Findings()
    for place in FOUND[:2]:
        findings.add("no_removed_value_left", place)
        findings.add("conservation", place)
    checks = {one.name: one for one in findings.checks(frozenset({"ConvolutionKernel"}))}
    assert checks["no_removed_value_left"].passed
    assert checks["no_removed_value_left"].accepted == (("ConvolutionKernel", 2),)
    assert not checks["conservation"].passed


@pytest.mark.parametrize("text", ["", "ScanOptions", "ConvolutionKernel,ScanOptions"])
def test_nothing_else_can_be_named(text: str) -> None:
    with pytest.raises(ConfigurationError):
        wanted_places(text, ["ConvolutionKernel"])
    assert wanted_places("ConvolutionKernel, ConvolutionKernel", ["ConvolutionKernel"]) == [
        "ConvolutionKernel"
    ]
