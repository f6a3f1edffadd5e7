"""Shapes of values: what a value looks like, so coarse that nobody can be told by it.

Letters become A (beyond ASCII Ä), digits 9, letters and digits together X; of their number only the range stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fiona_dagster.domain.deid.text import TEXT, decode, split

EMPTY = "empty"
_RANGES = (1, 3, 12, 64)
_KEPT = frozenset(".,:;-+_/^=()@ \n")
"""Punctuation that stays; all else is *."""
_MOST_GROUPS, _MOST_VALUES = 4, 3
_GROUP = re.compile(r"[^\W_]+|(.)\1*", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(\d*)(\.\d*)?([eE][-+]?\d+)?")
_SIZES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}


def shape(text: str) -> str:
    """The shape of a text: `Hansen^Kari` is `A{4,12}^A{4,12}`; no three letters or digits of it stand there.

    Runs of the same mark are one; behind a few groups an ellipsis stands for the rest.
    """
    text = text.strip(" \0")
    if not text:
        return EMPTY
    groups = [_class(match[0]) for match in _GROUP.finditer(text)]
    return "".join(groups[: 2 * _MOST_GROUPS]) + ("…" if len(groups) > 2 * _MOST_GROUPS else "")


def _class(run: str) -> str:
    if not run[0].isalnum():
        return "␤" if run[0] == "\n" else run[0] if run[0] in _KEPT else "*"
    if run.isdigit():
        return "9{8}" if len(run) == 8 else "9" + ranged(len(run))
    if not run.isalpha():
        return "X" + ranged(len(run))
    return ("A" if run.isascii() else "Ä") + ranged(len(run))


def ranged(count: int) -> str:
    """A number as the range it lies in, '' for one: `{2,3}`, `{4,12}`, `{13,64}`, `{65,}`."""
    lower = 1
    for upper in _RANGES:
        if count <= upper:
            return "" if upper == 1 else f"{{{lower},{upper}}}"
        lower = upper + 1
    return f"{{{lower},}}"


def value_shape(vr: str, value: bytes, encodings: Sequence[str]) -> str:
    """The shape of an element's value: each different one of its values' shapes, in the order in which they come.

    Args:
        vr: by which it is read.
        value: as it stands in the file.
        encodings: that govern it.
    """
    if not value.strip(b" \0") and (vr in TEXT or not value):
        return EMPTY
    if vr in _SIZES:
        return "number" + ranged(max(1, len(value) // _SIZES[vr]))
    text = decode(value, vr, encodings) if vr in TEXT else None
    if text is None:
        return "bytes" + ranged(len(value))
    shapes = list(dict.fromkeys(_text_shape(vr, one) for one in split(text, vr)))
    return "\\".join(shapes[:_MOST_VALUES]) + ("\\…" if len(shapes) > _MOST_VALUES else "")


def _text_shape(vr: str, text: str) -> str:
    text = text.strip(" \0")
    if vr == "UI" and text:
        return "UID" + ranged(len(text))
    number = _NUMBER.fullmatch(text) if vr in {"DS", "IS"} and text else None
    if number is not None:
        return "9" + (".9" if number[2] else "") + ("e9" if number[3] else "")
    return shape(text)
