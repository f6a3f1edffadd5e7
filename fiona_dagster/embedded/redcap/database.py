"""The file behind the server: SQLite in WAL mode, one connection and one transaction a request."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY_SECONDS = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS super_token (hash TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS project (
    pid INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    created_at TEXT NOT NULL,
    in_production INTEGER NOT NULL DEFAULT 0,
    production_at TEXT NOT NULL DEFAULT '',
    longitudinal INTEGER NOT NULL DEFAULT 0,
    settings TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS user (
    pid INTEGER NOT NULL REFERENCES project,
    username TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    rights TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (pid, username)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS instrument (
    pid INTEGER NOT NULL REFERENCES project,
    form TEXT NOT NULL,
    label TEXT NOT NULL,
    PRIMARY KEY (pid, form)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS field (
    pid INTEGER NOT NULL REFERENCES project,
    position INTEGER NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (pid, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arm (
    pid INTEGER NOT NULL REFERENCES project,
    arm_num INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (pid, arm_num)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
    event_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    arm_num INTEGER NOT NULL,
    name TEXT NOT NULL,
    unique_name TEXT NOT NULL,
    custom_label TEXT NOT NULL DEFAULT '',
    UNIQUE (pid, unique_name)
);
CREATE TABLE IF NOT EXISTS designation (
    pid INTEGER NOT NULL REFERENCES project,
    event_id INTEGER NOT NULL,
    form TEXT NOT NULL,
    PRIMARY KEY (pid, event_id, form)
) WITHOUT ROWID;
-- event_id 0 in a classic project; form '' where the whole event repeats
CREATE TABLE IF NOT EXISTS repeating (
    pid INTEGER NOT NULL REFERENCES project,
    event_id INTEGER NOT NULL,
    form TEXT NOT NULL,
    label TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (pid, event_id, form)
) WITHOUT ROWID;
-- a row of a flat export; data is an object of its values by column, where a checkbox has one a ticked box
CREATE TABLE IF NOT EXISTS place (
    pid INTEGER NOT NULL REFERENCES project,
    record TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    form TEXT NOT NULL,
    instance INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (pid, record, event_id, form, instance)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    at TEXT NOT NULL,
    username TEXT NOT NULL,
    kind TEXT NOT NULL,
    action TEXT NOT NULL,
    details TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS log_of_record ON log (pid, record, at);
CREATE TABLE IF NOT EXISTS dag (
    group_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    name TEXT NOT NULL,
    unique_name TEXT NOT NULL,
    UNIQUE (pid, unique_name)
);
CREATE TABLE IF NOT EXISTS record_dag (
    pid INTEGER NOT NULL REFERENCES project,
    record TEXT NOT NULL,
    group_id INTEGER NOT NULL REFERENCES dag ON DELETE CASCADE,
    PRIMARY KEY (pid, record)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS role (
    pid INTEGER NOT NULL REFERENCES project,
    unique_name TEXT NOT NULL,
    label TEXT NOT NULL,
    rights TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (pid, unique_name)
) WITHOUT ROWID;
-- what a user has beside its own rights; role '' and group_id NULL where it has none
CREATE TABLE IF NOT EXISTS assignment (
    pid INTEGER NOT NULL,
    username TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT '',
    group_id INTEGER REFERENCES dag ON DELETE SET NULL,
    PRIMARY KEY (pid, username),
    FOREIGN KEY (pid, username) REFERENCES user ON DELETE CASCADE
) WITHOUT ROWID;
-- groups that a user may switch to, set by an administrator
CREATE TABLE IF NOT EXISTS dag_choice (
    pid INTEGER NOT NULL,
    username TEXT NOT NULL,
    group_id INTEGER NOT NULL REFERENCES dag ON DELETE CASCADE,
    PRIMARY KEY (pid, username, group_id),
    FOREIGN KEY (pid, username) REFERENCES user ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folder (
    folder_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    parent INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    group_id INTEGER,
    role TEXT NOT NULL DEFAULT ''
);
-- uploaded files; folder_id is NULL for the file of a record, 0 for the top of the file repository
CREATE TABLE IF NOT EXISTS document (
    doc_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    folder_id INTEGER,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS survey (
    pid INTEGER NOT NULL REFERENCES project,
    form TEXT NOT NULL,
    title TEXT NOT NULL,
    return_codes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pid, form)
) WITHOUT ROWID;
-- who was given a link; its code is made up once
CREATE TABLE IF NOT EXISTS participant (
    pid INTEGER NOT NULL REFERENCES project,
    record TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    form TEXT NOT NULL,
    instance INTEGER NOT NULL,
    code TEXT NOT NULL UNIQUE,
    PRIMARY KEY (pid, record, event_id, form, instance)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS report (
    report_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL REFERENCES project,
    title TEXT NOT NULL,
    fields TEXT NOT NULL,
    logic TEXT NOT NULL DEFAULT ''
);
"""
_FROM_SINGLE_VALUES = """
INSERT INTO place SELECT pid, record, event_id, form, instance, json_group_object(name, value) FROM value
    GROUP BY pid, record, event_id, form, instance;
DROP TABLE value;
"""
"""Files of earlier versions have one row a value."""


class Database:
    """Projects, records, users and log in one file. Several processes may use it at once."""

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """`durable=False` does not wait for the disk: for tests, whose data nobody needs after a power cut."""
        self.path = path
        self._synchronous = "FULL" if durable else "OFF"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_TABLES)
            _bring_forward(connection)
        finally:
            connection.close()
        path.chmod(0o600)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """One transaction: commits at the end, undone by any error."""
        connection = self._connect()
        try:
            # A writer takes its lock at once: two that read first and then write would refuse each other.
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
            except BaseException:  # whatever ends it, nothing stays open behind it; it is raised again
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection


def _bring_forward(connection: sqlite3.Connection) -> None:
    """Bring a file of an earlier version to this one; several processes may try at once."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'value'").fetchone():
        for statement in _FROM_SINGLE_VALUES.strip().split(";")[:-1]:
            connection.execute(statement)
    connection.execute("COMMIT")
