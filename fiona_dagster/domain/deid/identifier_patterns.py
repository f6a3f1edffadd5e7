"""What identifies by its form, wherever it stands in a text: numbers, addresses, dates, names behind a title.

A form (`identifier_forms`) rather finds too much than too little: what it finds is taken out, or holds
a document. Who writes a name without a title is found by `free_text` and the residual search, not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from operator import mul
from typing import Final, NamedTuple

from fiona_dagster.domain.deid.identifier_forms import (
    BEFORE_NAMES,
    BEGINS_MONTH,
    CASE_COUNTS,
    FORMS,
    IDENTITY_DIGITS,
    NEEDS,
    TITLES_AS_WRITTEN,
)
from fiona_dagster.domain.deid.notation import dates_in

_FIRST_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
_SECOND_WEIGHTS: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
_WORDS: Final = re.compile(r"[A-Za-z]+\.?")
_WITHOUT_DIGITS: Final = ("url", "e-mail")
_WHOLE_MATCHES: Final = tuple(
    kind for kind in FORMS if kind not in {"name", "identity_number", "date with a month"}
)


class Span(NamedTuple):
    """A stretch of a text that identifies: `text[start:end]`, and as what."""

    start: int
    end: int
    kind: str


@cache
def _begins_month() -> re.Pattern[str]:
    return re.compile(BEGINS_MONTH, re.IGNORECASE)


@cache
def _needs(kind: str) -> re.Pattern[str]:
    return re.compile(NEEDS[kind])


def _matches(kind: str, text: str) -> Iterator[re.Match[str]]:
    """All matches of the forms of a kind, form by form."""
    if _needs(kind).search(text) and (kind != "name" or _may_name(text)):
        for pattern in _patterns(kind):
            yield from pattern.finditer(text)


def _may_name(text: str) -> bool:
    """Whether something stands in a text that stands before names; in letters beyond ASCII it may."""
    if not text.isascii():
        return True
    words = _WORDS.findall(text)
    return not (
        TITLES_AS_WRITTEN.isdisjoint((*words, *(word.rstrip(".") for word in words)))
        and BEFORE_NAMES.isdisjoint(word.rstrip(".").lower() for word in words)
    )


@cache
def _patterns(kind: str) -> tuple[re.Pattern[str], ...]:
    """The forms of a kind; compiled when they are first needed, as that takes a while."""
    return tuple(re.compile(form, CASE_COUNTS.get(kind, re.IGNORECASE)) for form in FORMS[kind])


def identifiers_in(text: str) -> list[Span]:
    """Stretches of `text` that identify by their form, from left to right; where two overlap, both are named.

    Names behind a title or a label do not include the title itself.
    """
    found = [Span(m.start("name"), m.end("name"), "name") for m in _matches("name", text)]
    has_digit = any(map(str.isdigit, text))
    for kind in _WHOLE_MATCHES if has_digit else _WITHOUT_DIGITS:
        found += [Span(m.start(), m.end(), kind) for m in _matches(kind, text)]
    if has_digit and _begins_month().search(text):
        dates = (m for p in _patterns("date with a month") for m in p.finditer(text))
        found += [Span(m.start(), m.end(), "date") for m in dates]
    if has_digit:
        found += [
            Span(m.start(1), m.end(1), "identity_number")
            for m in _matches("identity_number", text)
            if is_identity_number(m[1])
        ]
        found += _eight_digits(text)
    return sorted(set(found))


def is_identity_number(text: str) -> bool:
    """Whether the 11 digits of `text` are a Norwegian identity number: both check digits, and a day that can be.

    Besides the birth number (fødselsnummer) there are the D-number (day + 40), the H-number of hospitals and the
    number of synthetic persons (month + 40, + 80 or + 65), and the FH-number (first digit 8 or 9, no date in it).
    """
    if len(text) < IDENTITY_DIGITS:
        return False
    if not (text.isascii() and text.isdigit()):
        text = "".join(c for c in text if c in "0123456789")
    if len(text) != IDENTITY_DIGITS or not (text[0] in "89" or _is_birthday(int(text[:2]), int(text[2:4]))):
        return False
    digits = [code - 48 for code in text.encode()]
    return (
        sum(map(mul, _SECOND_WEIGHTS, digits)) % 11 == 0 and sum(map(mul, _FIRST_WEIGHTS, digits)) % 11 == 0
    )


def _is_birthday(day: int, month: int) -> bool:
    return 1 <= day % 40 <= 31 and any(1 <= month - more <= 12 for more in (0, 40, 65, 80))


def _eight_digits(text: str) -> list[Span]:
    """Eight digits in a row are a date if they can be one, else a telephone number."""
    return [
        Span(m.start(), m.end(), "date" if dates_in(m[0]) else "telephone")
        for m in re.finditer(r"(?<!\d)\d{8}(?!\d)", text)
        if m[0][0] in "23456789" or dates_in(m[0])
    ]
