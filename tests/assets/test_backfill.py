"""Many studies one after the other, and all of them once more, as a backfill of the pages asks for it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.transfer import TransferState
from tests.gateway import running_gateway

STUDIES = ("ct-thorax", "sr-report", "cr-uncoupled")


def test_a_backfill_over_all_studies_and_phases_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        for name in STUDIES:
            gateway.receive(name)
        gateway.settle()
        ledger, shelf = gateway.ledger, gateway.folder / "sftp" / "incoming"

        def stands() -> tuple[object, ...]:
            transfers = [
                (one.project, one.state, one.revision, one.generation) for one in ledger.transfers.all()
            ]
            files = {one.name: (one.stat().st_ino, one.stat().st_mtime_ns) for one in shelf.iterdir()}
            return transfers, files, ledger.inventory.totals().balance

        before = stands()
        for phase in Phase:
            for name in STUDIES:
                gateway.run(phase, gateway.study(name).key)
        assert stands() == before
        assert {one.state for one in ledger.transfers.all()} == {TransferState.DELIVERED}
        assert discrepancies(ledger, gateway.settings) == []
        done = gateway.instance.get_materialized_partitions(dg.AssetKey("delivered_package"))
        assert set(done) == {gateway.study(name).key for name in STUDIES if name != "cr-uncoupled"}
