"""The record store: one row a row of a flat export, found by record, event, instrument and instance."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_CHUNK = 500
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decoded = json.JSONDecoder().decode


class Place(NamedTuple):
    """A row of a flat export.

    `form` is empty on a base row and in a repeating event; `instance` is 0 where nothing repeats.
    """

    record: str
    event_id: int
    form: str
    instance: int


Values = dict[Place, dict[str, str]]


def record_order(record: str) -> tuple[int, int, str]:
    """Sort key of record names: numbers by value, before names."""
    return (0, int(record), record) if record.isascii() and record.isdigit() else (1, 0, record)


def load_values(connection: sqlite3.Connection, pid: int, records: Sequence[str] | None = None) -> Values:
    """Stored values by place and column; of `records` only, when given."""
    return {
        Place(record, event_id, form, instance): _decoded(data)
        for clause, arguments in _chunks(pid, records)
        for record, event_id, form, instance, data in connection.execute(
            f"SELECT record, event_id, form, instance, data FROM place WHERE {clause}",  # noqa: S608 — placeholders only
            arguments,
        )
    }


def record_names(connection: sqlite3.Connection, pid: int) -> list[str]:
    """Names of all records, in REDCap's order."""
    rows = connection.execute("SELECT DISTINCT record FROM place WHERE pid = ?", (pid,))
    return sorted((row["record"] for row in rows), key=record_order)


def next_record_name(connection: sqlite3.Connection, pid: int, group_id: int | None) -> tuple[str, int]:
    """The highest number used as a record name, plus one. A forecast, not a reservation.

    Users of a data access group number within it: `12-1`, `12-2`. Returns prefix and number.
    """
    prefix = "" if group_id is None else f"{group_id}-"
    ends = (name[len(prefix) :] for name in record_names(connection, pid) if name.startswith(prefix))
    numbers = (int(end) for end in ends if end.isascii() and end.isdigit())
    return prefix, max(numbers, default=0) + 1


def store_rows(connection: sqlite3.Connection, pid: int, rows: Mapping[Place, Mapping[str, str]]) -> None:
    """Make each place hold exactly these values, by column; one without any is removed."""
    filled = sorted(place for place, values in rows.items() if values)  # quickest along the table's own order
    connection.executemany(
        "INSERT OR REPLACE INTO place (pid, record, event_id, form, instance, data) VALUES (?, ?, ?, ?, ?, ?)",
        ((pid, *place, _encoded(rows[place])) for place in filled),
    )
    erase_places(connection, pid, (place for place, values in rows.items() if not values))


def erase_places(connection: sqlite3.Connection, pid: int, places: Iterable[Place]) -> None:
    """Remove whole rows."""
    connection.executemany(
        "DELETE FROM place WHERE pid = ? AND record = ? AND event_id = ? AND form = ? AND instance = ?",
        ((pid, *place) for place in places),
    )


def _chunks(pid: int, records: Sequence[str] | None) -> Iterable[tuple[str, list[object]]]:
    if records is None:
        yield "pid = ?", [pid]
        return
    unique = list(dict.fromkeys(records))
    for start in range(0, len(unique), _CHUNK):
        part = unique[start : start + _CHUNK]
        yield f"pid = ? AND record IN ({','.join('?' * len(part))})", [pid, *part]
