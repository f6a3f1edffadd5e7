"""The process that reads received files: what it tells is what reading them here would; without it nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.received_files import sha256_of_data_set
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import InstanceHeader, Peer
from scp_listener.clerk import Clerk
from scp_listener.recorder import Recorder
from scp_listener.side_files import SideFiles
from tests.scp_listener.instances import SERIES, STUDY, instance, write

PEER = Peer("SCANNER1", "FIONA", "10.0.0.1")


@pytest.fixture
def clerk() -> Iterator[Clerk]:
    made = Clerk(fewest=2)
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(write(tmp_path / f"{number}.dcm", instance(number))) for number in (1, 2, 3)]


def test_it_tells_what_reading_here_would_and_nothing_of_what_cannot_be_read(
    clerk: Clerk, files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    bad = [str(tmp_path / "empty"), str(tmp_path / "gone")]
    assert clerk.hashes([*files, *bad]) == [*(sha256_of_data_set(Path(one)) for one in files), None, None]
    fields = [fiona_layout.read_fields(Path(one), PEER) for one in files]
    assert clerk.fields([(one, PEER) for one in [*files, *bad]]) == [*fields, None, None]


def test_few_files_are_left_to_who_asks(clerk: Clerk, files: list[str]) -> None:
    assert clerk.hashes(files[:1]) == [None]
    assert clerk._process is None


def test_one_that_died_is_not_waited_for_and_another_takes_its_place(clerk: Clerk, files: list[str]) -> None:
    clerk.hashes(files)
    process = clerk._process
    assert process is not None
    process.kill()
    process.wait()
    assert clerk.hashes(files) == [None, None, None]
    assert None not in clerk.hashes(files)


def test_it_ends_with_who_asks(clerk: Clerk, files: list[str]) -> None:
    clerk.hashes(files)
    process = clerk._process
    assert process is not None
    assert clerk._connection is not None
    clerk._connection.close()  # as the kernel does for a process that is killed
    assert process.wait(10) == 0


def test_records_and_series_json_are_the_same_with_it(layout: Layout, clerk: Clerk) -> None:
    ledger = Ledger(f"sqlite:///{layout.ledger}")
    recorder = Recorder(ledger.reception, site="ABCD", worker="w")
    recorder.clerk = clerk
    side_files = SideFiles(layout, clerk)
    for number in (1, 2, 3):
        path = write(layout.archived_instance(STUDY, f"{SERIES}.{number}"), instance(number))
        side_files.arrived(InstanceHeader(STUDY, SERIES, f"{SERIES}.{number}"), PEER, path)
    assert side_files.stop(20.0)
    assert clerk._process is not None
    found = fiona_layout.read_series_json(layout.series_json(STUDY, SERIES))
    assert found is not None
    assert found["NumFiles"] == "3"
    assert recorder.stop(20.0)
    assert clerk._process is None
    ledger.close()
