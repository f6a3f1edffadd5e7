"""Instances of repeating instruments: found by a key of ours and numbered by REDCap, never guessed.

Two writers that take the number after the highest overwrite each other, and neither notices. So new rows are imported
with the instance `new`, which REDCap numbers while it holds the record. Its answer never tells which number that was,
and an answer may be lost: what was written is read back by its key, and of two rows with one key the lowest stays.
An erased row keeps its number, lest a writer that still means to erase it should meet another row there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INSTRUMENT, INSTANCE = "redcap_repeat_instrument", "redcap_repeat_instance"
Row = Mapping[str, Any]


NEW = "new"
"""REDCap numbers the instance."""


@dataclass
class Instances:
    """The instances of one repeating instrument of one record, and the rows about to be added to them, by key."""

    rows: dict[int, Row] = field(default_factory=dict)
    added: dict[str, dict[str, Any]] = field(default_factory=dict)

    def having(self, column: str, value: str) -> list[int]:
        """Numbers of the instances with `value` in `column`, lowest first."""
        return sorted(number for number, row in self.rows.items() if row.get(column) == value)

    def add(self, key: str, row: Row) -> dict[str, Any] | None:
        """The row to import under a number of REDCap's; None when `key` is added already, and now has these values."""
        known = self.added.get(key)
        if known is not None:
            known.update(row)
            return None
        self.added[key] = {**row, INSTANCE: NEW}
        return self.added[key]


def base_rows(rows: Iterable[Row], record_field: str) -> dict[str, Row]:
    """The row without an instrument, by record."""
    return {str(row[record_field]): row for row in rows if not row.get(INSTRUMENT)}


def instances_by_record(rows: Iterable[Row], record_field: str, form: str) -> dict[str, Instances]:
    """The instances of `form`, by record."""
    found: dict[str, Instances] = {}
    for row in rows:
        if row.get(INSTRUMENT) == form:
            found.setdefault(str(row[record_field]), Instances()).rows[int(row[INSTANCE])] = row
    return found


def differs(wanted: Row, stored: Row) -> bool:
    """Whether `stored` lacks a value of `wanted`. Blanks in `wanted` ask for nothing, as in a `normal` import."""
    return any(
        str(value).strip() != str(stored.get(name, "")).strip()
        for name, value in wanted.items()
        if str(value).strip() and name not in {INSTRUMENT, INSTANCE}
    )


def blank_row(stored: Row, record_field: str, columns: Sequence[str]) -> dict[str, Any]:
    """A row that, imported with `overwrite`, erases an instance that should not exist.

    Its form status stays, as 0, so that REDCap does not give the number away again. Deleting it would free the number,
    and need a right that the gateway's user does not have on Incoming.
    """
    return {
        record_field: stored[record_field],
        INSTRUMENT: stored[INSTRUMENT],
        INSTANCE: stored[INSTANCE],
        **{name: "0" if name.endswith("_complete") else "" for name in columns},
    }
