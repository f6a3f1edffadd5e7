"""The whole chain, run in-process against real servers: what every stage promises."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from pydicom import dcmread
from sqlalchemy import delete, select

from fiona_dagster.adapters import configuration
from fiona_dagster.adapters.cleanup import remove_copies, remove_study
from fiona_dagster.adapters.dicom_scu import query_instances
from fiona_dagster.adapters.ledger.schema import audit, release
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.adapters.redcap import client
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.registration import BurnedIn, TransferStatus
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import CLEANED_UP, Balance, Transfer, TransferState
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.redcap.server import RedcapServer
from tests.gateway import Gateway, failures, running_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made
        assert discrepancies(made.ledger, made.settings) == []
        assert made.ledger.inventory.totals().balance.holds


def only_transfer(gateway: Gateway, name: str) -> Transfer:
    (transfer,) = gateway.ledger.transfers.of_study(gateway.study(name).key)
    return transfer


def in_pacs(gateway: Gateway, transfer: Transfer) -> int:
    """Copies of the transfer's study in the research PACS, by its own answer; all of them must be released ones."""
    rows = [row for row in gateway.ledger.transfers.release_rows(transfer.id) if row.path]
    there = query_instances(gateway.settings.research_pacs, "TEST", rows[0].study_instance_uid)
    assert there <= {row.sop_instance_uid for row in rows}
    return len(there)


def packages(gateway: Gateway) -> list[Path]:
    return sorted((gateway.folder / "sftp" / "incoming").glob("*.zip"))


