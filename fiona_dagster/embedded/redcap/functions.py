"""Functions of filterLogic, each with the fewest and most arguments it takes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from datetime import datetime

Value = str | float | bool
_MANY = 100


class LogicError(Exception):
    """A condition that cannot be parsed or evaluated."""


def number_of(value: Value) -> float | None:
    """`value` as a number, or None."""
    if isinstance(value, (bool, float)):
        return float(value)
    try:
        number = float(value) if value.strip() else None
    except ValueError:
        return None
    return number if number is None or math.isfinite(number) else None


def text_of(value: Value) -> str:
    """`value` as text; whole numbers without a decimal point."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value


def truth_of(value: Value) -> bool:
    """Whether a value counts as true: neither blank nor zero."""
    number = number_of(value)
    return text_of(value) != "" if number is None else number != 0


def _numeric(function: Callable[..., float]) -> Callable[..., Value]:
    def call(*values: Value) -> Value:
        numbers = [number_of(value) for value in values]
        if any(number is None for number in numbers):
            return ""
        try:
            return float(function(*numbers))
        except (ValueError, OverflowError, ZeroDivisionError):
            return ""

    return call


def _statistic(function: Callable[[list[float]], float], fewest: int = 1) -> Callable[..., Value]:
    """Blanks are left out, as REDCap does."""

    def call(*values: Value) -> Value:
        numbers = [number for number in map(number_of, values) if number is not None]
        return float(function(numbers)) if len(numbers) >= fewest else ""

    return call


def _textual(function: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *values: function(*map(text_of, values))


def _rounded(rounding: Callable[[float], float]) -> Callable[..., float]:
    def call(number: float, places: float = 0) -> float:
        factor = 10.0 ** int(places)
        return rounding(number * factor) / factor

    return call


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _part(name: str) -> Callable[..., Value]:
    def call(value: Value) -> Value:
        moment = _moment(text_of(value))
        return "" if moment is None else float(getattr(moment, name))

    return call


_SECONDS = {"y": 31556952.0, "M": 2630016.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
"""Lengths of REDCap's units: a year is 365.2425 days, a month 30.44."""


def _datediff(*values: Value) -> Value:
    first, second, unit, *rest = map(text_of, values)
    if unit not in _SECONDS:
        raise LogicError("datediff's unit is one of y M d h m s")
    one, other = _moment(first), _moment(second)
    if one is None or other is None:
        return ""
    difference = (other - one).total_seconds() / _SECONDS[unit]
    signed = any(flag.lower() in {"true", "1"} for flag in rest)
    return difference if signed else abs(difference)


def _age_at_date(born: Value, at: Value) -> Value:
    """Whole years, as people count them."""
    one, other = _moment(text_of(born)), _moment(text_of(at))
    if one is None or other is None:
        return ""
    return float(other.year - one.year - ((other.month, other.day) < (one.month, one.day)))


def _day_of_week(value: Value) -> Value:
    """1 is Sunday, 7 is Saturday."""
    moment = _moment(text_of(value))
    return "" if moment is None else float(moment.isoweekday() % 7 + 1)


def _middle(text: str, start: str, length: str) -> Value:
    begin = max(int(number_of(start) or 1) - 1, 0)
    return text[begin : begin + int(number_of(length) or 0)]


def _is_integer(text: str) -> Value:
    number = number_of(text)
    return number is not None and number.is_integer()


FUNCTIONS: dict[str, tuple[Callable[..., Value], int, int]] = {
    "if": (lambda test, yes, no: yes if truth_of(test) else no, 3, 3),
    "abs": (_numeric(abs), 1, 1),
    "sqrt": (_numeric(math.sqrt), 1, 1),
    "round": (_numeric(_rounded(lambda number: math.floor(number + 0.5))), 1, 2),
    "roundup": (_numeric(_rounded(math.ceil)), 1, 2),
    "rounddown": (_numeric(_rounded(math.floor)), 1, 2),
    "exponential": (_numeric(math.exp), 1, 1),
    "log": (_numeric(math.log), 1, 2),
    "mod": (_numeric(math.fmod), 2, 2),
    "min": (_statistic(min), 1, _MANY),
    "max": (_statistic(max), 1, _MANY),
    "mean": (_statistic(statistics.fmean), 1, _MANY),
    "median": (_statistic(statistics.median), 1, _MANY),
    "sum": (_statistic(math.fsum), 1, _MANY),
    "stdev": (_statistic(statistics.stdev, 2), 1, _MANY),
    "year": (_part("year"), 1, 1),
    "month": (_part("month"), 1, 1),
    "day": (_part("day"), 1, 1),
    "datediff": (_datediff, 3, 5),
    "age_at_date": (_age_at_date, 2, 2),
    "dayoftheweek": (_day_of_week, 1, 1),
    "isnumber": (lambda value: number_of(value) is not None, 1, 1),
    "isinteger": (_textual(_is_integer), 1, 1),
    "contains": (_textual(lambda text, part: part.lower() in text.lower()), 2, 2),
    "not_contain": (_textual(lambda text, part: part.lower() not in text.lower()), 2, 2),
    "starts_with": (_textual(lambda text, part: text.lower().startswith(part.lower())), 2, 2),
    "ends_with": (_textual(lambda text, part: text.lower().endswith(part.lower())), 2, 2),
    "find": (_textual(lambda part, text: float(text.lower().find(part.lower()) + 1)), 2, 2),
    "left": (_textual(lambda text, length: text[: int(number_of(length) or 0)]), 2, 2),
    "right": (
        _textual(lambda text, length: text[-int(number_of(length) or 0) :] if number_of(length) else ""),
        2,
        2,
    ),
    "mid": (_textual(_middle), 3, 3),
    "length": (_textual(lambda text: float(len(text))), 1, 1),
    "trim": (_textual(str.strip), 1, 1),
    "upper": (_textual(str.upper), 1, 1),
    "lower": (_textual(str.lower), 1, 1),
    "replace_text": (_textual(lambda text, old, new: text.replace(old, new)), 3, 3),
    "concat": (_textual(lambda *texts: "".join(texts)), 1, _MANY),
    "concat_ws": (_textual(lambda glue, *texts: glue.join(texts)), 2, _MANY),
}

OF_MISSING_CODES: dict[str, Callable[[list[str], frozenset[str]], bool]] = {
    "isblankormissingcode": lambda texts, codes: all(not text or text in codes for text in texts),
    "isblanknotmissingcode": lambda texts, _: all(not text for text in texts),
    "ismissingcode": lambda texts, codes: all(text in codes for text in texts),
    "hasmissingcode": lambda texts, codes: any(text in codes for text in texts),
}
"""Functions that depend on the project's missing data codes."""
