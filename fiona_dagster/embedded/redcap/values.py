"""The record store: one row a value, found by record, event, instrument and instance."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

_CHUNK = 500


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
    found: Values = {}
    for clause, arguments in _chunks(pid, records):
        for record, event_id, form, instance, name, value in connection.execute(
            f"SELECT record, event_id, form, instance, name, value FROM value WHERE {clause}",  # noqa: S608 — placeholders only
            arguments,
        ):
            found.setdefault(Place(record, event_id, form, instance), {})[name] = value
    return found


def record_names(connection: sqlite3.Connection, pid: int) -> list[str]:
    """Names of all records, in REDCap's order."""
    rows = connection.execute("SELECT DISTINCT record FROM value WHERE pid = ?", (pid,))
    return sorted((row["record"] for row in rows), key=record_order)


def next_record_name(connection: sqlite3.Connection, pid: int, group_id: int | None) -> tuple[str, int]:
    """The highest number used as a record name, plus one. A forecast, not a reservation.

    Users of a data access group number within it: `12-1`, `12-2`. Returns prefix and number.
    """
    prefix = "" if group_id is None else f"{group_id}-"
    ends = (name[len(prefix) :] for name in record_names(connection, pid) if name.startswith(prefix))
    numbers = (int(end) for end in ends if end.isascii() and end.isdigit())
    return prefix, max(numbers, default=0) + 1


def store_values(connection: sqlite3.Connection, pid: int, written: Iterable[tuple[Place, str, str]]) -> None:
    """Write values, replacing what was there; of several for one place and name the last one stays."""
    in_order = sorted(
        written, key=itemgetter(0, 1)
    )  # the table is kept by its key, and filled quickest along it
    connection.executemany(
        "INSERT OR REPLACE INTO value (pid, record, event_id, form, instance, name, value) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((pid, *place, name, value) for place, name, value in in_order),
    )


def erase_values(connection: sqlite3.Connection, pid: int, erased: Iterable[tuple[Place, str]]) -> None:
    """Remove single values."""
    connection.executemany(
        "DELETE FROM value WHERE pid = ? AND record = ? AND event_id = ? AND form = ? AND instance = ? "
        "AND name = ?",
        ((pid, *place, name) for place, name in erased),
    )


def erase_places(connection: sqlite3.Connection, pid: int, places: Iterable[Place]) -> None:
    """Remove whole rows."""
    connection.executemany(
        "DELETE FROM value WHERE pid = ? AND record = ? AND event_id = ? AND form = ? AND instance = ?",
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
