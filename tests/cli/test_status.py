"""`fiona status`: queues with the age of the oldest, and services that answer or do not; neither is a failure."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._daemon.types import DaemonHeartbeat

from fiona_dagster.adapters import configuration
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.queues import queues
from fiona_dagster.cli.main import fiona
from fiona_dagster.cli.services import HEARTBEAT_SECONDS, daemon_heartbeat
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.embedded.pacs import EmbeddedPacs
from tests.conftest import free_port
from tests.factories import received


def test_queues_are_counted_with_the_oldest(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    keys = {}
    for number, uid in enumerate(("1.1", "1.2", "1.3", "1.4")):
        keys |= ledger.reception.record([(received(uid, received_at=100.0 + number), None)])
    for uid, at in (("1.3", 200.0), ("1.4", 150.0)):
        ledger.studies.arrive(keys[uid], instance_count=1, expected=None, now=at, run_id="r")
    ledger.transfers.request(keys["1.4"], TransferRequest("HEART", "P1", "", "assign"), now=300.0)
    assert queues(ledger) == {
        "studies arriving": (2, 100.0),
        "studies waiting for registration": (2, 150.0),
        "transfers requested": (1, 300.0),
        "transfers forwarded": (0, None),
        "packages waiting": (0, None),
        "packages failed": (0, None),
        "packages cancelled": (0, None),
    }


def test_the_status_names_every_service_and_fails_for_none(tmp_path: Path) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        content = {
            "DATADIR": str(tmp_path), "DICOMIP": "127.0.0.1", "DICOMPORT": free_port(),
            "RESEARCHPACS": {"AETITLE": pacs.ae_title, "IP": "127.0.0.1", "PORT": pacs.port},
            "REDCAP": {"url": f"http://127.0.0.1:{free_port()}/api/", "tokens": {}},
        }  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(content))
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
        arguments = ["status", "--config", str(tmp_path / "config.json")]
        result = CliRunner().invoke(fiona, [*arguments, "--json"])
        shown = CliRunner().invoke(fiona, arguments)
    assert (result.exit_code, shown.exit_code) == (0, 0)
    facts = json.loads(result.stdout)
    assert facts["services"] == {
        "receiver ABCD": "does not answer",
        "research PACS": "answers",
        "REDCap": "does not answer",
        "Dagster daemon": "was never started",
    }
    assert facts["queues"]["studies arriving"] == {"waiting": 0, "oldest_seconds": None}
    assert "research PACS: answers" in shown.output


def test_a_redcap_that_hangs_costs_the_status_seconds_and_nothing_of_what_the_ledger_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "_IMPATIENT_SECONDS", (2.0, 0.1))
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    key = ledger.reception.record([(received("1.1"), None)])["1.1"]
    ledger.studies.arrive(key, instance_count=1, expected=None, now=1.0, run_id="r")
    ledger.transfers.request(key, TransferRequest("HEART", "P1", "", "assign"), now=2.0)
    (tmp_path / "token").write_text("A1" * 16)
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # the kernel accepts, and nobody ever reads
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}/api/"
        tokens = {"DataTransferProjects": f"file:{tmp_path / 'token'}"}
        content = {"DATADIR": str(tmp_path), "REDCAP": {"url": url, "tokens": tokens}}
        (tmp_path / "config.json").write_text(json.dumps(content))
        result = CliRunner().invoke(fiona, ["status", "--config", str(tmp_path / "config.json")])
    assert "the projects cannot be read: REDCap cannot be reached" in result.stderr
    assert "1 held: not yet de-identified" in result.stdout


def test_the_daemon_is_alive_while_it_was_heard_of_lately(tmp_path: Path) -> None:
    now = time.time()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        instance.get_daemon_heartbeats()
        assert daemon_heartbeat(tmp_path, now=now) == "was never heard of"
        instance.add_daemon_heartbeat(DaemonHeartbeat(now - 5, "SENSOR", "x", []))
    assert daemon_heartbeat(tmp_path, now=now).startswith("alive, heard of ")
    assert daemon_heartbeat(tmp_path, now=now + HEARTBEAT_SECONDS).startswith("silent, heard of ")
