"""Every kind of discrepancy is found, and what is no discrepancy raises no alarm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import delete, update

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.deliveries import DeliveryRecord
from fiona_dagster.adapters.ledger.schema import instance, release, study
from fiona_dagster.adapters.reconciliation import (
    EVERY_SECONDS,
    RECENT_SECONDS,
    RECORDED_SECONDS,
    TURNS,
    discrepancies,
    is_due,
)
from fiona_dagster.assets.housekeeping import reconciliation
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import AWAITING_VERIFICATION, Disposition, ReleaseRow, TransferState
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.settings import Settings, load_settings
from tests.factories import received


@dataclass
class Delivered:
    """A gateway's data directory with one study of three instances, delivered."""

    settings: Settings
    ledger: Ledger
    config_file: Path
    key: str
    transfer_id: int

    @property
    def problems(self) -> list[str]:
        return [one.problem for one in self.later(0.0)]

    def later(self, seconds: float) -> list[object]:  # Discrepancy
        newest = max(p.lstat().st_mtime for p in self.settings.layout.datadir.rglob("*"))
        return discrepancies(self.ledger, self.settings, clock=lambda: newest + seconds)

    def file(self, path: str) -> Path:
        return self.settings.layout.datadir / path

    def make(self, path: str) -> Path:
        made = self.file(path)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"DICM")
        return made

    def received(self) -> list[str]:
        return [one.path for one in self.ledger.studies.instances(self.key)]

    def execute(self, statement: object) -> None:
        with self.ledger.begin() as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def house(tmp_path: Path) -> Delivered:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"DATADIR": str(tmp_path / "data")}))
    settings = load_settings(config, {})
    settings.layout.ensure()
    ledger = Ledger(settings.ledger_url)
    key = ledger.reception.record([(received(), None) for _ in range(3)])["1.2.3"]
    ledger.studies.arrive(key, instance_count=3, expected=None, now=1.0, run_id="r")
    ledger.studies.register(key, 1, now=1.0, run_id="r")
    ledger.studies.route(key, 1, None, now=1.0, run_id="r")
    transfer = ledger.transfers.request(key, TransferRequest("HEART", "P1", "", "coupling"), now=1.0)
    made = Delivered(settings, ledger, config, key, transfer.id)
    rows = [ReleaseRow(one.id, Disposition.HELD, AWAITING_VERIFICATION, path=f"site/output/{key}/{one.id}.dcm")
            for one in ledger.studies.instances(key)]  # fmt: skip
    for path in [*made.received(), *(row.path for row in rows)]:
        made.make(path)
    ledger.transfers.record_release(transfer.id, 1, rows, now=1.0, run_id="r")
    ledger.transfers.verify(transfer.id, 1, passed=True, manifest_sha256="m", checks={}, now=1.0, run_id="r")
    record = DeliveryRecord(transfer.id, "PACS@h:1", "pacs", 1, "confirmed", instance_count=3)
    ledger.deliveries.record(record, [], now=1.0, run_id="r")
    ledger.transfers.set_state(transfer.id, TransferState.DELIVERED, now=1.0, revision=1, packaged_revision=1)
    return made


def lose_a_received_file(house: Delivered) -> None:
    house.file(house.received()[0]).unlink()


def add_a_file(house: Delivered) -> None:
    stranger = house.make("site/archive/scp_1.2.3/9.9.9")
    newest = stranger.lstat().st_mtime
    os.utime(stranger, (newest - 2 * RECORDED_SECONDS, newest - 2 * RECORDED_SECONDS))


def lose_a_copy(house: Delivered) -> None:
    house.file(house.ledger.transfers.release_rows(house.transfer_id)[0].path).unlink()


def confirm_fewer(house: Delivered) -> None:
    record = DeliveryRecord(
        house.transfer_id, "lab", "package", 1, "confirmed", name="x.zip", instance_count=2
    )
    house.ledger.deliveries.record(record, [], now=1.0, run_id="r")


def miscount(house: Delivered) -> None:
    house.execute(update(study).values(instance_count=study.c.instance_count + 1))


def lose_a_row(house: Delivered) -> None:
    first = house.ledger.studies.instances(house.key)[0]
    house.execute(delete(release).where(release.c.instance_id == first.id))
    house.execute(delete(instance).where(instance.c.id == first.id))


