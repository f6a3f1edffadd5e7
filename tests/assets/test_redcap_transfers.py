"""The rows of `transfers` in REDCap's Incoming: what a person reads there, and what happens when one asks there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from fiona_dagster.adapters.ledger.schema import transfer
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.registration import TransferStatus
from fiona_dagster.domain.transfer import TransferState
from tests.gateway import Gateway, running_gateway

DONE = str(int(TransferStatus.DONE))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made


def transfers_in_redcap(gateway: Gateway) -> list[dict[str, Any]]:
    rows = gateway.resource.registry.client("Incoming").rows()
    return [row for row in rows if row["redcap_repeat_instrument"] == "transfers"]


def minute(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() - seconds_ago))


def test_a_transfer_tells_what_asked_for_it_what_made_its_copies_and_which_run(gateway: Gateway) -> None:
    study = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, study.key)
    run = gateway.run(Phase.TRANSFER, study.key)
    gateway.run(Phase.EXPORT, study.key)
    (one,) = gateway.ledger.transfers.of_study(study.key)
    (row,) = transfers_in_redcap(gateway)
    assert one.state is TransferState.DELIVERED
    assert one.rule
    assert row["transfer_rule"] == one.rule
    assert row["transfer_profile"] == f"{one.profile}, {one.method_digest[:12]}"
    assert row["transfer_run_id"] == run.run_id, "the delivery that follows is no part of it"
    assert 0 <= int(row["transfer_active_proc_time"]) < 120
    assert row["transfer_num_files"] == "12"


def test_who_asks_in_redcap_for_what_cannot_be_is_told_there_and_is_heard_when_it_is_mended(
    gateway: Gateway,
) -> None:
    study = gateway.receive("cr-uncoupled")
    gateway.run(Phase.INTAKE, study.key)
    gateway.settle()
    incoming = gateway.resource.registry.client("Incoming")
    place = {"study_instance_uid": study.study_instance_uid, "redcap_repeat_instrument": "transfers",
             "redcap_repeat_instance": 1}  # fmt: skip
    asked = {"transfer_project_name": "HEART", "transfer_requested_date": minute(0)}
    incoming.write_rows([{**place, **asked, "transfer_name": "Kari Nordmann"}])
    assert gateway.late_decisions() == [study.key]
    gateway.run(Phase.TRANSFER, study.key)
    (row,) = transfers_in_redcap(gateway)
    assert row["transfer_status"] == str(int(TransferStatus.FAILED))
    assert "naming rule of project HEART" in row["transfer_error_message"]
    assert "Kari" not in row["transfer_error_message"]
    incoming.write_rows([{**place, "transfer_name": "H77"}])
    assert gateway.late_decisions() == [study.key]
    gateway.run(Phase.TRANSFER, study.key)
    gateway.settle()
    (row,) = transfers_in_redcap(gateway)
    assert (row["transfer_status"], row["transfer_name"]) == (DONE, "H77")
    assert "naming rule" not in row["transfer_error_message"]


def test_what_a_person_asks_for_again_in_redcap_is_sent_again(gateway: Gateway) -> None:
    """FIONA's resendProject: a later date of request, in the row that is there."""
    study = gateway.receive("ct-thorax")
    gateway.settle()
    (first,) = gateway.ledger.transfers.of_study(study.key)
    assert first.state is TransferState.DELIVERED
    (row,) = transfers_in_redcap(gateway)
    incoming = gateway.resource.registry.client("Incoming")
    place = {
        name: row[name]
        for name in ("study_instance_uid", "redcap_repeat_instrument", "redcap_repeat_instance")
    }
    with gateway.ledger.begin() as connection:  # all that was two hours ago
        connection.execute(update(transfer).values(requested_at=transfer.c.requested_at - 7200))
    incoming.write_rows([{**place, "transfer_requested_date": minute(7200), "transfer_date": minute(7140)}])
    assert gateway.late_decisions() == []
    incoming.write_rows(
        [{**place, "transfer_requested_date": minute(0), "transfer_requested_by": "a researcher"}]
    )
    assert gateway.late_decisions() == [study.key]
    gateway.run(Phase.TRANSFER, study.key)
    gateway.settle()
    (again,) = gateway.ledger.transfers.of_study(study.key)
    assert (again.id, again.state, again.requested_by) == (first.id, TransferState.DELIVERED, "a researcher")
    assert (again.generation, again.attempts) == (first.generation + 1, first.attempts + 1)
    assert gateway.late_decisions() == []
    (told,) = transfers_in_redcap(gateway)
    assert told["redcap_repeat_instance"] == row["redcap_repeat_instance"]
    assert told["transfer_status"] == DONE
    assert told["transfer_date"] >= told["transfer_requested_date"] >= minute(60)
