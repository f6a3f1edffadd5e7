"""What is deleted, what stays and why; keys and runs that leave Dagster and come back."""

from __future__ import annotations

import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from fiona_dagster.adapters.housekeeping import DiskReport, clean_disk
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.assets import housekeeping
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.decisions import late_decisions_due
from fiona_dagster.sensors.requests import requests_for
from tests.gateway import Gateway, failures, running_gateway

Usage = namedtuple("Usage", "total used free")
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made
        assert discrepancies(made.ledger, made.settings) == []


def full(_: Path) -> Usage:
    return Usage(10**15, 10**15, 0)


def roomy(_: Path) -> Usage:
    return Usage(10**15, 10**9, 10**15 - 10**9)


def clean(gateway: Gateway, usage: object = full, *, after: float = 2 * HOUR) -> DiskReport:
    return clean_disk(gateway.ledger, gateway.settings, now=time.time() + after, usage=usage)  # type: ignore[arg-type]


def archived(gateway: Gateway, name: str) -> list[Path]:
    folder = gateway.site.layout.study_archive(gateway.samples[name].study_instance_uid)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def materialize(gateway: Gateway, asset: dg.AssetsDefinition) -> dict[str, object]:
    result = dg.materialize(
        [asset], instance=gateway.instance, resources={"gateway": gateway.resource}, raise_on_error=False
    )
    assert result.success
    (event,) = result.asset_materializations_for_node(asset.op.name)
    return {name: value.value for name, value in event.metadata.items()}


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the gateway's clock stand that much later than the machine's."""
    monkeypatch.setattr(GatewayResource, "now", lambda _: time.time() + seconds)


def keys(gateway: Gateway) -> list[str]:
    return list(gateway.instance.get_dynamic_partitions(str(STUDIES.name)))


def command(gateway: Gateway, *arguments: str) -> None:
    result = CliRunner().invoke(fiona, [*arguments, "--config", str(gateway.config_file)])
    assert result.exit_code == 0, (result.output, result.exception)


def test_on_a_full_disk_only_confirmed_studies_go_and_the_others_stay_with_their_reasons(
    gateway: Gateway,
) -> None:
    for name in ("ct-thorax", "us-heart", "cr-uncoupled"):
        gateway.receive(name)
    gateway.settle()
    gateway.receive("sr-report")  # arrived, and nobody worked on it yet
    report = clean(gateway)
    assert report.counts["studies_deleted"] == 1
    assert archived(gateway, "ct-thorax") == []
    assert [len(archived(gateway, one)) for one in ("us-heart", "cr-uncoupled", "sr-report")] == [4, 3, 2]
    assert report.kept == {
        "its transfer into BRAINAGE is held": 1,
        "it waits for a person": 1,
        "it has not arrived completely": 1,
    }


def test_nothing_goes_while_there_is_room_or_the_last_image_is_young(gateway: Gateway) -> None:
    gateway.receive("sr-report")
    gateway.settle()
    assert clean(gateway, roomy).kept == {"the disk is not above 80 %": 1}
    assert clean(gateway, full, after=0.5 * HOUR).kept == {"its last image came less than an hour ago": 1}
    assert len(archived(gateway, "sr-report")) == 2
    shown = materialize(gateway, housekeeping.disk_cleanup)
    assert (shown["exports_deleted"], shown["stale_links"]) == (0, 0)
    assert shown["kept_because"] == "- 1 x its last image came less than an hour ago"


def test_a_study_with_late_images_or_an_undelivered_package_stays(gateway: Gateway) -> None:
    gateway.receive("mr-head")
    gateway.settle()
    gateway.send(*gateway.samples["mr-head"].late)
    assert clean(gateway).kept == {"late images wait": 1}
    study = gateway.study("mr-head")
    gateway.run(Phase.INTAKE, study.key)
    gateway.run(Phase.TRANSFER, study.key)
    assert clean(gateway).kept == {"it is being worked on": 1}
    assert len(archived(gateway, "mr-head")) == 14


def test_a_study_that_was_cleaned_up_works_again_when_it_is_sent_again(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    gateway.settle()
    assert clean(gateway).counts["studies_deleted"] == 1
    assert discrepancies(gateway.ledger, gateway.settings) == []
    some, rest = gateway.samples["ct-thorax"].files[:5], gateway.samples["ct-thorax"].files[5:]
    gateway.send(*some)
    assert gateway.study("ct-thorax").purged_at is not None, "seven are still missing"
    assert discrepancies(gateway.ledger, gateway.settings) == []
    gateway.send(*rest)
    assert gateway.study("ct-thorax").purged_at is None
    assert discrepancies(gateway.ledger, gateway.settings) == []
    command(gateway, "resend", study.key)
    gateway.settle()
    (transfer,) = gateway.ledger.transfers.of_study(study.key)
    assert (transfer.state, transfer.generation) == (TransferState.DELIVERED, 1)
    assert gateway.study("ct-thorax").revision == 1
    assert len(archived(gateway, "ct-thorax")) == 12


def test_late_images_of_a_study_that_was_cleaned_up_wait_for_the_others(gateway: Gateway) -> None:
    study = gateway.receive("mr-head")
    gateway.settle()
    clean(gateway)
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.run(Phase.INTAKE, study.key)
    failed = gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    assert "cleaned up" in str(failures(failed))
    assert discrepancies(gateway.ledger, gateway.settings) == []
    gateway.receive("mr-head")
    command(gateway, "resend", study.key)
    gateway.settle()
    (transfer,) = gateway.ledger.transfers.of_study(study.key)
    assert (transfer.state, transfer.revision) == (TransferState.DELIVERED, 2)
    assert gateway.ledger.transfers.balance(transfer.id).released == 14


def test_an_image_that_comes_while_its_study_is_deleted_stays(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiona_dagster.adapters import cleanup

    gateway.receive("mr-head")
    gateway.settle()
    remove = cleanup.remove_copies

    def late_image(*arguments: object) -> object:
        gateway.send(*gateway.samples["mr-head"].late)
        return remove(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cleanup, "remove_copies", late_image)
    clean(gateway)
    assert len(archived(gateway, "mr-head")) == 3
    assert discrepancies(gateway.ledger, gateway.settings) == []
    assert [one.key for one in gateway.ledger.studies.arriving()] == [gateway.study("mr-head").key]


def test_a_package_stays_until_every_destination_of_its_project_confirmed_it(
    gateway: Gateway, tmp_path: Path
) -> None:
    client = gateway.resource.registry.client("DataTransferProjects")  # type: ignore[union-attr]
    client.write_rows([{"record_id": "BRAINAGE", "redcap_repeat_instrument": "destinations",
                        "redcap_repeat_instance": "2", "dest_name": "shelf", "dest_type": "1",
                        "dest_url": f"file://{tmp_path}/shelf"}])  # fmt: skip
    gateway.ledger.inventory.save_snapshot("projects", {"at": 0, "rows": []}, now=0)
    shelf = tmp_path / "shelf"
    shelf.write_text("no folder yet")
    gateway.receive("sr-report")
    study = gateway.study("sr-report")
    for phase in (Phase.INTAKE, Phase.TRANSFER):
        gateway.run(phase, study.key)
    gateway.run(Phase.EXPORT, study.key)
    outbox = gateway.site.layout.outbox
    assert clean(gateway).counts["exports_deleted"] == 0
    (package,) = outbox.glob("*.zip")
    (waiting,) = gateway.ledger.deliveries.waiting()
    assert (waiting.study_key, waiting.state) == (study.key, "failed")
    assert "delivery: destination 'shelf' has no folder" in waiting.reason
    assert [one.destination for one in gateway.ledger.deliveries.of_transfer(1) if one.kind == "package"] == [
        "lab"
    ]
    shelf.unlink()
    shelf.mkdir()
    command(gateway, "resend", study.key)
    gateway.settle()
    assert {one.destination for one in gateway.ledger.deliveries.of_transfer(1) if one.kind == "package"} == {
        "lab",
        "shelf",
    }
    assert sorted(one.name for one in outbox.iterdir()) == ["_delivered"]
    assert not gateway.ledger.deliveries.waiting()
    built = (outbox / "_delivered" / package.name).read_bytes()
    assert clean(gateway, roomy).counts["exports_deleted"] == 0
    month = gateway.settings.outbox.keep_days * 86_400.0 / HOUR
    assert clean(gateway, roomy, after=(month - 24) * HOUR).counts["exports_deleted"] == 0
    assert clean(gateway, roomy, after=(month + 24) * HOUR).counts["exports_deleted"] == 1
    assert list((outbox / "_delivered").iterdir()) == []
    command(gateway, "resend", study.key)
    gateway.settle()
    assert (outbox / "_delivered" / package.name).read_bytes() == built, "a resend makes the same bytes"
    assert clean(gateway).counts["exports_deleted"] == 1
    assert list((outbox / "_delivered").iterdir()) == []
    assert (shelf / package.name).exists()


def test_a_study_that_reached_its_end_leaves_dagster_with_its_runs_and_a_resend_brings_it_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, held = gateway.receive("sr-report"), gateway.receive("cr-uncoupled")
    gateway.settle()
    assert set(keys(gateway)) == {ended.key, held.key}
    runs = {run.run_id: run.tags["dagster/partition"] for run in gateway.instance.get_runs()}
    assert materialize(gateway, housekeeping.retired_partitions)["keys_retired"] == 0, "too early"

    at(monkeypatch, 31 * DAY)
    hand = dg.DagsterRun("transfer", run_id="by-hand", tags={"dagster/partition": held.key})
    gateway.instance.add_run(hand)
    assert materialize(gateway, housekeeping.retired_partitions)["runs_deleted"] >= 3
    assert keys(gateway) == [held.key], "a run of it is not finished"
    for run_id, key in runs.items():
        assert gateway.instance.has_run(run_id) == (key == held.key)
        assert bool(gateway.instance.all_logs(run_id)) == (key == held.key)
    gateway.instance.report_run_failed(hand, "ended")
    assert materialize(gateway, housekeeping.retired_partitions)["keys_retired"] == 1
    assert keys(gateway) == [], "it waited for a person too long"

    command(gateway, "resend", ended.key)
    gateway.settle()
    assert keys(gateway) == [ended.key]
    (transfer,) = gateway.ledger.transfers.of_study(ended.key)
    assert transfer.state == TransferState.DELIVERED

    coupling = gateway.resource.registry.client("CouplingList")  # type: ignore[union-attr]
    coupling.write_rows([{"record_id": "77", "cl_accessionnumber": held.accession_number,
                          "cl_projectname": "HEART", "cl_subjectid": "H12"}])  # fmt: skip
    due = late_decisions_due(gateway.resource)
    asked = requests_for(due, gateway.instance, now=time.time())
    assert isinstance(asked, dg.SensorResult)
    assert [list(one.partition_keys) for one in asked.dynamic_partitions_requests or []] == [[held.key]]
    gateway.run(Phase.TRANSFER, held.key)
    gateway.settle()
    assert gateway.study("cr-uncoupled").retired_at is None

    at(monkeypatch, 62 * DAY)
    assert materialize(gateway, housekeeping.retired_partitions)["keys_retired"] == 2
    assert keys(gateway) == []


def test_old_runs_of_housekeeping_are_forgotten_and_young_ones_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fiona_dagster.definitions import defs

    job = defs().resolve_job_def("reconciliation_job")
    first = job.execute_in_process(instance=gateway.instance, resources={"gateway": gateway.resource})
    materialize(gateway, housekeeping.retired_partitions)
    assert gateway.instance.has_run(first.run_id)
    at(monkeypatch, 8 * DAY)
    materialize(gateway, housekeeping.retired_partitions)
    assert not gateway.instance.has_run(first.run_id)
