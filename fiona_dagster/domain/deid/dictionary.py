"""The data dictionary and the registry of UIDs (PS3.6), from packaged tables: a parser's library takes too long to load
for looking up a VR. Each table is read once, when it is first asked for.
"""

from __future__ import annotations

import csv
from functools import cache, lru_cache

from fiona_dagster.domain.deid.table import sop_classes, table_bytes

EDITION = "2024c"
_PRIVATE = 0x10000
Entry = tuple[str, str]
"""VR and keyword."""


@lru_cache(maxsize=16_384)
def standard_vr(tag: int) -> str | None:
    """VR in the data dictionary (`US or SS` where it depends), None where the standard does not know the tag."""
    found = _entry(tag)
    return found[0] if found else None


def keyword_of(tag: int) -> str:
    """The keyword of an attribute, '' where the standard does not know the tag or gives it none."""
    found = _entry(tag)
    return found[1] if found else ""


def tag_of(keyword: str) -> int | None:
    """The tag of an attribute, None where no attribute has the keyword, or several have it (repeating groups)."""
    return _keywords().get(keyword)


def standard_tags() -> frozenset[int]:
    """The tags of all attributes; repeating groups are not among them."""
    return frozenset(_dictionary()[0])


def is_registered(uid: str) -> bool:
    """Whether the standard itself registers `uid`, so that it names a class, syntax or well-known instance.

    A UID below 1.2.840.10008 that is not registered is somebody's instance under a borrowed root.
    """
    return uid in _uids() or uid in sop_classes()


def is_transfer_syntax(uid: str) -> bool:
    """Whether `uid` is a transfer syntax of the standard, retired ones included."""
    return _uids().get(uid) == "Transfer Syntax"


def standard_names() -> list[str]:
    """Names of all attributes and registered UIDs: the standard's own vocabulary."""
    rows = csv.reader(_lines("dictionary") + _lines("registered_uids"))
    return [row[3] for row in rows if "x" not in row[0]]


def _lines(table: str) -> list[str]:
    return table_bytes(f"{table}_{EDITION}.csv").decode("ascii").splitlines()[1:]


@cache
def _dictionary() -> tuple[dict[int, Entry], list[tuple[int, int, Entry]]]:
    """The attributes by tag; and of what repeats, the digits of a tag that count, and what they are (PS3.5 7.6)."""
    single: dict[int, Entry] = {}
    repeating = []
    for line in _lines("dictionary"):
        tag, vr, keyword, _ = line.split(",", 3)
        if "x" in tag:
            counts = int("".join("0" if digit == "x" else "f" for digit in tag), 16)
            repeating.append((counts, int(tag.replace("x", "0"), 16), (vr, keyword)))
        else:
            single[int(tag, 16)] = (vr, keyword)
    return single, repeating


def _entry(tag: int) -> Entry | None:
    return _dictionary()[0].get(tag) or (None if tag & _PRIVATE else _repeating(tag))


@lru_cache(maxsize=4096)
def _repeating(tag: int) -> Entry | None:
    return next((entry for counts, digits, entry in _dictionary()[1] if tag & counts == digits), None)


@cache
def _keywords() -> dict[str, int]:
    return {keyword: tag for tag, (_, keyword) in _dictionary()[0].items() if keyword}


@cache
def _uids() -> dict[str, str]:
    """The type by registered UID."""
    rows = (line.split(",", 2) for line in _lines("registered_uids"))
    return {uid: kind for uid, kind, _ in rows}
