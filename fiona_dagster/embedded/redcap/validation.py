"""Is a value what its field takes? Patterns of REDCap's text validations (redcap-contract 1.5).

An unknown validation type takes everything: sites add their own (FIONA has `mrn_11d`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import cache, partial

from fiona_dagster.embedded.redcap.model import Column

NOT_A_CATEGORY = "The value is not a valid category for {field}"
BAD_FORMAT = (
    "The value you provided could not be validated because it does not follow the expected format. "
    "Please try again."
)
_PATTERNS = {
    "integer": r"[-+]?\d+",
    "number": r"[-+]?(\d+\.?\d*|\.\d+)([Ee][-+]?\d+)?",
    "number_comma_decimal": r"[-+]?(\d+,?\d*|,\d+)([Ee][-+]?\d+)?",
    "time": r"([01]\d|2[0-3]):[0-5]\d",
    "time_hh_mm_ss": r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d",
    "time_mm_ss": r"[0-5]\d:[0-5]\d",
    "email": r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}",
    "alpha_only": r"[A-Za-z]+",
    "phone": r"(?:\+?1[-. ]?)?\(?[2-9]\d{2}\)?[-. ]?[2-9]\d{2}[-. ]?\d{4}(?:\s*(?:#|x|ext\.?)\s*\d+)?",
    "zipcode": r"\d{5}(-\d{4})?",
    "ssn": r"\d{3}-\d{2}-\d{4}",
    "mrn_10d": r"\d{10}",
    "mrn_generic": r"[A-Za-z0-9_-]+",
    "vmrn": r"\d{1,9}",
    **{f"number_{n}dp": rf"[-+]?\d+\.\d{{{n}}}" for n in (1, 2, 3, 4)},
    **{f"number_{n}dp_comma_decimal": rf"[-+]?\d+,\d{{{n}}}" for n in (1, 2, 3, 4)},
}
_COMPILED = {name: re.compile(pattern, re.ASCII) for name, pattern in _PATTERNS.items()}
_PARTS = {"Y": r"(?P<year>\d{4})", "M": r"(?P<month>\d{1,2})", "D": r"(?P<day>\d{1,2})"}
_CLOCKS = {
    "date": "",
    "datetime": f" {_PATTERNS['time']}",
    "datetime_seconds": f" {_PATTERNS['time_hh_mm_ss']}",
}
_DATES = {
    (order, kind): re.compile(
        rf"{_PARTS[order[0]]}([-/.]){_PARTS[order[1]]}\2{_PARTS[order[2]]}(?P<clock>{clock})", re.ASCII
    )
    for order in ("YMD", "MDY", "DMY")
    for kind, clock in _CLOCKS.items()
}
_SLIDER = re.compile(r"\d+", re.ASCII)
_DATE_TYPE = re.compile(r"(date|datetime|datetime_seconds)_(ymd|mdy|dmy)")


Judge = Callable[[str], str | None]
"""Takes a value that is not empty; returns it as it is stored, or None where the field does not take it."""


def judge_of(column: Column, date_format: str) -> Judge | None:
    """What judges the values of a column; None where it takes everything. Dates become `YYYY-MM-DD[ HH:MM[:SS]]`.

    Args:
        column: where the values go.
        date_format: `YMD`, `MDY` or `DMY`, the order in which dates were written.
    """
    field = column.field
    if field.type == "checkbox":
        return _one_of(frozenset({"0", "1"}))
    if field.choices:
        return _one_of(frozenset(field.choices))
    if field.type == "slider":
        return _matching(_SLIDER)
    dated = _date_kind(field.validation)
    if dated:
        return cache(partial(_stored_date, pattern=_DATES[date_format, dated]))
    pattern = _COMPILED.get({"float": "number", "int": "integer"}.get(field.validation, field.validation))
    return None if pattern is None else _matching(pattern)


def _one_of(allowed: frozenset[str]) -> Judge:
    return lambda value: value if value in allowed else None


def _matching(pattern: re.Pattern[str]) -> Judge:
    return lambda value: value if pattern.fullmatch(value) else None


@cache
def _date_kind(validation: str) -> str | None:
    found = _DATE_TYPE.fullmatch(validation)
    return found[1] if found else None


def problem_text(column: Column) -> str:
    """REDCap's sentence for a value that the field does not take."""
    if column.field.choices:
        return NOT_A_CATEGORY.format(field=column.name)
    return BAD_FORMAT


def _stored_date(value: str, pattern: re.Pattern[str]) -> str | None:
    found = pattern.fullmatch(value)
    if found is None:
        return None
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    return day.isoformat() + found["clock"]
