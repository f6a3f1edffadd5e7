"""Work on hostile text is in step with its length: a value that takes minutes would stop a study."""

from __future__ import annotations

import time

import pytest

from fiona_dagster.domain.deid.actions import DUMMY_TEXT, Field
from fiona_dagster.domain.deid.cleaning import CleanText
from fiona_dagster.domain.deid.free_text import LONGEST, FreeText, KnownNames
from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.names import full_names, name_words
from fiona_dagster.domain.deid.notation import dates_in

SECONDS = 6
"""Of the processor; quadratic work on these lengths takes minutes."""
KNOWN = KnownNames(
    frozenset(name_words("Nordmann^Ola")),
    frozenset(full_names("Åsø^Øystein^Bø")),
    frozenset({"ø" * 40, "a" * 60, "1" * 50}),
)
UNITS = (
    "1",
    "a",
    "1.",
    "a@",
    ". ",
    "-",
    "1 ",
    "ø ",
    "A ",
    "Dr. Aa ",
    "1jan",
    "a:",
    "Ola a@b.c 1.2 24.12.53 ",
)


def seconds_of(work: object) -> float:
    begin = time.process_time()
    assert callable(work)
    work()
    return time.process_time() - begin


@pytest.mark.parametrize("unit", UNITS)
def test_repeated_marks_are_cleaned_in_time(unit: str) -> None:
    text = (unit * LONGEST)[: LONGEST // 2]
    cleaner = FreeText(KNOWN)
    assert seconds_of(lambda: cleaner.clean(text)) < SECONDS
    assert seconds_of(lambda: dates_in((unit * 100_000)[:100_000] + "1 ")) < SECONDS


@pytest.mark.parametrize("begin", ["1.1.2020", "tel", "lege", "født", "alder", "kl.", "navn"])
def test_long_runs_of_blanks_are_read_in_time(begin: str) -> None:
    assert seconds_of(lambda: identifiers_in(begin + " " * 50_000 + "x1")) < SECONDS


def test_one_removed_word_behind_many_letters_is_cleaned_in_time() -> None:
    text = "a " * 10_000 + "Hallgerdurson"
    assert seconds_of(lambda: FreeText().clean(text)) < SECONDS
    assert FreeText().clean("a a a Hallgerdurson") == ""


def test_nothing_stays_of_a_value_that_is_too_long_to_be_read() -> None:
    text = "axial " * (LONGEST // 6 + 1)
    assert FreeText().clean(text) == ""
    assert FreeText().clean(text[:-6]) == text[:-6].strip()
    assert (
        CleanText(FreeText().clean)(Field(0x00204000, "LT", text.encode(), ["utf8"])) == DUMMY_TEXT.encode()
    )
