"""The ledger on PostgreSQL: every test of the ledger again, and what only two processes at once can show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import instance, transfer
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import TransferState
from tests.adapters import (
    test_ledger,
    test_ledger_arrivals,
    test_ledger_parts,
    test_ledger_reception,
    test_ledger_version,
    test_transfer_keys,
)
from tests.conftest import free_port
from tests.factories import received
from tests.postgres import Postgres, running_postgres

_SQLITE_ONLY = {"test_another_site_is_another_world"}  # adds up booleans in SQL, as only SQLite does
for _module in (
    test_ledger,
    test_ledger_arrivals,
    test_ledger_parts,
    test_ledger_reception,
    test_transfer_keys,
):
    globals().update(
        {
            name: one
            for name, one in vars(_module).items()
            if name.startswith("test_") and name not in _SQLITE_ONLY
        }
    )

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as made:
        yield made


@pytest.fixture
def ledger(postgres: Postgres) -> Iterator[Ledger]:
    made = Ledger(postgres.url(postgres.database()))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a ledger that nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.url(cluster.database())


@pytest.fixture
def opened() -> Iterator[Callable[[str], Ledger]]:
    made: list[Ledger] = []

    def open_ledger(url: str) -> Ledger:
        made.append(Ledger(url))
        return made[-1]

    yield open_ledger
    for one in made:
        one.close()


RECORDER = """
import sys
from fiona_dagster.adapters.ledger import Ledger
from tests.factories import received
print("ready", flush=True)
sys.stdin.readline()
ledger = Ledger(sys.argv[1])
who, order = sys.argv[2], range(40)
for number in order if who == "a" else reversed(order):
    same = received("1.2.3", f"1.2.3.1.{number}")
    mine = received("1.2.3", f"1.2.3.2.{number}", content=who)
    ledger.reception.record([(same, None), (mine, None)])
"""


def test_two_processes_that_open_a_new_ledger_and_record_one_study_at_once_agree(
    new_url: str, opened: Callable[[str], Ledger]
) -> None:
    """Half of the instances are the same, half have other content under the same SOP Instance UID."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDER, new_url, who], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for who in ("a", "b")
    ]  # fmt: skip
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in processes:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said
    ledger = opened(new_url)
    (study,) = ledger.studies.all()
    instances = ledger.studies.instances(study.key)
    assert (study.instance_count, len(instances)) == (120, 120)
    assert sum(one.aside for one in instances) == 40, "of two contents under a UID exactly one is the first"


def test_a_header_that_keeps_to_no_length_is_recorded_all_the_same(
    new_url: str, opened: Callable[[str], Ledger]
) -> None:
    ledger = opened(new_url)
    odd = received(
        modality="M" * 40, patient_name="Han\x00sen\udcff", study_date="2" * 40, study_time="1" * 90
    )
    key = ledger.reception.record([(odd, None)])["1.2.3"]
    assert ledger.studies.get(key).patient_name == "Hansen?"
    assert ledger.studies.find("Hansen?")[0].key == key


def test_what_the_registry_was_told_has_room_for_many_resends(
    new_url: str, opened: Callable[[str], Ledger]
) -> None:
    ledger = opened(new_url)
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    made = ledger.transfers.request(key, TransferRequest("HEART", "P1", "", "coupling"), now=1.0)
    ledger.transfers.told_registry(made.id, "delivered:1000:1000")
    assert ledger.transfers.get(made.id).registry_state == "delivered:1000:1000"


def insert_transfer(ledger: Ledger, **values: object) -> None:
    with ledger.begin() as connection:
        connection.execute(transfer.insert(), values)


def test_what_the_ledger_refuses_is_an_error_of_ours_that_shows_no_value(
    new_url: str, opened: Callable[[str], Ledger]
) -> None:
    ledger = opened(new_url)
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    ledger.transfers.request(key, TransferRequest("HEART", "Hansen", "", "coupling"), now=1.0)
    with pytest.raises(Permanent, match="the ledger refuses") as caught:
        insert_transfer(
            ledger, transfer_key="k", study_key=key, project="HEART", participant="Hansen", source="coupling",
            requested_at=1.0, state="requested", changed_at=1.0,
        )  # fmt: skip
    assert "Hansen" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert [one.state for one in ledger.transfers.all()] == [TransferState.REQUESTED]


def test_a_database_that_is_down_is_no_reason_to_give_up() -> None:
    with pytest.raises(Transient, match="cannot be opened"):
        Ledger(f"postgresql://fiona@127.0.0.1:{free_port()}/fiona")


def test_a_reader_sees_one_moment(ledger: Ledger) -> None:
    """The conservation law is counted by several queries: none may see more than another."""
    counting = select(func.count()).select_from(instance)
    with ledger.read() as connection:
        before = connection.execute(counting).scalar_one()
        ledger.reception.record([(received(), None)])
        assert connection.execute(counting).scalar_one() == before
    with ledger.read() as connection:
        assert connection.execute(counting).scalar_one() == before + 1


def test_a_ledger_of_version_2_is_brought_forward_and_keeps_its_account(postgres: Postgres) -> None:
    old, new = postgres.url(postgres.database()), postgres.url(postgres.database())
    test_ledger_version.check_migration(old, new)
