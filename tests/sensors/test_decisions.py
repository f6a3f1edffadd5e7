"""What REDCap shows later: only the studies that it names are looked up, however many there ever were."""

from __future__ import annotations

from pathlib import Path

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import Studies
from fiona_dagster.domain.phases import Phase
from tests.factories import received
from tests.gateway import running_gateway


def test_an_assignment_in_redcap_is_found_without_reading_every_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every_study(_: Studies) -> None:
        raise AssertionError("every study was read")

    with running_gateway(tmp_path) as gateway:
        study = gateway.receive("cr-uncoupled")
        gateway.run(Phase.INTAKE, study.key)
        gateway.run(Phase.TRANSFER, study.key)
        monkeypatch.setattr(Studies, "all", every_study)
        assert gateway.late_decisions() == []
        incoming = gateway.resource.registry.client("Incoming")  # type: ignore[union-attr]
        incoming.write_rows([{
            "study_instance_uid": study.study_instance_uid, "redcap_repeat_instrument": "transfers",
            "redcap_repeat_instance": "1", "transfer_project_name": "BRAINAGE", "transfer_name": "BA-077",
            "transfer_requested_date": "2026-11-20 10:00", "transfer_status": "0",
        }])  # fmt: skip
        assert gateway.late_decisions() == [study.key]


def test_studies_are_found_by_their_uids_the_newest_of_several_sites(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    for site, at in (("P", 2.0), ("ABCD", 1.0)):
        ledger.reception.record([(received("1.2.3", site=site, received_at=at), None)])
    ledger.reception.record([(received("1.2.4"), None)])
    many = {"1.2.3", "1.2.5", *(f"9.{number}" for number in range(1200))}
    assert {uid: one.site for uid, one in ledger.studies.by_uid(many).items()} == {"1.2.3": "P"}
    assert ledger.studies.by_uid(set()) == {}
