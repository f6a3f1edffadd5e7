"""A project whose profile or engine changed: its copies are stale, and made anew they replace the old ones."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from fiona_dagster.adapters.ledger.schema import sent_copy
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.embedded.pacs_index import Disposition
from tests.gateway import Gateway, running_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made
        assert discrepancies(made.ledger, made.settings) == []
        assert made.ledger.inventory.totals().balance.holds


class Archive:
    """The research PACS with one of three habits towards other content under a UID that it holds.

    In a process with the gateway's receiver pynetdicom hands no encoded data sets over: content is told by values.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.index, self.habit = gateway.pacs.index, "refuses"
        self.content: dict[str, tuple[str, str]] = {}
        self._store = gateway.pacs.index.store

    def store(self, data_set: Any, encoded: bytes, **facts: Any) -> Disposition:
        uid = str(data_set.SOPInstanceUID)
        content = str(data_set.StudyDate), str(data_set[0x00120063].value[1])
        if self.index.holds(uid) and content != self.content[uid]:
            if self.habit != "replaces":
                return Disposition.IDENTICAL if self.habit == "keeps" else Disposition.OTHER_CONTENT
            self.index.remove(uid)
        self.content[uid] = content
        return self._store(data_set, encoded, **facts)

    def dates(self) -> dict[str, str]:
        """Study Date of every instance that it holds, by SOP Instance UID."""
        return {uid: self.content[uid][0] for uid in self.index.sop_instance_uids()}

    def methods(self) -> set[str]:
        return {self.content[uid][1] for uid in self.index.sop_instance_uids()}


