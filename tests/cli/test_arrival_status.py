"""What is incomplete is shown: by `fiona status` with what is missing, by `fiona find` with what it waits for."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from fiona_dagster.adapters.clock import moment
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.arrival import Completes, Shortfall
from fiona_dagster.domain.commitment import CommitmentRequest, Reference
from fiona_dagster.domain.procedures import CreatedProcedure, ProcedureChange, ProcedureState
from tests.factories import received


def test_incomplete_studies_and_undelivered_commitments_are_shown_without_a_uid(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"DATADIR": str(tmp_path), "DICOMIP": "127.0.0.1"}))
    ledger, now = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite"), moment().at
    keys = ledger.reception.record(
        [(received(uid, f"{uid}.1.1", received_at=now - 60), None) for uid in ("1.2.77", "1.2.88")]
    )
    ledger.procedures.create("ABCD", "CT1", CreatedProcedure("1.9", ("1.2.77",), "CT1", "CT", {}))
    named = {"1.2.77.1": ("1.2.77.1.1", "1.2.77.1.2")}
    ledger.procedures.change("ABCD", "1.9", ProcedureChange(ProcedureState.COMPLETED, named))
    ledger.studies.arrive(
        keys["1.2.88"], instance_count=1, expected=3, now=now, run_id="r",
        finding=Completes("2 instance(s) missing: given up after 24.0 h", complete=False),
        shortfalls=[Shortfall("MR", 3, 1)],
    )  # fmt: skip
    request = CommitmentRequest("1.8", (Reference("1.2", "1.2.77.1.1"),))
    asked = ledger.commitments.request("ABCD", "CT1", "FIONA", request, worker="w", now=now, until=now)
    ledger.commitments.undelivered(asked.id, "no answer", attempts=3, again_at=now + 60)
    arguments = ["--config", str(tmp_path / "config.json")]
    facts = json.loads(CliRunner().invoke(fiona, ["status", "--json", *arguments]).stdout)
    shown = CliRunner().invoke(fiona, ["status", *arguments]).output
    found = CliRunner().invoke(fiona, ["find", "1.2.77", *arguments], env={"COLUMNS": "300"}).output
    (waiting,) = facts["incomplete_studies"]["waiting"]
    assert (waiting["study"], waiting["series"]) == (
        keys["1.2.77"], [{"modality": "CT", "expected": 2, "received": 1}],
    )  # fmt: skip
    (went_on,) = facts["incomplete_studies"]["went_on"]
    assert (went_on["study"], went_on["revision"]) == (keys["1.2.88"], 1)
    assert facts["commitments"]["requests"] == {"pending": 1}
    text = " ".join(shown.split())
    assert f"{keys['1.2.77']} waits, incomplete: 1 instance(s) missing" in text
    assert f"{keys['1.2.88']} went on incomplete" in text
    assert "(MR 1 of 3)" in text
    assert "CT1: report to be sent again after 3 attempts: no answer" in text
    assert "arriving: 1 instance(s) missing" in found
    assert "(CT 1 of 2)" in found
    later = CliRunner().invoke(fiona, ["find", "1.2.88", *arguments], env={"COLUMNS": "300"}).output
    assert "incomplete: 2 instance(s) missing: given up after 24.0 h (MR 1 of 3)" in " ".join(later.split())
    assert "1.2.77" not in json.dumps(facts) + shown + found.replace("fiona find 1.2.77", "")
