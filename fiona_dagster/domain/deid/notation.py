"""How one thing is written in many ways: letters with and without accents, dates and numbers in any usual notation."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

WORD = re.compile(r"[^\W\d_]+")
LONGEST_EXPONENT = 20
_FOLDED = str.maketrans({"ø": "o", "æ": "ae", "đ": "d", "ł": "l", "ð": "d", "þ": "th", "œ": "oe", "ı": "i"})
_SPELT_OUT = str.maketrans({"ø": "oe", "ö": "oe", "å": "aa", "ä": "ae", "ü": "ue"})
_NUMERAL = re.compile(
    r"[+-]?(?P<whole>\d*)(?:\.(?P<fraction>\d*))?(?:[eE](?P<exponent>[+-]?\d{1,4}))?", re.ASCII
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan",
            "feb",
            "mar mars",
            "apr",
            "may mai maj",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct okt",
            "nov",
            "dec des dez",
        ),
        1,
    )
    for name in (one[:3] for one in names.split())
}
_BETWEEN = r"[-./ ]{1,2}"
_TRIPLE = re.compile(
    rf"(?<!\d)(?=(\d{{4}}|\d{{1,2}}){_BETWEEN}(\d{{1,2}}){_BETWEEN}(\d{{4}}(?!\d)|\d{{1,2}}(?!\d{{1,5}}(?!\d))))"
)
"""Three numbers with marks between them; the six digits of a time may follow."""
_MONTH = "(" + "|".join(_MONTHS) + r")[a-z]{0,9}\.?"
_NAMED = (
    (re.compile(rf"(?<!\d)(?=(\d{{1,2}})\.?[ -]?{_MONTH},?[ -]?'?(\d{{4}}|\d{{2}})(?!\d))"), (2, 1, 0)),
    (re.compile(rf"(?={_MONTH}[ -]?(\d{{1,2}})(?:,? |,)'?(\d{{4}}|\d{{2}})(?!\d))"), (2, 0, 1)),
)
"""Dates with the name of the month, and where year, month and day stand."""
_COMPACT = (
    (re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d{1,5}(?!\d))"), (0, 1, 2)),
    (re.compile(r"(?<!\d)(\d{2})(\d{2})(\d{4})(?!\d)"), (2, 1, 0)),
)
_FIRST_YEAR, _LAST_YEAR = 1900, 2099


def fold(text: str) -> str:
    """Small letters without accents, and without characters that nobody sees (zero width, direction)."""
    if text.isascii():
        return text.lower()
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf")
    decomposed = unicodedata.normalize("NFKD", seen.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_FOLDED)


def visible(text: str) -> str:
    """`text` without characters that nobody sees; blanks of every kind and control characters are blanks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in "\t\r\n\f" else " " if unicodedata.category(c) in {"Zs", "Zl", "Zp", "Cc"} else c
        for c in text
        if unicodedata.category(c) != "Cf"
    )


def spellings(text: str) -> set[str]:
    """`text` folded, and with Nordic and German letters written out."""
    if text.isascii():
        return {text.lower()}
    return {fold(text), fold(unicodedata.normalize("NFC", text.casefold()).translate(_SPELT_OUT))}


def compact(text: str) -> str:
    """Letters and digits only."""
    return "".join(c for c in text if c.isalnum())


def dates_in(text: str) -> set[dt.date]:
    """All calendar dates that can be read in `text` (folded), in any usual notation.

    A year of two digits is one of both centuries. Every notation is of bounded length, so the work is in step with
    the text.
    """
    if not any(map(str.isdigit, text)):
        return set()
    return {date for parts in _triples(text) for date in _dates(*parts)}


def _triples(text: str) -> Iterator[tuple[str, str, str]]:
    """What may be year, month and day."""
    for match in _TRIPLE.finditer(text):
        yield from _orders(*match.groups(), in_run=_is_in_run(text, match.start(), match.end(3)))
    for pattern, (year, month, day) in (*_NAMED, *_COMPACT):
        for match in pattern.finditer(text):
            parts = match.groups()
            yield parts[year], parts[month], parts[day]


def _orders(one: str, two: str, three: str, *, in_run: bool) -> Iterator[tuple[str, str, str]]:
    if len(one) == 4 or (len(one) == 2 and not in_run):
        yield one, two, three
    if len(three) == 4 or (len(three) == 2 and not in_run):
        yield from ((three, two, one), (three, one, two))


def _is_in_run(text: str, start: int, end: int) -> bool:
    """Whether three numbers are part of more with dots, as of a version or a UID: then no year has two digits."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (before[-1:] == "." and before[:1].isdigit()) or (after[:1] == "." and after[1:].isdigit())


def _dates(year: str, month: str, day: str) -> Iterator[dt.date]:
    number = _MONTHS.get(month) or int(month)
    years = (int(year),) if len(year) == 4 else (1900 + int(year), 2000 + int(year))
    for one in years:
        if _FIRST_YEAR <= one <= _LAST_YEAR and len(day) <= 2 and 1 <= number <= 12:
            with suppress(ValueError):
                yield dt.date(one, number, int(day))


def significant(digits: str) -> str:
    """Digits as they stand in a number: without leading zeros."""
    return digits.lstrip("0")


def whole_number(text: str) -> str:
    """Digits of a DS or IS that is a whole number, sign, fraction of zeros and exponent resolved; '' for all others."""
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return ""
    fraction = (match["fraction"] or "").rstrip("0")
    zeros = int(match["exponent"] or 0) - len(fraction)
    digits = match["whole"] + fraction
    if zeros > LONGEST_EXPONENT or (zeros < 0 and digits[zeros:].strip("0")):
        return ""
    return significant(digits[:zeros] if zeros < 0 else digits + "0" * zeros)


def mantissa(text: str) -> str:
    """Digits of a DS or IS, those of its exponent left out."""
    return "".join(c for c in text.upper().partition("E")[0] if c.isdigit())
