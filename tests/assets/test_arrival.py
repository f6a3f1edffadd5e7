"""The asset of arrival alone, with a scanner that is asked: what waits, what goes on and what its page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydicom import dcmread

from fiona_dagster.adapters.clock import moment
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.arrivals import WHOLE_STUDY, SeriesExpectation
from fiona_dagster.assets.arrival import ASK_AGAIN_SECONDS, arrived_study
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.identifiers import SeriesInstanceUID
from fiona_dagster.domain.procedures import CreatedProcedure, ProcedureChange, ProcedureState
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.scanner import EmbeddedScanner
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.arrival import intake_due
from tests.factories import received


@dataclass
class House:
    """A gateway beside a scanner that has one study."""

    gateway: GatewayResource
    study: SampleStudy
    instance: dg.DagsterInstance

    @property
    def ledger(self) -> Ledger:
        return self.gateway.ledger

    def receive(self, files: tuple[Path, ...], *, ago: float = 60.0) -> str:
        """Record instances of the study; its key."""
        arrivals = []
        for file in files:
            header = dcmread(file, stop_before_pixels=True)
            one = received(
                str(header.StudyInstanceUID),
                str(header.SOPInstanceUID),
                series_instance_uid=SeriesInstanceUID(str(header.SeriesInstanceUID)),
                received_at=moment().at - ago,
            )
            arrivals.append((one, None))
        (key,) = self.ledger.reception.record(arrivals).values()
        return key

    def run(self, key: str) -> tuple[dict[str, Any], dict[str, Any], bool | None]:
        """What a run showed: metadata of the study, of the observation that it waits, and the check's verdict."""
        self.instance.add_dynamic_partitions(str(STUDIES.name), [key])
        result = dg.materialize(
            [arrived_study], partition_key=key, instance=self.instance, resources={"gateway": self.gateway}
        )
        assert result.success
        made = [event.materialization.metadata for event in result.get_asset_materialization_events()]
        seen = [
            event.asset_observation_data.asset_observation.metadata
            for event in result.get_asset_observation_events()
        ]
        checks = [one.passed for one in result.get_asset_check_evaluations()]
        return _plain(made), _plain(seen), checks[0] if checks else None


def _plain(entries: list[Any]) -> dict[str, Any]:
    return {name: value.value for name, value in entries[0].items()} if entries else {}


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    study = next(one for one in write_samples(tmp_path / "samples") if one.late)
    with EmbeddedScanner(tmp_path / "scanner", [study]) as scanner:
        (tmp_path / "config.json").write_text(
            json.dumps({
                "DATADIR": str(tmp_path), "QUIETSECONDS": 5, "SCANNERIP": "127.0.0.1",
                "SCANNERPORT": scanner.port, "SCANNERAETITLE": scanner.ae_title, **getattr(request, "param", {}),
            })
        )  # fmt: skip
        gateway = GatewayResource(config_file=str(tmp_path / "config.json"))
        with dg.DagsterInstance.ephemeral() as instance:
            yield House(gateway, study, instance)


def test_a_study_of_which_the_scanner_has_more_waits_for_it_and_is_complete_then(house: House) -> None:
    key = house.receive(house.study.files)
    assert [(one.key, one.work) for one in intake_due(house.gateway)] == [(key, "1")]
    made, waits, passed = house.run(key)
    missing = len(house.study.late)
    assert (made, passed) == ({}, False)
    assert f"{missing} instance(s) missing" in waits["waits"]
    assert waits["missing_instances"] == missing
    assert intake_due(house.gateway) == [], "what waits asks for no runs"
    house.receive(house.study.late)
    everything = len(house.study.files) + missing
    assert [one.work for one in intake_due(house.gateway)] == [f"1.{everything}"]
    made, waits, passed = house.run(key)
    assert (made["instances"], made["incomplete"], waits, passed) == (everything, False, {}, True)
    assert house.ledger.studies.get(key).expected_instances == everything
    assert house.ledger.arrivals.incomplete() == []


def test_a_source_that_was_counted_since_the_last_image_is_not_asked_once_more(house: House) -> None:
    key = house.receive(house.study.files)
    known = [SeriesExpectation(WHOLE_STUDY, "", len(house.study.files))]
    house.ledger.arrivals.expect(key, known, now=moment().at)
    made, _, passed = house.run(key)
    assert (made["incomplete"], passed) == (False, True), (
        "the scanner itself would have said that there is more"
    )


def test_a_source_that_had_more_is_asked_again_after_an_hour(house: House) -> None:
    key = house.receive(house.study.files)
    too_many = [SeriesExpectation(WHOLE_STUDY, "", 99)]
    house.ledger.arrivals.expect(key, too_many, now=moment().at - ASK_AGAIN_SECONDS + 60)
    assert intake_due(house.gateway) == []
    house.ledger.arrivals.expect(key, too_many, now=moment().at - ASK_AGAIN_SECONDS - 1)
    assert [one.key for one in intake_due(house.gateway)] == [key]
    _, waits, _ = house.run(key)
    assert waits["missing_instances"] == len(house.study.late), "it was asked"
    assert intake_due(house.gateway) == []


@pytest.mark.parametrize("house", [{"INCOMPLETESECONDS": 0}], indirect=True)
def test_a_study_that_goes_on_incomplete_says_so_in_counts_alone(house: House) -> None:
    key = house.receive(house.study.files)
    made, _, passed = house.run(key)
    missing = len(house.study.late)
    assert (made["incomplete"], made["missing_instances"], passed) == (True, missing, False)
    assert sum(one["expected"] - one["received"] for one in made["incomplete_series"]) == missing
    shown = json.dumps(made, default=str)
    for secret in (house.study.study_instance_uid, house.study.patient_id, house.study.accession_number):
        assert secret not in shown
    (found,) = house.ledger.arrivals.incomplete()
    assert found.key == key


def test_a_study_whose_steps_have_ended_with_all_their_images_is_not_asked_to_be_quiet(house: House) -> None:
    key = house.receive((*house.study.files, *house.study.late), ago=0.0)
    assert intake_due(house.gateway) == []
    uid = house.study.study_instance_uid
    house.ledger.procedures.create("ABCD", "MR1", CreatedProcedure("1.9", (uid,), "MR1", "MR", {}))
    named: dict[str, tuple[str, ...]] = {}
    for one in house.ledger.studies.instances(key):
        named[one.series_instance_uid] = (*named.get(one.series_instance_uid, ()), one.sop_instance_uid)
    assert intake_due(house.gateway) == []
    house.ledger.procedures.change("ABCD", "1.9", ProcedureChange(ProcedureState.COMPLETED, named))
    assert [one.key for one in intake_due(house.gateway)] == [key]
    made, _, passed = house.run(key)
    assert made["arrived_because"] == "every instance that its procedure steps name is here"
    assert (made["procedure_steps"], passed) == ("1 of 1 ended", True)
