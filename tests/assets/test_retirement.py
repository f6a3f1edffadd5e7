"""Copies taken back from a real archive, SFTP server, outbox and disk; and what stays, said to a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fiona_dagster.adapters.dicom_scu import query_instances
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.adapters.retirement import carry_out
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.retirement import WITHDRAWN_BEFORE, Outcome
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.embedded.pacs_faults import Faults
from tests.gateway import Gateway, running_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        content = json.loads(made.config_file.read_text())
        content["RESEARCHPACS"]["REJECTIONNOTES"] = True
        made.config_file.write_text(json.dumps(content))
        yield made
        assert discrepancies(made.ledger, made.settings) == []
        assert made.ledger.inventory.totals().balance.holds


def run(gateway: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(fiona, [*arguments, "--config", str(gateway.config_file)])


def transfers(gateway: Gateway, name: str) -> list[Transfer]:
    return gateway.ledger.transfers.of_study(gateway.study(name).key)


def shown(gateway: Gateway, transfer: Transfer) -> int:
    rows = [row for row in gateway.ledger.transfers.release_rows(transfer.id) if row.study_instance_uid]
    pacs = gateway.resource.settings.research_pacs
    assert pacs is not None
    return len(query_instances(pacs, "TEST", rows[0].study_instance_uid))


def delivered(gateway: Gateway) -> list[str]:
    return sorted(one.name for one in (gateway.folder / "sftp" / "incoming").iterdir())


def test_a_withdrawn_participants_copies_are_gone_everywhere_with_signed_receipts_and_nothing_follows(
    gateway: Gateway,
) -> None:
    study = gateway.receive("mr-head")
    gateway.receive("ct-thorax")
    gateway.settle()
    (mine,), (other,) = transfers(gateway, "mr-head"), transfers(gateway, "ct-thorax")
    done = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    receipts = json.loads(done.output)["content"]["receipts"]
    assert {(one["kind"], one["outcome"]) for one in receipts} == {
        ("pacs", "gone"), ("package", "gone"), ("outbox", "gone"), ("copies", "gone"),
    }  # fmt: skip
    for value in (study.patient_id, study.patient_name, study.accession_number, study.study_instance_uid):
        assert value not in done.output
    assert (shown(gateway, mine), shown(gateway, other)) == (0, 12)
    assert not [one for one in delivered(gateway) if mine.participant in one]
    assert [one for one in delivered(gateway) if other.participant in one]
    assert not list(gateway.settings.layout.outbox.glob(f"*_{mine.participant}_*"))
    assert gateway.ledger.retirements.due() == []
    (retired,) = transfers(gateway, "mr-head")
    assert (retired.state, gateway.study("mr-head").given_up_at is not None) == (TransferState.RETIRED, True)
    # late images, the coupling list, a resend and an assignment bring nothing back
    gateway.send(*gateway.samples["mr-head"].late)
    gateway.settle()
    assert [one.state for one in transfers(gateway, "mr-head")] == [TransferState.RETIRED]
    refused = run(gateway, "assign", study.key, "--project", mine.project, "--participant", mine.participant)
    assert isinstance(refused.exception, ConfigurationError)
    assert shown(gateway, mine) == 0
    again = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant)
    assert again.exit_code == 0


def test_what_comes_for_a_withdrawn_participant_is_held_for_a_person(gateway: Gateway) -> None:
    gateway.ledger.retirements.withdraw("BRAINAGE", "BA-001", who="x", now=1.0)
    first = next(name for name, one in gateway.samples.items() if one.coupled)
    study = gateway.receive(first)
    gateway.run(Phase.INTAKE, study.key)
    gateway.run(Phase.TRANSFER, study.key, succeeds=False)
    (held,) = transfers(gateway, first)
    assert (held.state, held.reason) == (TransferState.HELD, WITHDRAWN_BEFORE)
    assert delivered(gateway) == []


def test_a_wrong_participant_is_amended_within_the_project_and_the_right_copy_takes_the_place(
    gateway: Gateway,
) -> None:
    study = gateway.receive("ct-thorax")
    gateway.settle()
    (wrong,) = transfers(gateway, "ct-thorax")
    gateway.pacs.takes_rejection_notes = False  # it keeps the note as any other document
    done = run(
        gateway, "amend", study.key, "--project", "BRAINAGE", "--participant", "BA-999", "--event", "Baseline"
    )
    assert done.exit_code == 1
    assert "took the rejection note and still shows them" in done.output
    gateway.settle()
    _, right = transfers(gateway, "ct-thorax")
    assert right.state == TransferState.HELD
    assert (
        "the wrong assignment that this one replaces: delete them there; this goes on by itself"
        in right.reason
    )
    assert "fiona amend" not in right.reason
    for row in gateway.ledger.transfers.release_rows(wrong.id):  # the archive's administrator does
        gateway.pacs.index.remove(row.sop_instance_uid)
    assert gateway.ledger.retirements.due() == [wrong.id]
    receipts = carry_out(
        gateway.ledger, gateway.resource.settings, gateway.resource.projects(), wrong.id, clock=lambda: 5.0
    )
    assert {one.outcome for one in receipts} == {Outcome.GONE}
    gateway.settle()
    assert [one.state for one in transfers(gateway, "ct-thorax")] == [
        TransferState.RETIRED,
        TransferState.DELIVERED,
    ]
    assert {name.split("_")[1] for name in delivered(gateway)} == {"BA-999"}


def test_an_archive_that_is_down_and_a_package_that_was_taken_are_told_apart(gateway: Gateway) -> None:
    study = gateway.receive("sr-report")
    gateway.settle()
    (mine,) = transfers(gateway, "sr-report")
    for one in (gateway.folder / "sftp" / "incoming").iterdir():
        one.unlink()  # the laboratory fetched it
    gateway.pacs.faults = Faults(query_status=0xC000)
    done = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant)
    assert done.exit_code == 1
    kinds = {one.kind: one.outcome for one in gateway.ledger.retirements.receipts(mine.id)}
    assert kinds["package"] is Outcome.PERSON
    assert kinds["pacs"] is Outcome.LATER
    assert gateway.ledger.retirements.due() == [mine.id]
    gateway.pacs.faults = Faults()
    run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant)
    kinds = {one.kind: one.outcome for one in gateway.ledger.retirements.receipts(mine.id)}
    assert (kinds["pacs"], kinds["package"]) == (Outcome.GONE, Outcome.PERSON)
    assert study.key not in delivered(gateway)
