"""What is left of cancelled packages: parts at destinations that are down, and the package in the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import update

from fiona_dagster.adapters import configuration
from fiona_dagster.adapters.ledger.delivery_schema import sending_peer
from fiona_dagster.assets import packaging, tending
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.phases import Phase
from fiona_dagster.domain.project import Destination
from fiona_dagster.domain.transfer import TransferState
from tests.assets.test_packages_on_their_way import exporting, forwarded, only, said, there
from tests.gateway import Gateway, running_gateway

PURE = ExportProfile(ExportType.PURE)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        yield made
        assert made.ledger.inventory.totals().balance.holds


def tend(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the housekeeping of packages as if some time had passed; what it says of itself."""
    monkeypatch.setattr(tending, "RUN_SECONDS", -1.0)
    with gateway.ledger.begin() as connection:
        connection.execute(update(sending_peer).values(retry_at=0.0))
    result = dg.materialize(
        [tending.tended_packages], instance=gateway.instance, resources={"gateway": gateway.resource}
    )
    (event,) = result.get_asset_materialization_events()
    return {name: one.value for name, one in event.materialization.metadata.items()}


def outbox(gateway: Gateway) -> list[str]:
    """Endings of the names in the outbox, and in its folder of what was delivered."""
    found = [one for one in gateway.settings.layout.outbox.rglob("*") if one.is_file()]
    return sorted(f"{one.parent.name}/{one.name.rpartition('_')[2]}" for one in found)


def whole(folder: str, label: str) -> list[str]:
    return [f"{folder}/{label}.zip{more}" for more in ("", ".manifest.json", ".md5")]


def test_a_part_at_a_destination_that_was_down_is_deleted_when_it_is_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert there(gateway) == ["part"]
    said(gateway, "queue", "cancel", key, "--package", "native", "--reason", "the wrong lab")
    gateway.sftp.stop()
    gateway.run(Phase.EXPORT, key)
    assert only(gateway).state is TransferState.DELIVERED
    until = "a part of it may lie there, under a hidden name that ends in .part: it is deleted as soon as"
    for _ in range(2):
        found = tend(gateway, monkeypatch)
        assert (found["parts_deleted"], found["parts_left"]) == (0, 1)
        assert there(gateway) == ["part"]
        assert until in said(gateway, "queue", "show", key)
    gateway.sftp.start()
    assert tend(gateway, monkeypatch)["parts_deleted"] == 1
    assert there(gateway) == []
    assert until not in said(gateway, "queue", "show", key)
    assert tend(gateway, monkeypatch)["parts_deleted"] == 0
    gateway.sftp.faults.refuse_writes = False
    said(gateway, "queue", "retry", key, "--package", "native")
    gateway.settle()
    assert there(gateway) == ["native.zip", "native.zip.md5"]


def test_a_part_is_only_spoken_of_where_an_upload_had_begun(gateway: Gateway) -> None:
    key = forwarded(gateway)
    gateway.sftp.stop()
    gateway.run(Phase.EXPORT, key, succeeds=False)
    shown = said(gateway, "queue", "show", key)
    assert "cannot be reached" in shown
    assert ".part" not in shown
    gateway.sftp.start()
    gateway.sftp.faults.refuse_writes = True
    said(gateway, "queue", "retry", key)
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert "a part of it may lie there" in said(gateway, "queue", "show", key)


def test_what_is_asked_for_again_meanwhile_is_not_cleared_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    said(gateway, "queue", "cancel", key, "--package", "native", "--reason", "no")
    stale = gateway.ledger.parcels.cancelled(before=gateway.resource.now())
    said(gateway, "queue", "retry", key, "--package", "native")
    monkeypatch.setattr(type(gateway.ledger.parcels), "cancelled", lambda _self, before: stale)
    found = tend(gateway, monkeypatch)
    assert (found["parts_deleted"], found["packages_deleted"]) == (0, 0)
    assert there(gateway) == ["part"]
    assert outbox(gateway) == whole("outbox", "native")


def test_a_cancelled_package_leaves_the_outbox_with_a_receipt_and_comes_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporting(monkeypatch, NATIVE, PURE)
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)
    assert outbox(gateway) == [*whole("outbox", "PURE"), *whole("outbox", "native")]
    name = next(gateway.settings.layout.outbox.glob("*PURE.zip")).name
    size = (gateway.settings.layout.outbox / name).stat().st_size
    said(gateway, "queue", "cancel", key, "--package", "PURE", "--reason", "the wrong lab")
    gateway.sftp.faults.refuse_writes = False
    said(gateway, "queue", "retry", key, "--package", "native")
    gateway.run(Phase.EXPORT, key)
    assert outbox(gateway) == whole("_delivered", "native")
    shown = said(gateway, "queue", "show", key)
    assert f"PURE: {name}, {size} bytes; `fiona queue retry` makes it again" in shown
    assert shown.count("deleted from the outbox") == 1
    said(gateway, "queue", "retry", key, "--package", "PURE")
    gateway.settle()
    assert outbox(gateway) == [*whole("_delivered", "PURE"), *whole("_delivered", "native")]
    assert there(gateway) == ["PURE.zip", "PURE.zip.md5", "native.zip", "native.zip.md5"]


def test_a_package_that_another_destination_still_gets_stays(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, share = configuration.project_catalogue, gateway.folder / "share"

    def changed(*known: Any) -> Any:
        found = catalogue(*known)
        project = found.projects["BRAINAGE"]
        places = (*project.destinations, Destination("share", "folder", path=str(share)))
        return replace(found, projects={**found.projects, "BRAINAGE": replace(project, destinations=places)})

    monkeypatch.setattr(configuration, "project_catalogue", changed)
    key = forwarded(gateway)
    gateway.sftp.faults.refuse_writes = True
    gateway.run(Phase.EXPORT, key, succeeds=False)  # the share is not mounted either
    said(gateway, "queue", "cancel", key, "--to", "lab", "--reason", "the wrong lab")
    gateway.run(Phase.EXPORT, key)
    assert outbox(gateway) == whole("outbox", "native")
    share.mkdir()
    said(gateway, "queue", "retry", key, "--to", "share")
    gateway.run(Phase.EXPORT, key)
    assert outbox(gateway) == whole("_delivered", "native")
    assert len(list(share.iterdir())) == 2


def test_what_was_cancelled_while_it_was_made_goes_from_the_outbox(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = forwarded(gateway)
    build = packaging._build

    def meanwhile(*known: Any) -> Any:
        package = build(*known)
        said(gateway, "queue", "cancel", key, "--package", "native", "--reason", "never")
        return package

    monkeypatch.setattr(packaging, "_build", meanwhile)
    gateway.run(Phase.EXPORT, key)
    assert (outbox(gateway), there(gateway)) == ([], [])
    (one,) = gateway.ledger.parcels.of_transfer(only(gateway).id)
    assert one.state is SendingState.CANCELLED
