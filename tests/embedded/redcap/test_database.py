"""The file behind the server, and files of earlier versions."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.server import RedcapServer
from fiona_dagster.embedded.redcap.values import Place, load_values
from tests.contract.api import Api

ONE_ROW_A_VALUE = """
CREATE TABLE value (
    pid INTEGER NOT NULL REFERENCES project, record TEXT NOT NULL, event_id INTEGER NOT NULL, form TEXT NOT NULL,
    instance INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (pid, record, event_id, form, instance, name)
) WITHOUT ROWID;
INSERT INTO value SELECT p.pid, p.record, p.event_id, p.form, p.instance, j.key, j.value
    FROM place p, json_each(p.data) j;
DROP TABLE place;
"""


def of_an_earlier_version(path: Path) -> None:
    """A file with two records as it was when each value had a row."""
    with RedcapServer(path, durable=False) as server:
        project = Api(server.url, server.super_token).project()
        project.import_records(
            [{"record_id": "1", "name": 'Ada "Ø" Li'}, {"record_id": "2", "name": "Bo", "age": "007"}]
        )
    with sqlite3.connect(path) as connection:
        connection.executescript(ONE_ROW_A_VALUE)
    connection.close()


def test_a_file_with_a_row_a_value_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "redcap.sqlite"
    of_an_earlier_version(path)
    with Database(path).transaction(write=False) as connection:
        assert load_values(connection, 1) == {
            Place("1", 0, "", 0): {"name": 'Ada "Ø" Li', "record_id": "1"},
            Place("2", 0, "", 0): {"age": "007", "name": "Bo", "record_id": "2"},
        }


def test_several_processes_may_bring_it_forward_at_once(tmp_path: Path) -> None:
    path = tmp_path / "redcap.sqlite"
    of_an_earlier_version(path)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(Database, [path] * 4))
    with Database(path).transaction(write=False) as connection:
        assert len(load_values(connection, 1)) == 2
