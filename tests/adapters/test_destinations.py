"""A dead place of packages is left alone, told apart from one that refuses, and tried again when its time is up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from fiona_dagster.adapters.destinations import bring, key_of
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.delivery_settings import DeliverySettings
from fiona_dagster.domain.errors import Permanent, Resting, Unreachable
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination
from tests.conftest import free_port
from tests.deliverables import a_package


class Secrets:
    """Of settings, what a delivery looks at."""

    delivery = DeliverySettings()

    def secret(self, reference: str) -> str:
        return "password"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield made
    made.close()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return a_package(tmp_path / "outbox", size=1000)


def brought(package: Package, destination: Destination, ledger: Ledger, at: float) -> int:
    settings = cast("Any", Secrets())
    return bring(
        package, destination, settings, transfer_id=1, breakers=ledger.breakers, clock=lambda: at
    ).sent_bytes


def test_a_server_that_nobody_answers_at_is_left_alone_at_once_and_longer_each_time(
    ledger: Ledger, package: Package
) -> None:
    port = free_port()
    dead = Destination("lab", "sftp", "127.0.0.1", port, "in", "ann", "env:X", _known(port))
    with pytest.raises(Unreachable):
        brought(package, dead, ledger, 1000.0)
    with pytest.raises(Resting) as first:
        brought(package, dead, ledger, 1001.0)
    assert 1010 < first.value.until < 1020
    with pytest.raises(Unreachable):
        brought(package, dead, ledger, first.value.until)
    with pytest.raises(Resting) as second:
        brought(package, dead, ledger, first.value.until + 1)
    assert second.value.until - first.value.until > 20
    assert list(ledger.breakers.open()) == [key_of(dead)] == [f"sftp://ann@127.0.0.1:{port}"]


def test_a_place_that_refuses_is_not_left_alone_and_success_closes_the_breaker(
    ledger: Ledger, package: Package, tmp_path: Path
) -> None:
    share = Destination("share", "folder", path=str(tmp_path / "share"))
    for at in (1.0, 2.0):
        with pytest.raises(Permanent, match="mount its share"):
            brought(package, share, ledger, at)
    ledger.breakers.failed(key_of(share), 1, now=3.0, unreachable=True, reason="gone")
    with pytest.raises(Resting):
        brought(package, share, ledger, 4.0)
    (tmp_path / "share").mkdir()
    assert brought(package, share, ledger, 100.0) == package.size_bytes
    assert not ledger.breakers.open()


def _known(port: int) -> str:
    import paramiko

    key = paramiko.ECDSAKey.generate(bits=256)
    return f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}"
