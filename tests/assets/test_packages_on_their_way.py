"""Packages that wait, fail or are sent: a person cancels and retries them one by one, and hears of what fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from fiona_dagster.adapters import configuration
from fiona_dagster.adapters.ledger.notices import STOPPED
from fiona_dagster.adapters.ledger.schema import audit
from fiona_dagster.assets import packaging
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.sensors.outbox import exports_due
from tests.gateway import Gateway, running_gateway

PURE = ExportProfile(ExportType.PURE)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made
        assert made.ledger.inventory.totals().balance.holds


def exporting(monkeypatch: pytest.MonkeyPatch, *exports: ExportProfile) -> None:
    """Have BRAINAGE ask for these exports."""
    catalogue = _CATALOGUE

    def changed(*known: Any) -> Any:
        found = catalogue(*known)
        projects = {**found.projects, "BRAINAGE": replace(found.projects["BRAINAGE"], exports=exports)}
        return replace(found, projects=projects)

    monkeypatch.setattr(configuration, "project_catalogue", changed)


_CATALOGUE = configuration.project_catalogue


def run(gateway: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(fiona, [*arguments, "--config", str(gateway.config_file)])


def said(gateway: Gateway, *arguments: str) -> str:
    result = run(gateway, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def forwarded(gateway: Gateway) -> str:
    """A study in the research PACS, whose packages are due; its key."""
    study = gateway.receive("ct-thorax")
    gateway.run(Phase.INTAKE, study.key)
    gateway.run(Phase.TRANSFER, study.key)
    assert only(gateway).state is TransferState.FORWARDED
    return study.key


def only(gateway: Gateway) -> Transfer:
    (transfer,) = gateway.ledger.transfers.of_study(gateway.study("ct-thorax").key)
    return transfer


def there(gateway: Gateway) -> list[str]:
    """What lies at the destination: endings of the names."""
    files = (gateway.folder / "sftp" / "incoming").iterdir()
    return sorted("part" if one.name.endswith(".part") else one.name.rpartition("_")[2] for one in files)


def queued(gateway: Gateway, *arguments: str) -> dict[str, str]:
    shown = json.loads(said(gateway, "queue", "list", "--json", *arguments))["parcels"]
    return {one["export"]: one["state"] for one in shown}


def test_packages_that_wait_are_cancelled_and_retried_one_by_one(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporting(monkeypatch, NATIVE, PURE)
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert queued(gateway) == {"native": "waiting", "PURE": "waiting"}
    assert "is its disk full?" in said(gateway, "queue", "show", key)
    assert json.loads(run(gateway, "status", "--json").stdout)["queues"]["packages waiting"]["waiting"] == 2
    (before,) = exports_due(gateway.resource)
    said(gateway, "queue", "cancel", key, "--package", "PURE", "--reason", "the wrong lab")
    (after,) = exports_due(gateway.resource)
    assert after.work != before.work  # due at once, whatever the back-off of earlier runs says
    gateway.sftp.faults.refuse_writes = False
    assert isinstance(run(gateway, "queue", "retry").exception, ConfigurationError)
    assert isinstance(run(gateway, "queue", "retry", "--to", "elsewhere").exception, ConfigurationError)
    tried = said(gateway, "queue", "retry", "--to", "lab")  # of all studies, and not what was cancelled
    assert tried == f"{key}: package native of BRAINAGE to lab is tried again\n"
    gateway.run(Phase.EXPORT, key)
    assert only(gateway).state is TransferState.DELIVERED
    assert only(gateway).reason == "package PURE not sent to lab, by a person's decision"
    assert there(gateway) == ["native.zip", "native.zip.md5"]
    assert "package PURE to lab: cancelled: the wrong lab" in said(gateway, "queue", "show", key)
    facts = json.loads(run(gateway, "status", "--json").stdout)["queues"]
    assert [facts[f"packages {one}"]["waiting"] for one in ("waiting", "failed", "cancelled")] == [0, 0, 1]
    gateway.settle()
    assert there(gateway) == ["native.zip", "native.zip.md5"]
    said(gateway, "queue", "retry", key, "--package", "PURE")
    gateway.settle()
    assert (only(gateway).state, only(gateway).reason) == (TransferState.DELIVERED, "")
    assert there(gateway) == ["PURE.zip", "PURE.zip.md5", "native.zip", "native.zip.md5"]
    refused = run(gateway, "queue", "cancel", key, "--package", "PURE", "--reason", "late")
    assert isinstance(refused.exception, ConfigurationError)
    with gateway.ledger.read() as connection:
        rows = [
            (row.action, row.subject) for row in connection.execute(select(audit.c.action, audit.c.subject))
        ]
    assert [one for one in rows if one[0] in ("cancel", "retry")] == [
        ("cancel", f"{key} package PURE to lab: the wrong lab"),
        ("retry", f"{key} package native to lab"),
        ("retry", f"{key} package PURE to lab"),
    ]


def test_what_was_confirmed_is_listed_with_when_until_it_is_taken_back(gateway: Gateway) -> None:
    key = forwarded(gateway)
    gateway.settle()
    mine = only(gateway)
    assert mine.state is TransferState.DELIVERED
    found = json.loads(said(gateway, "queue", "list", "--all", "--json"))
    images, packages = found["queue"], found["parcels"]
    assert [(one["study_key"], one["state"]) for one in (*images, *packages)] == [(key, "confirmed")] * 2
    shown = [one for one in said(gateway, "queue", "list", "--all").splitlines() if key in one]
    for line, row in zip(shown, (*images, *packages), strict=True):
        assert time.strftime("%Y-%m-%d %H:%M", time.localtime(row["changed_at"])) in line
        assert row["destination"] in line
    assert key not in said(gateway, "queue", "list")
    run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant)
    assert key not in said(gateway, "queue", "list", "--all")
    shown = said(gateway, "queue", "show", key).splitlines()
    assert shown[0].startswith("BRAINAGE: was delivered, and taken back since (")
    assert "the participant withdrew" in shown[0]
    assert [one.split()[:3] for one in shown[1:] if "package" in one] == [["gone", "package", "lab"]]
    refused = run(gateway, "queue", "cancel", key, "--reason", "late")
    assert "is queued any more: BRAINAGE: was delivered, and taken back since" in str(refused.exception)
    elsewhere = run(gateway, "queue", "show", key, "--to", "nowhere")
    assert "was never queued for nowhere" in str(elsewhere.exception)


def test_what_is_cancelled_before_its_run_or_during_it_does_not_go(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporting(monkeypatch, NATIVE, PURE)
    key = forwarded(gateway)
    said(gateway, "queue", "cancel", key, "--package", "PURE", "--reason", "not yet")
    build = packaging._build

    def meanwhile(*known: Any) -> Any:
        said(gateway, "queue", "cancel", key, "--to", "lab", "--package", "native", "--reason", "never")
        return build(*known)

    monkeypatch.setattr(packaging, "_build", meanwhile)
    gateway.run(Phase.EXPORT, key)
    assert there(gateway) == []
    assert only(gateway).state is TransferState.DELIVERED
    assert only(gateway).reason.count("not sent to lab, by a person's decision") == 2
    assert exports_due(gateway.resource) == []


def test_an_export_that_cannot_be_made_stops_no_other_and_a_person_hears_of_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = replace(NATIVE, label="native-known", demographics=True)
    exporting(monkeypatch, asking, NATIVE)
    key = forwarded(gateway)
    gateway.run(Phase.EXPORT, key)
    assert there(gateway) == ["native.zip", "native.zip.md5"]
    assert only(gateway).state is TransferState.FAILED
    assert only(gateway).reason.startswith("delivery: an export of BRAINAGE asks for demographics")
    assert queued(gateway) == {"native-known": "failed"}
    ((event, _),) = gateway.ledger.notices.untold("smtp", STOPPED)
    assert event.state == "failed"
    gateway.ledger.notices.told("smtp", gateway.ledger.notices.untold("smtp", STOPPED), now=1.0)
    said(gateway, "queue", "retry", key)
    assert gateway.ledger.notices.untold("smtp", STOPPED) == []
    gateway.settle()
    assert len(gateway.ledger.notices.untold("smtp", STOPPED)) == 1  # it failed again, which is news
    exporting(monkeypatch, replace(asking, demographics=False), NATIVE)
    said(gateway, "queue", "retry", key)
    gateway.settle()
    assert only(gateway).state is TransferState.DELIVERED
    assert len(there(gateway)) == 4


def test_a_copy_that_changed_after_it_was_forwarded_is_told_and_not_packed(gateway: Gateway) -> None:
    key = forwarded(gateway)
    row = next(one for one in gateway.ledger.transfers.release_rows(only(gateway).id) if one.path)
    file = gateway.settings.layout.datadir / row.path
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert only(gateway).state in (TransferState.HELD, TransferState.FAILED)
    assert only(gateway).reason
    assert (there(gateway), exports_due(gateway.resource)) == ([], [])


def test_a_withdrawal_names_what_was_exported_by_hand(gateway: Gateway, tmp_path: Path) -> None:
    forwarded(gateway)
    mine = only(gateway)
    for more in (["--together"], []):
        said(gateway, "export", "--project", "BRAINAGE", "--to", str(tmp_path / "usb"), *more)
    done = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant, "--json")
    assert done.exit_code == 1  # something is left to a person
    receipts = json.loads(done.output)["content"]["receipts"]
    exported = [one for one in receipts if one["kind"] == "export"]
    assert [(one["outcome"], one["count"], one["name"].split(" in ")[0]) for one in exported] == [
        ("person", 12, "native"), ("person", 12, "native together"),
    ]  # fmt: skip
    assert all(str(tmp_path / "usb") in one["detail"] for one in exported)


def test_what_was_sent_of_a_package_is_taken_back_with_a_withdrawal(gateway: Gateway) -> None:
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert there(gateway) == ["part"]
    mine = only(gateway)
    done = run(gateway, "withdraw", "--project", mine.project, "--participant", mine.participant, "--json")
    receipts = json.loads(done.output)["content"]["receipts"]
    assert [(one["place"], one["outcome"]) for one in receipts if one["kind"] == "package"] == [
        ("lab", "gone")
    ]
    assert there(gateway) == []
