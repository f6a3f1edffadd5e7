from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.identifiers import is_safe_uid_path, is_study_key, is_valid_uid, modality_code


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.1", "2.25.0", "0.0", "1." + "2" * 62])
def test_what_the_standard_calls_a_uid_is_one(uid: str) -> None:
    assert is_valid_uid(uid)
    assert is_safe_uid_path(uid)


@pytest.mark.parametrize(
    "uid",
    [
        "",
        "1",
        "0",
        "1.",
        ".1",
        "1..2",
        "1.02",
        "01.2",
        "1.2 ",
        "1.2\n",
        "1.2\x00",
        "1.a",
        "1.-2",
        "1.٣",
        "1." + "2" * 63,
    ],
)
def test_what_the_standard_does_not_call_a_uid_is_none(uid: str) -> None:
    assert not is_valid_uid(uid)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "1/2", "../1", "1..2", ".1", "1.", "1.2\n", "1\x00", "1.٣", "1" * 65]
)
def test_nothing_that_could_lead_elsewhere_becomes_part_of_a_path(text: str) -> None:
    assert not is_safe_uid_path(text)


def test_leading_zeros_cost_no_scanner_its_images() -> None:
    assert is_safe_uid_path("1.02.003")


@given(st.text(alphabet="0123456789./\\ \n\x00a", max_size=70))
def test_what_is_valid_is_safe_and_what_is_safe_is_one_name(text: str) -> None:
    if is_valid_uid(text):
        assert is_safe_uid_path(text)
    if is_safe_uid_path(text):
        assert "/" not in text
        assert text.strip(". \n\x00") == text


@pytest.mark.parametrize(
    ("text", "good"),
    [("20261122-0123456789ab", True), ("20261122-0123456789AB", False), ("2026112-0123456789ab", False),
     ("20261122-0123456789ab\n", False), ("٢٠٢٦١١٢٢-0123456789ab", False), ("", False)],
)  # fmt: skip
def test_a_study_key_has_one_form(text: str, good: bool) -> None:
    assert is_study_key(text) == good


@pytest.mark.parametrize(
    ("value", "shown"),
    [("CT", "CT"), ("RTSTRUCT ", "RTSTRUCT"), ("", ""), ("NORDMANN^OLA", "OT"), ("A" * 17, "OT"), ("CT\\MR", "OT")],
)  # fmt: skip
def test_a_modality_that_is_no_code_is_other(value: str, shown: str) -> None:
    assert modality_code(value) == shown