DAMAGES: dict[str, tuple[Callable[[Delivered], None], list[str]]] = {
    "a received file is gone": (lose_a_received_file, ["1 recorded instance(s) are not on disk"]),
    "a file is there that nobody recorded": (add_a_file, ["1 file(s) in the archive are not recorded"]),
    "a released copy is gone": (lose_a_copy, ["transfer 1: 1 released file(s) are gone"]),
    "a destination confirmed another number": (confirm_fewer, ["transfer 1: 3 released, 2 confirmed by lab"]),
    "a study's count is wrong": (miscount, ["4 instances are counted, 3 are recorded"]),
    "a record is gone": (lose_a_row, ["3 instances are counted, 2 are recorded",
                                      ("transfer 1: the conservation law does not hold: "
                                       "Balance(received=3, released=2, held=0, excluded=0, failed=0)"),
                                      "transfer 1: 2 released, 3 confirmed by PACS@h:1"]),
}  # fmt: skip


def test_where_all_is_well_nothing_is_found(house: Delivered) -> None:
    assert house.later(1e6) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_every_kind_of_discrepancy_is_found_and_names_no_file(house: Delivered, name: str) -> None:
    damage, expected = DAMAGES[name]
    damage(house)
    assert house.problems == expected
    assert "1.2.3" not in str(house.later(0.0))


def test_a_file_of_the_last_moments_need_not_be_recorded_yet(house: Delivered) -> None:
    house.make("site/archive/scp_1.2.3/9.9.9")
    assert house.problems == []
    assert len(house.later(2 * RECORDED_SECONDS)) == 1


def test_a_revision_on_its_way_is_no_discrepancy_nor_is_one_that_verification_held(house: Delivered) -> None:
    """What destinations confirmed is the older revision; the copy of the newer one is not released yet."""
    late = received()
    house.ledger.reception.record([(late, None)])
    house.make(late.path)
    house.ledger.studies.arrive(house.key, instance_count=4, expected=None, now=2.0, run_id="r")
    house.ledger.transfers.set_state(house.transfer_id, TransferState.REQUESTED, now=2.0)
    rows = [ReleaseRow(one.id, Disposition.HELD, AWAITING_VERIFICATION, path="site/output/being-made")
            for one in house.ledger.studies.instances(house.key)]  # fmt: skip
    house.ledger.transfers.record_release(house.transfer_id, 2, rows, now=2.0, run_id="r")
    assert house.problems == []
    house.ledger.transfers.verify(house.transfer_id, 2, passed=False, manifest_sha256="m",
                                  checks={"x": {"passed": False}}, now=2.0, run_id="r")  # fmt: skip
    house.ledger.transfers.set_state(house.transfer_id, TransferState.HELD, now=2.0)
    assert house.problems == []


def test_what_was_cleaned_up_need_not_be_there_but_what_came_since_must(house: Delivered) -> None:
    instances = house.ledger.studies.instances(house.key)
    for path in [
        *house.received(),
        *(r.path for r in house.ledger.transfers.release_rows(house.transfer_id)),
    ]:
        house.file(path).unlink()
    house.ledger.studies.purge(house.key, [one.id for one in instances], now=2.0)
    assert house.problems == []
    house.ledger.reception.record([(received(sop="1.2.3.1.999"), None)])
    assert house.problems == ["1 recorded instance(s) are not on disk"]


def test_a_study_that_rests_is_looked_at_once_a_day_and_one_that_changed_every_time() -> None:
    keys = [f"20260101-{number:012x}" for number in range(500)]
    day = [1e9 + EVERY_SECONDS * turn for turn in range(TURNS)]
    turns = [sum(is_due(key, 0.0, now=now) for now in day) for key in keys]
    assert set(turns) == {1}
    assert max(sum(is_due(key, 0.0, now=now) for key in keys) for now in day) < 20
    assert all(is_due(keys[0], now - RECENT_SECONDS + 1, now=now) for now in day)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_check_in_dagster_fails_with_the_places_when_anything_is_found(
    house: Delivered, damaged: bool
) -> None:
    if damaged:
        lose_a_copy(house)
    gateway = GatewayResource(config_file=str(house.config_file))
    with dg.DagsterInstance.ephemeral() as dagster:
        result = dg.materialize([reconciliation], instance=dagster, resources={"gateway": gateway})
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("conservation_law", not damaged)
    assert check.metadata["discrepancies"].value == int(damaged)
    assert ("1 released file(s) are gone" in str(check.metadata["places"].value)) == damaged
    (event,) = result.asset_materializations_for_node("reconciliation")
    assert (event.metadata["received"].value, event.metadata["released"].value) == (3, 3)
