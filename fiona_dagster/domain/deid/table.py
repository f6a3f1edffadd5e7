"""The packaged tables, read once. They are facts about attributes; what to do with them is `profile`'s business."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

EDITION = "2026c"
_FOLDER = Path(__file__).with_name("tables")
_QUOTED = re.compile('[",\r\n]')


class AnnexERow(NamedTuple):
    """One line of PS3.15 table E.1-1: `basic` as printed (`X/Z/D`), `options` as (column, action)."""

    keyword: str
    basic: str
    options: dict[str, str]


class SopClassRow(NamedTuple):
    """How an object type is handled: `clean`, `document`, `project` (held unless the project allows) or `hold`.

    `pixel_text`: none, colour, secondary, possible or slide; `recognizable`: never, head or always (see `admission`).
    """

    keyword: str
    kind: str
    handling: str
    pixel_text: str
    recognizable: str
    reason: str


def table_bytes(name: str) -> bytes:
    """A packaged table as it is, for the method digest."""
    return (_FOLDER / name).read_bytes()


def table_names() -> list[str]:
    """Names of all packaged tables, sorted."""
    return sorted(entry.name for entry in _FOLDER.iterdir() if entry.name.endswith(".csv"))


def rows(name: str) -> list[dict[str, str]]:
    """The lines of a packaged table."""
    header, *lines = csv.reader(table_bytes(name).decode("utf-8").splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def columns(name: str, *wanted: str) -> Iterator[tuple[str, ...]]:
    """Some columns of a packaged table, line by line: for long tables, of which `rows` would make long work."""
    text = table_bytes(name).decode("utf-8")
    if '"' in text:
        header, *lines = csv.reader(text.splitlines())
    else:
        header, *lines = [line.split(",") for line in text.splitlines()]
    return zip(*([line[header.index(one)] for line in lines] for one in wanted), strict=True)


def has_line(name: str, *fields: str) -> bool:
    """Whether a packaged table has a line of these fields: of one so long that to take it apart would take longer."""
    line = ",".join('"' + one.replace('"', '""') + '"' if _QUOTED.search(one) else one for one in fields)
    return f"\n{line}\n".encode("utf-8", "surrogatepass") in _long_table(name)


def forget_tables() -> None:
    """Read long tables anew: for whoever makes them."""
    _long_table.cache_clear()


@cache
def _long_table(name: str) -> bytes:
    return table_bytes(name)


@cache
def annex_e() -> dict[int, AnnexERow]:
    """Table E.1-1 by tag. Its three repeating groups and private attributes are removed by structure."""
    return {
        int(row["tag"], 16): AnnexERow(
            row["keyword"],
            row["basic"],
            {name: value for name, value in row.items() if value and name not in {"tag", "keyword", "basic"}},
        )
        for row in rows(f"ps3_15_annex_e_{EDITION}.csv")
        if "x" not in row["tag"] and row["tag"] != "private"
    }


@cache
def unlisted() -> dict[int, str]:
    """What to do with text and bytes that table E.1-1 does not list, by tag."""
    return {int(row["tag"], 16): row["action"] for row in rows("unlisted.csv")}


@cache
def sop_classes() -> dict[str, SopClassRow]:
    """Object types by SOP Class UID."""
    return {
        row["sop_class_uid"]: SopClassRow(
            row["keyword"],
            row["kind"],
            row["handling"],
            row["pixel_text"],
            row["recognizable"],
            row["reason"],
        )
        for row in rows("sop_classes.csv")
    }


@cache
def identifying() -> dict[int, str]:
    """Kind of identifying value (name, identifier, place, telephone) by tag."""
    return {int(row["tag"], 16): row["kind"] for row in rows("identifying.csv")}
