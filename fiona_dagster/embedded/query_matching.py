"""Attribute matching of C-FIND, as PS3.4 section C.2.2.2 defines it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RANGES = frozenset({"DA", "TM", "DT"})
_NUMBERS = frozenset({"IS", "DS", "US", "UL", "SS", "SL", "FL", "FD"})


def matches(vr: str, wanted: Sequence[str], held: Sequence[str]) -> bool:
    """Whether one of the values that an entity holds matches one of those wanted.

    Nothing wanted matches everything (universal matching). UI matches as a list; DA, TM and DT by range; PN
    without regard to case; other text with the wildcards `*` and `?`.
    """
    values = [value for value in wanted if value]
    if not values:
        return True
    return any(_matches_one(vr, one, value) for one in values for value in (held or [""]))


def _matches_one(vr: str, wanted: str, value: str) -> bool:
    if vr == "UI":
        return wanted == value
    if vr in _RANGES:
        return _in_range(vr, wanted, value)
    if vr in _NUMBERS:
        try:
            return float(wanted) == float(value)
        except ValueError:
            return False
    if vr == "PN":
        return any(
            _wildcard(wanted.rstrip("^"), group.rstrip("^"), ignore_case=True)
            for group in (value, *value.split("="))
        )
    return _wildcard(wanted.strip(), value.strip(), ignore_case=False)


def _in_range(vr: str, wanted: str, value: str) -> bool:
    """`a-b`, `a-` and `-b` include their ends; a shorter value stands for all that begin with it."""
    if vr == "DA":
        wanted, value = wanted.replace(".", ""), value.replace(".", "")
    elif vr == "TM":
        wanted, value = wanted.replace(":", ""), value.replace(":", "")
    if not value:
        return False
    if "-" not in wanted:
        return value.startswith(wanted.strip())
    first, _, last = (part.strip() for part in wanted.partition("-"))
    return (not first or value >= first) and (not last or value[: len(last)] <= last)


def _wildcard(pattern: str, value: str, *, ignore_case: bool) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(expression, value, flags) is not None
