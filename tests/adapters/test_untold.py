"""REDCap is told of what it does not know, and of nothing else."""

from __future__ import annotations

from pathlib import Path

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.assets.registry_updates import standing
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import TransferState
from tests.factories import received


def test_only_studies_with_news_for_redcap_are_looked_at(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    ledger.studies.arrive(key, instance_count=1, expected=None, now=1.0, run_id="r")
    one = ledger.transfers.request(key, TransferRequest("HEART", "P1", "", "assign"), now=1.0)
    assert ledger.transfers.untold() == [], "REDCap does not know the study yet"
    ledger.studies.register(key, 1, now=1.0, run_id="r")
    assert ledger.transfers.untold() == [key]
    ledger.transfers.told_registry(one.id, standing(one))
    assert ledger.transfers.untold() == []
    ledger.transfers.set_state(one.id, TransferState.DELIVERED, now=2.0, revision=1)
    assert ledger.transfers.untold() == [key]
