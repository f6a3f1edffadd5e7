"""Is a value what its field takes? Patterns of REDCap's text validations (redcap-contract 1.5).

An unknown validation type takes everything: sites add their own (FIONA has `mrn_11d`).
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache

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
_DATE_TYPE = re.compile(r"(date|datetime|datetime_seconds)_(ymd|mdy|dmy)")


def stored_form(column: Column, value: str, date_format: str) -> str | None:
    """`value` as it is stored, or None when the field does not take it. Dates become `YYYY-MM-DD[ HH:MM[:SS]]`.

    Args:
        column: where the value goes.
        value: not empty.
        date_format: `YMD`, `MDY` or `DMY`, the order in which dates were written.
    """
    field = column.field
    if field.type == "checkbox":
        return value if value in {"0", "1"} else None
    if field.choices:
        return value if value in field.choices else None
    if field.type == "slider":
        return value if re.fullmatch(r"\d+", value, re.ASCII) else None
    dated = _date_kind(field.validation)
    if dated:
        return _stored_date(value, _DATES[date_format, dated])
    pattern = _COMPILED.get({"float": "number", "int": "integer"}.get(field.validation, field.validation))
    return value if pattern is None or pattern.fullmatch(value) else None


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