def command(gateway: Gateway, *arguments: str) -> str:
    result = CliRunner().invoke(fiona, [*arguments, "--config", str(gateway.config_file)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_a_coupled_study_goes_all_the_way(gateway: Gateway) -> None:
    gateway.receive("ct-thorax")
    gateway.settle()
    transfer = only_transfer(gateway, "ct-thorax")
    assert (transfer.state, transfer.project) == (TransferState.DELIVERED, "BRAINAGE")
    assert gateway.ledger.transfers.balance(transfer.id) == Balance(12, released=12)
    assert in_pacs(gateway, transfer) == 12
    (package,) = packages(gateway)
    assert package.name.startswith(f"BRAINAGE_{transfer.participant}_Baseline_2.25.")
    assert len([n for n in zipfile.ZipFile(package).namelist() if n.endswith(".dcm")]) == 12
    listed = package.with_name(package.name + ".md5").read_text().split()[0]
    assert listed == hashlib.md5(package.read_bytes()).hexdigest()


def test_a_delivered_package_is_proven_to_whoever_has_the_sites_public_key(gateway: Gateway) -> None:
    gateway.receive("ct-thorax")
    gateway.settle()
    (package,) = packages(gateway)
    public = gateway.folder / "site.pem"
    result = CliRunner().invoke(fiona, ["keys", "--config", str(gateway.config_file), "public"])
    public.write_text(result.stdout)
    result = CliRunner().invoke(fiona, ["verify", str(package), "--public-key", str(public)])
    assert result.exit_code == 0, result.output
    (proof,) = json.loads(result.stdout)["proofs"]
    transfer = only_transfer(gateway, "ct-thorax")
    assert proof["signature"] == "known"
    assert proof["counts"] == {"received": 12, "released": 12, "held": 0, "excluded": 0, "failed": 0}
    assert (proof["participant"], proof["revision"]) == (transfer.participant, 1)
    study = gateway.study("ct-thorax")
    (kept,) = (gateway.settings.layout.datadir / "proofs" / study.key).glob(
        f"BRAINAGE-{transfer.id}.1.*.json"
    )
    assert zipfile.ZipFile(package).read("proof.json") == kept.read_bytes()
    for value in (study.patient_id, study.patient_name, study.accession_number, study.study_instance_uid):
        assert value not in kept.read_text()


def test_late_images_follow_as_a_revision_under_the_same_pseudonyms_and_only_they_are_sent(
    gateway: Gateway,
) -> None:
    gateway.receive("mr-head")
    gateway.settle()
    before = gateway.ledger.transfers.release_rows(only_transfer(gateway, "mr-head").id)
    first = {row.sop_instance_uid: row.sha256 for row in before}
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.settle()
    transfer = only_transfer(gateway, "mr-head")
    second = {r.sop_instance_uid: r.sha256 for r in gateway.ledger.transfers.release_rows(transfer.id)}
    assert (transfer.revision, transfer.state) == (2, TransferState.DELIVERED)
    assert in_pacs(gateway, transfer) == 14
    assert first.items() <= second.items()
    assert len({r.study_instance_uid for r in gateway.ledger.transfers.release_rows(transfer.id)}) == 1
    assert len(packages(gateway)) == 1


def test_after_a_rotation_late_images_follow_their_study_and_a_new_participant_gets_the_new_key(
    gateway: Gateway,
) -> None:
    gateway.receive("mr-head")
    gateway.settle()
    old = only_transfer(gateway, "mr-head")
    first = {r.sop_instance_uid: r.sha256 for r in gateway.ledger.transfers.release_rows(old.id)}
    rotated = CliRunner().invoke(fiona, ["keys", "--config", str(gateway.config_file), "rotate", "BRAINAGE"])
    assert rotated.exit_code == 0, rotated.output
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.receive("ct-thorax")
    gateway.settle()
    rows = gateway.ledger.transfers.release_rows(old.id)
    second = {r.sop_instance_uid: r.sha256 for r in rows}
    assert (len(first), len(second)) == (11, 14)
    assert first.items() <= second.items(), "the same bytes: UIDs, dates and accession number"
    assert len({r.study_instance_uid for r in rows}) == 1
    keys = gateway.resource.keyring.projects()["BRAINAGE"].keys
    late, new = only_transfer(gateway, "mr-head"), only_transfer(gateway, "ct-thorax")
    assert [late.key_id, new.key_id] == [keys[0].id, keys[1].id] == [old.key_id, keys[1].id]
    assert (late.state, new.state) == (TransferState.DELIVERED, TransferState.DELIVERED)
    proofs = gateway.settings.layout.datadir / "proofs"
    named = {json.loads(one.read_text())["content"]["key_id"] for one in proofs.rglob("*.json")}
    assert named == {keys[0].id, keys[1].id}
    command(
        gateway,
        "assign",
        gateway.study("ct-thorax").key,
        "--project",
        "BRAINAGE",
        "--participant",
        old.participant,
        "--also",
    )
    gateway.settle()
    assert {one.key_id for one in gateway.ledger.transfers.of_study(gateway.study("ct-thorax").key)} == {
        keys[0].id,
        keys[1].id,
    }, "a participant keeps the key of the first study"


def test_sending_again_changes_nothing_at_the_destinations(gateway: Gateway) -> None:
    study = gateway.receive("sr-report")
    gateway.settle()
    (package,) = packages(gateway)
    before = (package.stat().st_ino, package.stat().st_mtime_ns)
    for _ in range(2):
        command(gateway, "resend", study.key)
        gateway.settle()
    for phase in (Phase.TRANSFER, Phase.EXPORT):  # what "Materialize" in the pages does
        gateway.run(phase, study.key)
    transfer = only_transfer(gateway, "sr-report")
    assert transfer.state == TransferState.DELIVERED
    assert (package.stat().st_ino, package.stat().st_mtime_ns) == before
    assert in_pacs(gateway, transfer) == 2


def test_the_same_images_again_reopen_nothing(gateway: Gateway) -> None:
    study = gateway.receive("ct-corrupt")
    gateway.settle()
    gateway.receive("ct-corrupt")
    assert gateway.study("ct-corrupt").revision == study.revision + 1 == 1
    assert gateway.ledger.studies.arriving() == []


def test_other_content_under_a_known_uid_is_held_and_the_rest_released(gateway: Gateway) -> None:
    gateway.receive("mr-same-uid")
    gateway.send(*gateway.samples["mr-same-uid"].other_content)
    gateway.settle()
    transfer = only_transfer(gateway, "mr-same-uid")
    assert gateway.ledger.transfers.balance(transfer.id) == Balance(8, released=7, held=1)
    assert gateway.ledger.inventory.totals().held_reasons == {"same SOP Instance UID, other content": 1}


def test_a_study_that_nothing_claims_is_held_until_a_person_assigns_it(gateway: Gateway) -> None:
    study = gateway.receive("cr-uncoupled")
    gateway.settle()
    assert "waiting for assignment" in str(gateway.study("cr-uncoupled").held_reason)
    wrong = ["assign", study.key, "--project", "BRAINAGE", "--participant", "Åse"]
    refused = CliRunner().invoke(fiona, [*wrong, "--config", str(gateway.config_file)])
    assert "naming rule" in str(refused.exception)
    command(
        gateway,
        "assign",
        study.key,
        "--project",
        "BRAINAGE",
        "--participant",
        "BA-900",
        "--event",
        "Baseline",
    )
    gateway.settle()
    assert gateway.study("cr-uncoupled").held_reason is None
    transfer = only_transfer(gateway, "cr-uncoupled")
    assert transfer.source == "assign"
    assert transfer.state == TransferState.DELIVERED


def test_an_entry_that_was_made_after_the_study_arrived_counts(gateway: Gateway) -> None:
    study = gateway.receive("cr-uncoupled")
    gateway.settle()
    assert gateway.late_decisions() == []
    coupling = gateway.resource.registry.client("CouplingList")
    coupling.write_rows([{"record_id": "77", "cl_accessionnumber": "HUS2400006", "cl_projectname": "HEART",
                          "cl_subjectid": "H12", "cl_date": time.strftime("%Y-%m-%d 10:00")}])  # fmt: skip
    assert gateway.late_decisions() == [study.key]
    gateway.run(Phase.TRANSFER, study.key)
    assert only_transfer(gateway, "cr-uncoupled").project == "HEART"
    assert gateway.late_decisions() == []


def test_a_copy_that_changed_before_verification_is_held_and_never_forwarded(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    for phase in (Phase.INTAKE,):
        gateway.run(phase, study.key)
    from fiona_dagster.definitions import defs

    assets = ["transfer_decision", "deidentified_copy"]
    job = dg.define_asset_job("half", selection=dg.AssetSelection.assets(*assets).without_checks())
    half = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def("half")
    assert half.execute_in_process(
        partition_key=study.key, instance=gateway.instance, resources={"gateway": gateway.resource}
    ).success
    transfer = only_transfer(gateway, "ct-thorax")
    row = gateway.ledger.transfers.release_rows(transfer.id)[0]
    copy = gateway.site.layout.datadir / row.path
    content = bytearray(copy.read_bytes())
    content[-1] ^= 0xFF
    copy.write_bytes(content)
    from fiona_dagster.assets.releases import verify_transfer

    checks = {
        c.name: c for c in verify_transfer(gateway.resource, gateway.study("ct-thorax"), transfer, run_id="t")
    }
    assert not checks["pixels_unchanged"].passed
    held = only_transfer(gateway, "ct-thorax")
    assert (held.state, held.reason.split(":")[0]) == (TransferState.HELD, "verification")
    assert gateway.ledger.transfers.balance(transfer.id) == Balance(12, held=12)
    assert not copy.exists()
    assert len(list((gateway.site.layout.quarantine / "unverified").rglob("*.dcm"))) == 12


def test_a_pacs_that_loses_images_is_found_out_and_gets_them_again(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, study.key)
    gateway.pacs.faults = Faults(drop_every=1)
    failed = gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    assert "does not show" in str([e for e in failed.all_events if e.is_step_failure])
    assert only_transfer(gateway, "ct-thorax").state == TransferState.REQUESTED
    gateway.pacs.faults = Faults()
    gateway.settle()
    assert in_pacs(gateway, only_transfer(gateway, "ct-thorax")) == 12


def test_redcap_being_down_stops_registration_and_nothing_else_and_is_made_up_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day without REDCap: routed studies go on to the end, new ones are received and wait in the ledger."""
    monkeypatch.setattr(client, "_wait", lambda _seconds: None)
    routed = gateway.receive("sr-report")
    gateway.run(Phase.INTAKE, routed.key)
    gateway.run(Phase.TRANSFER, routed.key)
    port = int(gateway.redcap.page_url.rstrip("/").rpartition(":")[2])
    gateway.redcap.stop()
    gateway.run(Phase.TRANSFER, routed.key)  # again: de-identified, verified and forwarded without REDCap
    gateway.run(Phase.EXPORT, routed.key)
    assert only_transfer(gateway, "sr-report").state == TransferState.DELIVERED
    new = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, new.key, succeeds=False)
    assert gateway.ledger.studies.get(new.key).revision == 1
    assert gateway.ledger.studies.unregistered() == [(new.key, 1)]
    with RedcapServer(gateway.redcap.database.path, port=port):
        gateway.settle()
        assert only_transfer(gateway, "ct-thorax").state == TransferState.DELIVERED
        study = gateway.ledger.studies.get(routed.key)
        for key in gateway.ledger.transfers.untold():  # as reconciliation does
            tell_registry(gateway.resource, gateway.ledger.studies.get(key), logging.getLogger(__name__))
        told = gateway.resource.registry.client("Incoming").rows()
    done = str(int(TransferStatus.DONE))
    assert {row["study_instance_uid"]: row["transfer_status"] for row in told if row["transfer_key"]} == {
        study.study_instance_uid: done,
        new.study_instance_uid: done,
    }
    assert gateway.ledger.transfers.untold() == []


def test_redcap_is_told_what_became_of_a_study_and_knows_the_patient_only_as_a_hash(gateway: Gateway) -> None:
    study = gateway.receive("us-heart")
    gateway.settle()
    incoming = gateway.resource.registry.client("Incoming")
    rows = incoming.rows(records=[study.study_instance_uid])
    text = str(rows)
    assert study.patient_id not in text
    assert "Bjørkås" not in text
    transfers = [row for row in rows if row.get("redcap_repeat_instrument") == "transfers"]
    assert [row["transfer_project_name"] for row in transfers] == ["BRAINAGE"]
    assert transfers[0]["transfer_status"] == str(
        int(TransferStatus.FAILED)
    )  # held: its pixels may carry text
    series = [row for row in rows if row.get("redcap_repeat_instrument") == "series"]
    assert {row["series_burned_in"] for row in series} == {str(int(BurnedIn.SUSPECTED))}


def test_ultrasound_may_carry_text_and_is_held_unless_the_project_vouches_for_it(gateway: Gateway) -> None:
    gateway.receive("us-heart")
    gateway.settle()
    transfer = only_transfer(gateway, "us-heart")
    assert transfer.state == TransferState.HELD
    reasons = gateway.ledger.inventory.totals().held_reasons
    assert all(reason.startswith("pixels may carry burned-in text") for reason in reasons)
    assert sum(reasons.values()) == 4


def test_status_and_find_show_where_everything_stands_and_nothing_of_the_patient(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    gateway.settle()
    shown = CliRunner().invoke(fiona, ["status", "--config", str(gateway.config_file)])
    assert shown.exit_code == 0, shown.output
    found = command(gateway, "find", "HUS2400001")
    assert study.key in found
    for word in ("Ødegård", "13885512345"):
        assert word not in found + shown.output


def test_nothing_of_the_patient_stands_in_dagsters_records(gateway: Gateway) -> None:
    """Law 8, over every event that a whole chain writes, a failed run among them."""
    failing = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, failing.key)
    gateway.pacs.faults = Faults(drop_every=1)
    gateway.run(Phase.TRANSFER, failing.key, succeeds=False)
    gateway.pacs.faults = Faults()
    gateway.receive("sr-report")
    gateway.settle()
    words = {study.study_instance_uid for study in gateway.ledger.studies.all()}
    for study in gateway.ledger.studies.all():
        words |= {study.patient_id, study.accession_number, *study.patient_name.split("^")}
    words.discard("")
    text = "\n".join(
        str(log) for run in gateway.instance.get_runs() for log in gateway.instance.all_logs(run.run_id)
    )
    assert [word for word in words if word in text] == []


def test_images_that_arrive_between_a_copy_and_its_verification_belong_to_the_next_revision(
    gateway: Gateway,
) -> None:
    from fiona_dagster.assets.releases import deidentify_transfer, verify_transfer

    study = gateway.receive("mr-head")
    gateway.run(Phase.INTAKE, study.key)
    request = TransferRequest("BRAINAGE", "BA-002", "Baseline", "assign")
    transfer = gateway.ledger.transfers.request(study.key, request, now=1.0)
    deidentify_transfer(gateway.resource, gateway.study("mr-head"), transfer, run_id="t")
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.run(Phase.INTAKE, study.key)
    checks = verify_transfer(gateway.resource, gateway.study("mr-head"), transfer, run_id="t")
    assert all(check.passed for check in checks)
    gateway.settle()
    assert {one.revision for one in gateway.ledger.transfers.of_study(study.key)} == {2}


def test_a_pacs_that_has_the_study_under_another_participant_is_not_taken_for_reached(
    gateway: Gateway,
) -> None:
    study = gateway.receive("ct-corrupt")
    gateway.settle()
    other = ["assign", study.key, "--project", "BRAINAGE", "--participant", "BA-777"]
    refused = CliRunner().invoke(fiona, [*other, "--config", str(gateway.config_file)])
    assert refused.exit_code != 0
    assert "fiona amend" in str(refused.exception)
    assert len(gateway.ledger.transfers.of_study(study.key)) == 1
    command(gateway, *other, "--also")
    gateway.settle()
    first, second = gateway.ledger.transfers.of_study(study.key)
    assert first.state == TransferState.DELIVERED
    assert (second.participant, second.state) == ("BA-777", TransferState.HELD)
    assert "delete them there, then resend" in second.reason
    shown = " ".join(command(gateway, "status").split())
    assert f"transfer held: {second.reason} ({study.key} to BRAINAGE)" in shown
    for row in gateway.ledger.transfers.release_rows(second.id):  # somebody follows the advice
        gateway.pacs.index.remove(row.sop_instance_uid)
    command(gateway, "resend", study.key)
    gateway.run(Phase.TRANSFER, study.key)
    states = {one.participant: one.state for one in gateway.ledger.transfers.of_study(study.key)}
    assert TransferState.HELD in states.values()
    assert TransferState.FORWARDED in states.values()


def test_a_copy_that_is_lost_from_the_account_fails_verification(gateway: Gateway) -> None:
    from fiona_dagster.assets.releases import deidentify_transfer, verify_transfer

    study = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, study.key)
    request = TransferRequest("BRAINAGE", "BA-500", "", "assign")
    transfer = gateway.ledger.transfers.request(study.key, request, now=1.0)
    deidentify_transfer(gateway.resource, gateway.study("ct-thorax"), transfer, run_id="t")
    row = gateway.ledger.transfers.release_rows(transfer.id)[3]
    (gateway.site.layout.datadir / row.path).unlink()
    with gateway.ledger.begin() as connection:
        connection.execute(delete(release).where(release.c.instance_id == row.instance_id))
    checks = {
        c.name: c for c in verify_transfer(gateway.resource, gateway.study("ct-thorax"), transfer, run_id="t")
    }
    assert not checks["conservation"].passed
    assert only_transfer(gateway, "ct-thorax").state == TransferState.HELD
    assert not gateway.ledger.inventory.totals().balance.holds
    with gateway.ledger.begin() as connection:  # the fixture looks whether everything adds up
        connection.execute(delete(release))


def test_late_images_of_a_cleaned_up_study_wait_until_the_study_is_whole_again(gateway: Gateway) -> None:
    study = gateway.receive("mr-head")
    gateway.settle()
    ids = [one.id for one in gateway.ledger.studies.instances(study.key)]
    for path in gateway.samples["mr-head"].files:
        assert path.exists()
    remove_study(gateway.site.layout, study.study_instance_uid)
    remove_copies(gateway.site.layout, study.key)
    gateway.ledger.studies.purge(study.key, ids, now=2.0)
    gateway.run(Phase.TRANSFER, study.key)  # "Materialize" has nothing to do, and undoes nothing
    assert only_transfer(gateway, "mr-head").state == TransferState.DELIVERED
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.run(Phase.INTAKE, study.key)
    gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    held = only_transfer(gateway, "mr-head")
    assert (held.state, held.reason) == (TransferState.HELD, CLEANED_UP)
    gateway.receive("mr-head")
    gateway.settle()
    whole = only_transfer(gateway, "mr-head")
    assert (whole.state, whole.revision) == (TransferState.DELIVERED, 2)
    assert in_pacs(gateway, whole) == 14


def test_a_person_can_release_what_the_search_took_for_a_name_and_only_that(gateway: Gateway) -> None:
    for path in gateway.samples["ct-thorax"].files:
        dataset = dcmread(path)
        dataset.OtherPatientNames, dataset.ConvolutionKernel = "Lung^Smooth", "LUNG"
        dataset.FilterType = "WEDGE Smooth"
        dataset.save_as(path)
    study = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, study.key)
    gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    transfer = only_transfer(gateway, "ct-thorax")
    assert (transfer.state, transfer.reason) == (TransferState.HELD, "verification: no_removed_value_left")
    assert study.key in command(gateway, "status")
    words = ["release", study.key, "--because", "the kernel is LUNG", "--config", str(gateway.config_file)]
    refused = CliRunner().invoke(fiona, [*words, "--place", "ScanOptions"])
    assert "ConvolutionKernel, FilterType" in str(refused.exception)
    command(gateway, "release", study.key, "--because", "the kernel is LUNG", "--place", "ConvolutionKernel")
    gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    assert only_transfer(gateway, "ct-thorax").state == TransferState.HELD
    command(gateway, "release", study.key, "--because", "the filter", "--place", "FilterType")
    gateway.settle()
    assert only_transfer(gateway, "ct-thorax").state == TransferState.DELIVERED
    (package,) = packages(gateway)
    with zipfile.ZipFile(package) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("proof.json")]
        proof = archive.read(name).decode()
    assert [one["place"] for one in json.loads(proof)["content"]["accepted"]] == [
        "ConvolutionKernel",
        "FilterType",
    ]
    assert "LUNG" not in proof
    assert "the kernel is" not in proof
    assert "ConvolutionKernel" in CliRunner().invoke(fiona, ["verify", str(package)]).stderr
    with gateway.ledger.read() as connection:
        audited = (
            connection.execute(select(audit.c.subject).where(audit.c.action == "release")).scalars().all()
        )
    assert len(audited) == 2
    assert "the kernel is LUNG" in audited[0]


def test_studies_of_a_project_with_a_mistake_wait_until_it_is_mended(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = gateway.receive("cr-uncoupled")
    gateway.settle()
    asked = TransferRequest("BRAINAGE", "BA-900", "Baseline", "assign", "test")
    gateway.ledger.transfers.request(study.key, asked, now=1.0, run_id="")
    catalogue = configuration.project_catalogue
    with monkeypatch.context() as mistake:
        mistake.setattr(
            configuration,
            "project_catalogue",
            lambda *known: replace(
                catalogue(*known), blocked=(("BRAINAGE", "line 3: no such field"),), projects={}
            ),
        )
        (said, *_) = failures(gateway.run(Phase.TRANSFER, study.key, succeeds=False))
        assert "for now: project BRAINAGE waits until its mistake is mended: line 3" in said
        assert only_transfer(gateway, "cr-uncoupled").state == TransferState.REQUESTED
    gateway.settle()
    assert only_transfer(gateway, "cr-uncoupled").state == TransferState.DELIVERED
