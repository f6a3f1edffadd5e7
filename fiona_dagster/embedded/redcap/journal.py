"""The project's log: what was created, updated, deleted or redesigned, by whom and when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.replies import Table

COLUMNS = ("timestamp", "username", "action", "details", "record")
DESIGN = "Manage/Design "
_KINDS = {
    "export": ("export",),
    "manage": ("manage",),
    "user": ("user",),
    "record": ("record_add", "record_edit", "record_delete"),
    "record_add": ("record_add",),
    "record_edit": ("record_edit",),
    "record_delete": ("record_delete",),
    "lock_record": ("lock_record",),
    "page_view": ("page_view",),
}


def record_changes(call: Call, kind: str, changes: Iterable[tuple[str, str]]) -> None:
    """Log changes of records, each with its details; `kind` is `record_add`, `record_edit` or `record_delete`."""
    verb = {"record_add": "Create", "record_edit": "Update", "record_delete": "Delete"}[kind]
    _write(
        call.connection,
        (
            (call.project.pid, call.now, call.user.username, kind, f"{verb} record {record}", details, record)
            for record, details in changes
        ),
    )


def design_change(connection: sqlite3.Connection, pid: int, now: str, username: str, details: str) -> None:
    """Log a change of the project's structure or users."""
    _write(connection, [(pid, now, username, "manage", DESIGN, details, "")])


def user_change(call: Call, action: str) -> None:
    """Log a change of users or roles."""
    _write(call.connection, [(call.project.pid, call.now, call.user.username, "user", action, "", "")])


def records_created(connection: sqlite3.Connection, pid: int, now: str, username: str) -> None:
    """Log every record of a project as created."""
    rows = connection.execute("SELECT DISTINCT record FROM place WHERE pid = ?", (pid,)).fetchall()
    _write(
        connection,
        (
            (pid, now, username, "record_add", f"Create record {row['record']}", "", row["record"])
            for row in rows
        ),
    )


def records_changed_between(call: Call, begin: str, end: str) -> set[str]:
    """Records created or changed at or after `begin` and before `end`; an empty bound is open."""
    rows = call.connection.execute(
        "SELECT DISTINCT record FROM log WHERE pid = ? AND kind IN ('record_add', 'record_edit') "
        "AND at >= ? AND (? = '' OR at < ?)",
        (call.project.pid, begin, end, end),
    )
    return {row["record"] for row in rows}


def export_log(call: Call) -> Table:
    """`content=log`, newest first."""
    call.user.require("api_export", "logging")
    parameters = call.parameters
    wanted = parameters.choice("logtype", ("", *_KINDS), "")
    clauses, arguments = ["pid = ?"], [str(call.project.pid)]
    if wanted:
        clauses.append(f"kind IN ({','.join('?' * len(_KINDS[wanted]))})")
        arguments += _KINDS[wanted]
    for name, clause in (
        ("user", "username = ?"),
        ("record", "record = ?"),
        ("beginTime", "at >= ?"),
        ("endTime", "at <= ?"),
    ):
        if parameters.text(name):
            clauses.append(clause)
            arguments.append(parameters.text(name))
    if parameters.text("dag"):
        clauses.append("username IN (SELECT username FROM assignment WHERE pid = ? AND group_id = ?)")
        arguments += [str(call.project.pid), parameters.text("dag")]
    rows = call.connection.execute(
        f"SELECT substr(at, 1, 16) AS timestamp, username, action, details, record FROM log "  # noqa: S608 — placeholders only
        f"WHERE {' AND '.join(clauses)} ORDER BY id DESC",
        arguments,
    )
    return Table(COLUMNS, [dict(row) for row in rows], root="logs")


def _write(
    connection: sqlite3.Connection, entries: Iterable[tuple[int, str, str, str, str, str, str]]
) -> None:
    connection.executemany(
        "INSERT INTO log (pid, at, username, kind, action, details, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
        entries,
    )
