from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid.shapes import ranged, shape, value_shape

ALPHABET = st.characters(codec="utf-8")
LOOKALIKE = st.text(alphabet="A9XÄae012{},…*e.^ \\UIDnumber", min_size=3)
"""Texts made of the signs that shapes are made of: they come nearest to standing in their own shape."""


def parts(text: str) -> set[str]:
    """Every three letters or digits in a row."""
    return {
        text[start : start + 3]
        for start in range(len(text) - 2)
        if all(unicodedata.category(sign)[0] in "LN" for sign in text[start : start + 3])
    }


@given(st.one_of(st.text(ALPHABET), LOOKALIKE))
def test_no_three_letters_or_digits_in_a_row_survive(text: str) -> None:
    assert not [part for part in parts(text) if part in shape(text)]


@given(st.one_of(st.text(ALPHABET), LOOKALIKE))
def test_a_shape_holds_its_own_signs_only_and_is_short(text: str) -> None:
    made = shape(text)
    if made == "empty":
        assert not text.strip(" \0")
        return
    signs = re.sub(r"\{\d{1,2}(,\d{0,2})?\}", "", made)
    assert set(signs) <= set("A9XÄ.,:;-+_/^=()@ ␤*…")
    assert len(made) <= 80
    assert shape(text) == made


@given(st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=4, max_size=12))
def test_all_words_of_a_range_look_alike(word: str) -> None:
    assert shape(word) == "A{4,12}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hansen^Kari", "A{4,12}^A{4,12}"),
        ("Bø", "Ä{2,3}"),
        ("20240101", "9{8}"),
        ("7", "9"),
        ("058Y", "X{4,12}"),
        ("a----b", "A-A"),
        ("§", "*"),
        ("x" * 65, "A{65,}"),
        (" \0", "empty"),
        ("a b c d e f g", "A A A A …"),
    ],
)
def test_shapes(text: str, expected: str) -> None:
    assert shape(text) == expected


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DS", b"-10.5\\0\\3.25 ", "9.9\\9"),
        ("DS", b"1e-5", "9e9"),
        ("DS", b"12a", "X{2,3}"),
        ("UI", b"1.2.840.10008.1.2\0", "UID{13,64}"),
        ("CS", b"ORIGINAL\\PRIMARY\\AXIAL ", "A{4,12}"),
        ("LO", b"", "empty"),
        ("US", b"\0\1\0\1", "number{2,3}"),
        ("US", b"\0\0", "number"),
        ("OB", b"abcd", "bytes{4,12}"),
        ("LO", b"A\\BB\\1\\C1\\-", "A\\A{2,3}\\9\\…"),
        ("ST", b"one\\two", "A{2,3}*A{2,3}"),
    ],
)
def test_shapes_of_values(vr: str, value: bytes, expected: str) -> None:
    assert value_shape(vr, value, ("utf8",)) == expected


def test_text_that_is_none_is_bytes() -> None:
    assert value_shape("LO", b"\xff\xfe\xff", ("utf8",)) == "bytes{2,3}"


def test_ranges_have_no_gap() -> None:
    assert [ranged(n) for n in (1, 2, 3, 4, 12, 13, 64, 65)] == [
        "", "{2,3}", "{2,3}", "{4,12}", "{4,12}", "{13,64}", "{13,64}", "{65,}",
    ]  # fmt: skip
