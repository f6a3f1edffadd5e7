"""Opening a ledger: a new one by two at once, one of another version, one again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine

from fiona_dagster.adapters.ledger import Ledger, migrations
from fiona_dagster.adapters.ledger.schema import SCHEMA_VERSION
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.forwarding import GivenCopy
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


VERSION_2 = {
    name: Path(__file__).with_name(f"ledger_version_2.{name}.sql") for name in ("sqlite", "postgresql")
}
LATER_TABLES = ("asked_instance", "asked_commitment", "parcel", "approval_told")
"""What version 4 did not have."""
OLD_ROWS = """
    INSERT INTO meta (name, value) VALUES ('schema_version', 2);
    INSERT INTO study (key, site, study_instance_uid, first_received_at, last_received_at, instance_count, revision,
        arrived_count, registered_revision, routed_revision, patient_id, patient_name, accession_number, study_date,
        study_time, study_description, institution_name, calling_ae, called_ae, address)
        VALUES ('20270115-0123456789ab', 'site', '1.2.9', 1, 1, 1, 1, 1, 1, 1,
        'P', 'N', '', '', '', '', '', '', '', '');
    INSERT INTO instance (id, study_key, site, series_instance_uid, sop_instance_uid, sop_class_uid,
        transfer_syntax_uid, modality, sha256, size_bytes, path, received_at, receptions, calling_ae, called_ae,
        address, aside, purged)
        VALUES (1, '20270115-0123456789ab', 'site', '1.2.3.4', '1.2.3.4.5', '1.2', '1.2.8', 'CT', 'ab', 1, 'p', 1, 1,
        '', '', '', false, false);
    INSERT INTO transfer (id, transfer_key, study_key, project, participant, event, source, requested_by,
        requested_at, generation, state, reason, revision, packaged_revision, attempts, registry_state, changed_at)
        VALUES (1, 'k', '20270115-0123456789ab', 'HEART', 'P1', '', 'coupling', '', 1, 0, 'delivered', '', 1, 1, 1,
        '', 1);
    INSERT INTO release (transfer_id, instance_id, revision, disposition, reason, sop_instance_uid,
        series_instance_uid, study_instance_uid, sop_class_uid, transfer_syntax_uid, modality, path, sha256,
        size_bytes, purged)
        VALUES (1, 1, 1, 'released', '', '2.25.3', '2.25.2', '2.25.1', '1.2', '1.2.8', 'CT', 'q', 'cd', 1, false);
    INSERT INTO verification (transfer_id, revision, passed, at, manifest_sha256, checks)
        VALUES (1, 1, true, 1, 'ef', '{}');
    INSERT INTO sent_copy (destination, sop_instance_uid, identity, transfer_id, at)
        VALUES ('PACS', '2.25.3', 'i', 1, 1)
"""


def version_2(engine: Engine) -> None:
    """Make the tables of version 2 as that version made them, with a delivered transfer."""
    statements = VERSION_2[engine.dialect.name].read_text() + ";" + OLD_ROWS
    with engine.begin() as connection:
        for statement in statements.split(";"):
            if statement.strip():
                connection.execute(text(statement))


def version_4(engine: Engine) -> None:
    """The same as version 4 had brought it forward."""
    version_2(engine)
    with engine.begin() as connection:
        assert migrations.migrate(connection, 2, 4)
        for table in LATER_TABLES:
            connection.execute(text(f"DROP TABLE {table}"))
        for index in ("release_copy", "release_study"):
            connection.execute(text(f"DROP INDEX IF EXISTS {index}"))
        connection.execute(text("UPDATE meta SET value = 4"))


def columns(engine: Engine) -> dict[str, list[tuple[str, str, bool, bool]]]:
    found = inspect(engine)
    return {
        table: sorted(
            (one["name"], str(one["type"]), bool(one["nullable"]), one["default"] is not None)
            for one in found.get_columns(table)
        )
        for table in found.get_table_names()
    }


def check_migration(old_url: str, new_url: str, make: Callable[[Engine], None] = version_2) -> None:
    engine = create_engine(old_url.replace("postgresql:", "postgresql+psycopg2:"))
    make(engine)
    engine.dispose()
    ledger, new = Ledger(old_url), Ledger(new_url)
    assert columns(ledger.engine) == columns(new.engine), "as a new ledger has them"
    (transfer,) = ledger.transfers.all()
    assert (transfer.project, transfer.key_id, transfer.method_digest) == ("HEART", "", "")
    assert ledger.transfers.verified_manifest(1, 1) == "ef"
    assert [row.sha256 for row in ledger.transfers.release_rows(1)] == ["cd"]
    assert ledger.deliveries.given("PACS", ["2.25.3"]) == {"2.25.3": GivenCopy(1, "", "", over_another=False)}
    ledger.reception.record([(received(), None)])
    ledger.close()
    again = Ledger(old_url)
    assert len(again.studies.all()) == 2
    again.close()
    new.close()


@pytest.mark.parametrize("make", [version_2, version_4])
def test_an_older_ledger_is_brought_forward_and_keeps_its_account(
    tmp_path: Path, make: Callable[[Engine], None]
) -> None:
    check_migration(f"sqlite:///{tmp_path}/old.sqlite", f"sqlite:///{tmp_path}/new.sqlite", make)


def test_a_step_that_fails_leaves_the_old_ledger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    engine = create_engine(url)
    version_2(engine)
    before = columns(engine)
    monkeypatch.setattr(
        migrations,
        "STEPS",
        {**migrations.STEPS, 2: (*migrations.STEPS[2], "ALTER TABLE nothing ADD COLUMN x TEXT")},
    )
    with pytest.raises(Transient, match="cannot be opened"):
        Ledger(url)
    assert columns(engine) == before
    with engine.connect() as connection:
        assert connection.execute(text("SELECT value FROM meta")).scalar_one() == 2


def test_two_that_open_an_old_ledger_at_the_same_moment_both_get_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    version_2(create_engine(url))
    start = Barrier(4)

    def open_one(_: int) -> int:
        start.wait(timeout=30)
        return len(Ledger(url).transfers.all())

    with ThreadPoolExecutor(4) as all_of_them:
        assert list(all_of_them.map(open_one, range(4))) == [1] * 4
