"""Four accounts of a built hospital compared: REDCap and PACS are real servers, releases went the whole way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from fiona_dagster.adapters.dicom_scu import Timeouts, send
from fiona_dagster.adapters.reconciliation_inventory import InventoryTaker
from fiona_dagster.adapters.reconciliation_pass import PassReport, reconcile
from fiona_dagster.adapters.reconciliation_registry import MOST_GONE, keep_inventory
from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.assets.reconciliation import four_accounts
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.reconciliation import Kind
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.samples import write_samples
from fiona_dagster.sensors.schedules import SCHEDULES
from tests.factories import received
from tests.gateway import Gateway, running_gateway
from tests.peers import orthanc

GONE, FEWER, HELD, STRANGER = "sr-report", "ct-corrupt", "us-heart", "mr-head"
SHORT = Timeouts(connect=2, acse=2, dimse=0.5)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("hospital")) as made:
        for name in (GONE, FEWER, HELD):
            made.receive(name)
        made.settle()
        yield made


def compare(hospital: Gateway, *, whole: bool = True, **options: Any) -> PassReport:
    later = time.time() + 60.0
    return reconcile(
        hospital.ledger, hospital.settings, hospital.resource.registry,
        whole=whole, settled_seconds=0.0, clock=lambda: later, **options,
    )  # fmt: skip


def client(hospital: Gateway, role: str) -> RedcapProject:
    assert hospital.resource.registry is not None
    return hospital.resource.registry.client(role)


def inventory_rows(hospital: Gateway) -> dict[str, dict[str, Any]]:
    return {row["record_id"]: row for row in client(hospital, "WhatIsInIDS7").rows()}


def copy_of(hospital: Gateway, name: str) -> str:
    """Study Instance UID of what became of a sample in the research PACS."""
    account = hospital.ledger.reconciliations.account("", settled_before=0.0)
    (copies,) = (one.copies for one in account.transfers if one.study_key == hospital.study(name).key)
    return copies[0]


def plant(hospital: Gateway) -> None:
    """Eleven differences, on two delivered studies, one that no project has, and what only one account knows."""
    for uid in sorted(hospital.pacs.index.sop_instance_uids(copy_of(hospital, GONE))):
        hospital.pacs.index.remove(uid)
    hospital.pacs.index.remove(min(hospital.pacs.index.sop_instance_uids(copy_of(hospital, FEWER))))
    send(hospital.samples[STRANGER].files[:2], hospital.pacs.peer, "SOMEBODY")
    incoming = client(hospital, "Incoming")
    gone, fewer = (hospital.samples[name].study_instance_uid for name in (GONE, FEWER))
    place = {"redcap_repeat_instrument": "transfers"}
    incoming.write_rows([
        {"study_instance_uid": fewer, "study_num_files": "1"},
        {"study_instance_uid": "1.2.3.99", "study_num_files": "1", "study_source": "1"},
        {"study_instance_uid": gone, **place, "redcap_repeat_instance": "1", "transfer_status": "4"},
        {"study_instance_uid": fewer, **place, "redcap_repeat_instance": "2", "transfer_project_name": "HEART",
         "transfer_name": "H1", "transfer_requested_date": "2020-01-01 10:00"},
    ])  # fmt: skip
    client(hospital, "CouplingList").write_rows([
        {"record_id": "900", "cl_accessionnumber": "HUS0000000", "cl_projectname": "HEART", "cl_subjectid": "H2",
         "cl_date": "2020-01-01 10:00"},
    ])  # fmt: skip
    ledger = hospital.ledger
    key = ledger.reception.record([(received("1.2.3.77", received_at=1.0), None)])["1.2.3.77"]
    ledger.studies.arrive(key, instance_count=1, expected=None, now=time.time(), run_id="r")
    ledger.studies.register(key, 1, now=time.time(), run_id="r")
    ledger.studies.route(key, 1, None, now=time.time(), run_id="r")


PLANTED = {
    Kind.NOT_REGISTERED, Kind.NOT_RECEIVED, Kind.OTHER_COUNT, Kind.UNANSWERED, Kind.NEVER_CAME, Kind.UNASSIGNED,
    Kind.OTHER_STATUS, Kind.NOT_IN_PACS, Kind.FEWER_IN_PACS, Kind.STRANGER_IN_PACS,
}  # fmt: skip


def test_every_planted_difference_is_named_and_none_invented(hospital: Gateway) -> None:
    before = compare(hospital)
    assert [one.kind for one in before.found] == [Kind.NOT_RELEASED]  # held by the profile, and true
    assert before.problems == ()
    rows = inventory_rows(hospital)
    right = {
        uid: str(len(hospital.pacs.index.sop_instance_uids(uid)))
        for uid in (copy_of(hospital, GONE), copy_of(hospital, FEWER))
    }
    assert {uid: row["ids7_number_of_instances"] for uid, row in rows.items()} == right
    assert {row["ids7_institution_name"] for row in rows.values()} == {"BRAINAGE"}
    again = compare(hospital).inventory
    assert again is not None
    assert (again.written, again.unchanged) == (0, 2)

    plant(hospital)
    hospital.pacs.faults = Faults(query_hang_seconds=0.2)
    silent = compare(hospital, timeouts=Timeouts(connect=2, acse=2, dimse=0.05))
    hospital.pacs.faults = Faults()
    assert not {one.kind for one in silent.found} & {Kind.NOT_IN_PACS, Kind.FEWER_IN_PACS}
    assert "the research PACS's account is unknown" in silent.problems[0]
    assert inventory_rows(hospital).keys() == rows.keys()

    report = compare(hospital)
    assert sorted(one.kind for one in report.found) == sorted([*PLANTED, Kind.NOT_RELEASED])
    assert report.inventory is not None
    assert report.inventory.deleted == 1
    rows = inventory_rows(hospital)
    stranger = hospital.samples[STRANGER]
    assert rows.keys() == {copy_of(hospital, FEWER), stranger.study_instance_uid}
    assert rows[copy_of(hospital, FEWER)]["ids7_number_of_instances"] == str(
        int(right[copy_of(hospital, FEWER)]) - 1
    )
    assert rows[stranger.study_instance_uid]["ids7_number_of_instances"] == "2"
    assert stranger.patient_id not in str(rows)
    assert stranger.accession_number not in str(rows)

    short = compare(hospital, whole=False)  # what is in question is asked again by day
    assert sorted(one.kind for one in short.found) == sorted([*PLANTED, Kind.NOT_RELEASED])

    shown = CliRunner().invoke(fiona, ["reconcile", "--json", "--config", str(hospital.config_file)])
    assert shown.exit_code == 1
    listed = json.loads(shown.stdout)
    assert len(listed) == 11
    assert all(one["next_action"] and one["owner"] for one in listed)
    for sample in hospital.samples.values():
        for secret in (sample.study_instance_uid, sample.patient_id, sample.accession_number):
            assert secret not in shown.stdout
    (number,) = (one["id"] for one in listed if one["difference"] == Kind.STRANGER_IN_PACS.value)
    uid = CliRunner().invoke(
        fiona, ["reconcile", "--show", str(number), "--config", str(hospital.config_file)]
    )
    assert uid.stdout.strip() == stranger.study_instance_uid
    table = CliRunner().invoke(fiona, ["reconcile", "--config", str(hospital.config_file)])
    assert "agree" not in table.stdout


def test_that_many_studies_vanish_at_once_is_believed_to_a_person_only(hospital: Gateway) -> None:
    registry, inventory = hospital.resource.registry, client(hospital, "WhatIsInIDS7")
    assert registry is not None
    gone = {f"1.2.9.{number}" for number in range(MOST_GONE + 1)}
    inventory.write_rows([{"record_id": uid, "ids7_number_of_series": "1"} for uid in sorted(gone)])
    doubted = keep_inventory(registry, {}, gone, known=(), day="2026-01-01", believe=False)
    assert (doubted.deleted, doubted.doubted) == (0, len(gone))
    assert gone <= inventory_rows(hospital).keys()
    believed = keep_inventory(registry, {}, gone, known=(), day="2026-01-01", believe=True)
    assert (believed.deleted, believed.doubted) == (len(gone), 0)
    assert not gone & inventory_rows(hospital).keys()


def test_the_night_s_run_in_dagster_asks_for_everything_and_shows_no_patient_data(hospital: Gateway) -> None:
    (night,) = (one for one in SCHEDULES if one.name == "four_accounts_by_night_schedule")
    config = night.evaluate_tick(dg.build_schedule_context()).run_requests
    assert config is not None
    result = dg.materialize(
        [four_accounts],
        instance=hospital.instance,
        resources={"gateway": hospital.resource},
        run_config=config[0].run_config,
    )
    (event,) = result.asset_materializations_for_node("four_accounts")
    assert event.metadata["whole"].value is True
    (check,) = result.get_asset_check_evaluations()
    shown = str([event.metadata, check.metadata])
    for sample in hospital.samples.values():
        assert sample.study_instance_uid not in shown
        assert sample.patient_id not in shown


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPacs, dict[str, int]]]:
    """An archive with sample studies, and how many images each has."""
    folder = tmp_path_factory.mktemp("filled")
    with EmbeddedPacs(folder / "pacs") as pacs:
        counts: dict[str, int] = {}
        for study in write_samples(folder / "samples"):
            send(study.files, pacs.peer, "TEST")
            counts[study.study_instance_uid] = len(pacs.index.sop_instance_uids(study.study_instance_uid))
        yield pacs, {uid: count for uid, count in counts.items() if count}


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0x0110, 0xFE00])
def test_what_the_archive_refuses_or_breaks_off_is_asked_in_parts(
    filled: tuple[EmbeddedPacs, dict[str, int]], status: int
) -> None:
    pacs, counts = filled
    pacs.faults = Faults(query_status=status, query_limit=2)
    try:
        found = InventoryTaker(pacs.peer, "TEST").take(None, named=[*counts, "1.2.3.4"], released={})
    finally:
        pacs.faults = Faults()
    assert {uid: one.images for uid, one in found.entries.items()} == counts
    assert (set(found.gone), set(found.silent), found.parted) == ({"1.2.3.4"}, set(), True)


def test_a_study_that_is_asked_for_in_vain_is_silent_not_gone(
    filled: tuple[EmbeddedPacs, dict[str, int]],
) -> None:
    pacs, counts = filled
    taker = InventoryTaker(pacs.peer, "TEST", timeouts=SHORT)
    pacs.faults = Faults(query_status=0x0110)  # whatever matches is broken off: a half answer
    try:
        with pytest.raises(Transient, match="answered no query"):
            taker.take((date(2100, 1, 1), date(2100, 1, 2)), named=counts, released={})
    finally:
        pacs.faults = Faults()


def test_orthanc_with_a_limit_is_asked_until_everything_is_known(
    tmp_path: Path, filled: tuple[EmbeddedPacs, dict[str, int]]
) -> None:
    _, counts = filled
    samples = write_samples(tmp_path / "samples")
    with orthanc(tmp_path / "home", LimitFindResults=3) as made:
        for study in samples:
            send(study.files, made.peer, "TEST")
        found = InventoryTaker(made.peer, "TEST").take(
            None, named=[*counts, "1.2.3.4"], released=dict.fromkeys(list(counts)[:2], 10000)
        )
    assert found.entries.keys() == counts.keys()
    assert found.gone == {"1.2.3.4"}
    assert {one.images for one in found.entries.values() if one.images is not None} <= set(counts.values())
