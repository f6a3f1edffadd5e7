"""What the sender is told when something goes wrong behind the network."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Placed, Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import InstanceHeader, Peer, StoreRequest
from scp_listener.recorder import Recorder
from scp_listener.side_files import SideFiles
from scp_listener.store import Store
from tests.scp_listener.instances import SERIES, STUDY, instance, write

PEER = Peer("SCANNER1", "FIONA", "10.0.0.1")
REQUEST = StoreRequest("1.2.840.10008.5.1.4.1.1.2", f"{SERIES}.1", "1.2.840.10008.1.2.1")


class Rig:
    """A store with everything behind it."""

    def __init__(self, layout: Layout, *, capacity: int = 100) -> None:
        self.layout, self.spool = layout, Spool(layout)
        self.ledger = Ledger(f"sqlite:///{layout.ledger}")
        self.recorder = Recorder(self.ledger.reception, site="ABCD", worker="w", capacity=capacity)
        self.recorder.opened("a", PEER, time.time())
        self.side_files = SideFiles(layout)
        self.store = Store("ABCD", self.spool, self.recorder, self.side_files)

    def send(self, number: int = 1) -> Status:
        self.upload = write(self.spool.incoming("w") / "upload.dcm", instance(number))
        with closing(Upload.complete(self.upload)) as upload:
            return self.store(upload, REQUEST, PEER, "a")

    def finish(self) -> list[tuple[object, ...]]:
        assert self.side_files.stop(20.0)
        assert self.recorder.stop(20.0)
        with self.ledger.begin() as connection:
            return [tuple(row) for row in connection.execute(text("select status, path from refusal"))]


@pytest.fixture
def rig(layout: Layout) -> Iterator[Rig]:
    made = Rig(layout)
    yield made
    made.recorder.stop(5.0)
    made.ledger.close()


def header(number: int) -> InstanceHeader:
    return InstanceHeader(STUDY, SERIES, f"{SERIES}.{number}")


def failing(error: Exception):  # type: ignore[no-untyped-def]
    def place(*_: object) -> Placed:
        raise error

    return place


def test_a_full_disk_is_answered_so_that_the_sender_tries_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.spool, "place", failing(OSError(errno.ENOSPC, "No space left on device")))
    assert rig.send() is Status.OUT_OF_RESOURCES
    assert not rig.upload.exists()
    assert rig.finish() == [(0xA700, None)]


def test_an_error_that_nobody_thought_of_is_never_success(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.spool, "place", failing(RuntimeError("?")))
    assert rig.send() is Status.PROCESSING_FAILURE
    assert not rig.upload.exists()
    [(status, path)] = rig.finish()
    assert status == 0x0110
    assert (rig.layout.datadir / str(path)).is_file()


def test_a_side_file_that_fails_costs_no_instance(rig: Rig) -> None:
    rig.layout.raw.rmdir()
    rig.layout.raw.write_text("in the way")
    assert rig.send() is Status.SUCCESS
    assert rig.layout.archived_instance(STUDY, f"{SERIES}.1").is_file()
    assert rig.finish() == []


def test_a_ledger_that_does_not_keep_up_makes_the_sender_wait(layout: Layout) -> None:
    rig = Rig(layout, capacity=0)
    assert rig.send() is Status.OUT_OF_RESOURCES
    assert not list(layout.archive.iterdir())
    assert rig.finish() == [(0xA700, None)]
    rig.ledger.close()


def test_a_series_of_many_images_is_written_a_few_times(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    real = fiona_layout.write_json_durably

    def counting(target: Path, value: object) -> None:
        written.append(target)
        real(target, value)

    monkeypatch.setattr(fiona_layout, "write_json_durably", counting)
    for number in range(1, 31):
        path = write(rig.layout.archived_instance(STUDY, f"{SERIES}.{number}"), instance(number))
        rig.side_files.arrived(header(number), PEER, path)
    rig.finish()
    assert json.loads(rig.layout.series_json(STUDY, SERIES).read_text())["NumFiles"] == "30"
    assert len(written) == 1
