"""Instance numbers of repeating instruments: found by a key of ours, never guessed.

REDCap's answer to an import never tells which instance was made, and two writers may choose the same number. So:
read, keep the numbers that exist, give new keys the next free ones, write, and read again until nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INSTRUMENT, INSTANCE = "redcap_repeat_instrument", "redcap_repeat_instance"
Row = Mapping[str, Any]


@dataclass
class Instances:
    """The instances of one repeating instrument of one record."""

    rows: dict[int, Row] = field(default_factory=dict)

    def having(self, column: str, value: str) -> list[int]:
        """Numbers of the instances with `value` in `column`, lowest first."""
        return sorted(number for number, row in self.rows.items() if row.get(column) == value)

    def next_free(self) -> int:
        """The number after the highest; gaps are left alone, they may be history."""
        return max(self.rows, default=0) + 1


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

    Deleting it would need a right that the gateway's user does not have on Incoming.
    """
    return {
        record_field: stored[record_field],
        INSTRUMENT: stored[INSTRUMENT],
        INSTANCE: stored[INSTANCE],
        **dict.fromkeys(columns, ""),
    }