@pytest.fixture
def archive(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = Archive(gateway)
    monkeypatch.setattr(gateway.pacs.index, "store", made.store)
    return made


@pytest.fixture
def delivered(gateway: Gateway, archive: Archive) -> Transfer:
    gateway.receive("ct-thorax")
    gateway.settle()
    return the_transfer(gateway)


def the_transfer(gateway: Gateway) -> Transfer:
    (transfer,) = gateway.ledger.transfers.of_study(gateway.study("ct-thorax").key)
    return transfer


def change(gateway: Gateway, **fields: str) -> None:
    """Change the project in REDCap, and forget what it was."""
    client = gateway.resource.registry.client("DataTransferProjects")  # type: ignore[union-attr]
    client.write_rows([{"record_id": "BRAINAGE", **fields}])
    gateway.ledger.inventory.save_snapshot("projects", {"at": 0, "rows": []}, now=0)


def change_dates(gateway: Gateway) -> None:
    change(gateway, deid_date_mode="3")


def stale(gateway: Gateway) -> Any:
    result = CliRunner().invoke(fiona, ["status", "--json", "--config", str(gateway.config_file)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["stale"]


def packages(gateway: Gateway) -> list[Path]:
    return sorted((gateway.folder / "sftp" / "incoming").glob("*.zip"))


def dates_in(package: Path) -> set[str]:
    with zipfile.ZipFile(package) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dcm")]
        return {str(dcmread(BytesIO(archive.read(name))).StudyDate) for name in names}


def resend(gateway: Gateway, *what: str) -> str:
    arguments = ["resend", *(what or (gateway.study("ct-thorax").key,)), "--config", str(gateway.config_file)]
    result = CliRunner().invoke(fiona, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_copies_are_stale_when_the_profile_changed_until_they_are_replaced_everywhere(
    gateway: Gateway, archive: Archive, delivered: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.habit = "replaces"
    before, (old,) = archive.dates(), packages(gateway)
    old_dates = dates_in(old)
    assert stale(gateway) == {}
    change_dates(gateway)
    assert stale(gateway) == {"BRAINAGE": {"transfers": 1, "without_images": 0}}
    assert gateway.resource.projects()["BRAINAGE"].date_mode != "per_participant"
    assert "1 transfer(s)" in resend(gateway, "--stale", "--project", "BRAINAGE")
    gateway.settle()
    after, (new,) = archive.dates(), packages(gateway)
    assert before.keys() == after.keys(), "under the same UIDs"
    assert set(before.values()) == old_dates
    assert set(after.values()) == dates_in(new)
    assert not old_dates & dates_in(new)
    assert stale(gateway) == {}
    assert "nothing" in resend(gateway, "--stale", "--project", "BRAINAGE")
    now = the_transfer(gateway)
    assert now.state == TransferState.DELIVERED
    assert "12 changed instance(s)" in now.reason, "it may be a PACS that keeps the first one"
    assert now.method_digest != delivered.method_digest
    (record,) = [one for one in gateway.ledger.deliveries.of_transfer(now.id) if one.kind == "pacs"]
    assert (record.detail, record.method_digest) == (now.reason, now.method_digest)
    again = (new.stat().st_ino, new.stat().st_mtime_ns)
    resend(gateway)
    gateway.settle()
    assert (new.stat().st_ino, new.stat().st_mtime_ns) == again
    assert the_transfer(gateway).reason == now.reason, "nobody looked yet"


@pytest.mark.parametrize(
    "arguments", [[], ["--stale"], ["KEY", "--stale"], ["--stale", "--project", "NOBODY"]]
)
def test_what_to_send_again_must_be_clear(gateway: Gateway, arguments: list[str]) -> None:
    result = CliRunner().invoke(fiona, ["resend", *arguments, "--config", str(gateway.config_file)])
    assert result.exit_code != 0


def test_a_new_engine_makes_copies_stale_and_a_backfill_of_the_copies_alone_replaces_them(
    gateway: Gateway, archive: Archive, delivered: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster as dg

    from fiona_dagster.definitions import defs

    archive.habit = "replaces"
    monkeypatch.setattr("fiona_dagster.domain.deid.method.engine_digest", lambda: "another engine")
    assert stale(gateway) == {"BRAINAGE": {"transfers": 1, "without_images": 0}}
    job = dg.define_asset_job("copies", selection=dg.AssetSelection.assets("deidentified_copy"))
    backfill = dg.Definitions.merge(defs(), dg.Definitions(jobs=[job])).resolve_job_def("copies")
    key = gateway.study("ct-thorax").key
    run = backfill.execute_in_process(
        partition_key=key, instance=gateway.instance, resources={"gateway": gateway.resource}
    )
    (made,) = run.asset_materializations_for_node("deidentified_copy")
    assert made.metadata["stale_transfers"].value == "BRAINAGE: 1", "at the PACS lie the old ones"
    assert the_transfer(gateway).state == TransferState.REQUESTED
    assert stale(gateway) != {}
    gateway.settle()
    assert the_transfer(gateway).state == TransferState.DELIVERED
    assert stale(gateway) == {}
    methods = archive.methods()
    assert methods == {f"sha256 {the_transfer(gateway).method_digest[:48]}"}


def test_a_pacs_that_keeps_the_first_silently_is_noted_until_the_old_ones_are_deleted(
    gateway: Gateway, archive: Archive, delivered: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.habit = "keeps"
    before = archive.dates()
    change_dates(gateway)
    resend(gateway)
    gateway.settle()
    assert archive.dates() == before, "no query could show it"
    assert "may keep the old" in the_transfer(gateway).reason
    for uid in before:
        gateway.pacs.index.remove(uid)
    resend(gateway)
    gateway.settle()
    assert not set(archive.dates().values()) & set(before.values())
    assert the_transfer(gateway).reason == ""


def test_a_pacs_that_refuses_changed_instances_holds_the_transfer_with_what_to_do(
    gateway: Gateway, archive: Archive, delivered: Transfer
) -> None:
    before = archive.dates()
    change_dates(gateway)
    resend(gateway)
    gateway.settle()
    held = the_transfer(gateway)
    assert held.state == TransferState.HELD
    assert "refuses 12 changed instance(s)" in held.reason
    assert "delete them there, then resend" in held.reason
    assert stale(gateway) == {"BRAINAGE": {"transfers": 1, "without_images": 0}}
    for uid in before:
        gateway.pacs.index.remove(uid)
    resend(gateway)
    gateway.settle()
    assert the_transfer(gateway).state == TransferState.DELIVERED
    assert not set(archive.dates().values()) & set(before.values())


def test_new_uids_leave_old_instances_and_an_old_package_which_are_told(
    gateway: Gateway, archive: Archive, delivered: Transfer
) -> None:
    before, (old,) = archive.dates(), packages(gateway)
    change(gateway, deid_uid_root="1.2.826.0.1.3680043.99")
    resend(gateway)
    gateway.settle()
    now = the_transfer(gateway)
    assert now.state == TransferState.DELIVERED
    assert now.reason.endswith("holds 12 instance(s) that are not released any more: delete them there")
    assert len(archive.dates()) == 24
    assert len(packages(gateway)) == 2
    states = {one.name: one.state for one in gateway.ledger.deliveries.of_transfer(now.id) if one.name}
    assert sorted(states.values()) == ["confirmed", "superseded"]
    assert states[old.name] == "superseded"
    for uid in before:
        gateway.pacs.index.remove(uid)
    resend(gateway)
    gateway.settle()
    assert the_transfer(gateway).reason == ""


def test_a_crash_between_noting_and_sending_over_another_sends_again(
    gateway: Gateway, archive: Archive, delivered: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_dates(gateway)
    resend(gateway)
    key = gateway.study("ct-thorax").key

    def crash(*_: object) -> None:
        raise RuntimeError("the process was killed")

    with monkeypatch.context() as patched:
        patched.setattr("fiona_dagster.adapters.image_peers.send", crash)
        gateway.run(Phase.TRANSFER, key, succeeds=False)
    with gateway.ledger.read() as connection:
        assert {row.sha256 for row in connection.execute(sent_copy.select())} == {""}
    archive.habit = "replaces"
    before = archive.dates()
    gateway.settle()
    assert the_transfer(gateway).state == TransferState.DELIVERED
    assert not set(archive.dates().values()) & set(before.values())
