"""Opening a ledger: a new one by two at once, one of another version, one again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import inspect, text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import SCHEMA_VERSION
from fiona_dagster.domain.errors import ConfigurationError
from tests.factories import received

OTHER_VERSIONS = {
    1: ["DROP TABLE meta", "ALTER TABLE study DROP COLUMN given_up_at"],
    SCHEMA_VERSION + 1: [f"UPDATE meta SET value = {SCHEMA_VERSION + 1}"],  # noqa: S608 — a number of ours
}


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_a_ledger_of_another_version_is_refused_with_what_to_do(tmp_path: Path, version: int) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    ledger = Ledger(url)
    with ledger.begin() as connection:
        for statement in OTHER_VERSIONS[version]:
            connection.execute(text(statement))
    tables = set(inspect(ledger.engine).get_table_names())
    with pytest.raises(
        ConfigurationError, match=f"schema version {version}, .* needs {SCHEMA_VERSION} — run the"
    ):
        Ledger(url)
    assert set(inspect(ledger.engine).get_table_names()) == tables


def test_a_ledger_of_this_version_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    Ledger(url).reception.record([(received(), None)])
    assert len(Ledger(url).studies.all()) == 1


def test_two_that_open_a_new_ledger_at_the_same_moment_both_get_it(tmp_path: Path) -> None:
    """SQLite lets one of two fail that change the journal mode at once: about one time in twenty."""
    start = Barrier(2)

    def open_all(_: int) -> None:
        for number in range(60):
            start.wait(timeout=30)
            Ledger(f"sqlite:///{tmp_path}/{number}.sqlite").close()

    with ThreadPoolExecutor(2) as both:
        list(both.map(open_all, range(2)))
