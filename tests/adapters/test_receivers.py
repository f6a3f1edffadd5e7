"""What status, doctor and heartbeat tell of a receiver, with one that listens with TLS."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.refusals import RefusalSum, refusals_since
from fiona_dagster.adapters.receivers import answers, standing, takes_instances, tls_peer, troubles
from fiona_dagster.adapters.secure_echo import days_left, secure_echo
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, Refusal
from fiona_dagster.settings import Settings, settings_from
from scp_listener.recovery import Recovered
from scp_listener.server import Listener
from scp_listener.standing import Standing
from tests.certificates import Authority, Pair
from tests.conftest import free_port


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("gateway.example")


@pytest.fixture
def settings(tmp_path: Path, authority: Authority, server: Pair) -> Settings:
    content = {
        "DATADIR": str(tmp_path / "data"), "DICOMIP": "127.0.0.1", "DICOMPORT": free_port(),
        "TLS": {
            "port": free_port(), "certificate": str(server.certificate), "key": str(server.key),
            "client_ca": str(authority.certificate),
        },
        "ACCESS": {"callers": [{"aetitle": "CT1", "addresses": ["10.0.0.1"]}]},
    }  # fmt: skip
    made = settings_from(content, place="config.json", environment={})
    made.layout.ensure()
    return made


@pytest.fixture
def listener(settings: Settings) -> Iterator[Listener]:
    ledger = Ledger(settings.ledger_url)
    made = Listener(settings.default_site, ledger, worker="w")
    made.start()
    yield made
    made.stop(5.0)
    ledger.close()


def test_both_ports_answer_though_nobody_else_may_call(settings: Settings, listener: Listener) -> None:
    assert answers(settings, "HEARTBEAT") == {"ABCD": "answers", "ABCD TLS": "answers"}


def test_a_certificate_that_nobody_knows_is_named_as_the_reason(
    settings: Settings, listener: Listener, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other", "Another CA").issue("gateway.example")
    tls = settings.default_site.receiver.tls
    assert tls is not None
    wrong = replace(tls, own_certificate=stranger.certificate, own_key=stranger.key)
    with pytest.raises(Transient, match="own_certificate"):
        secure_echo(tls_peer(settings.default_site), wrong, "HEARTBEAT")
    with pytest.raises(ConfigurationError):
        secure_echo(tls_peer(settings.default_site), replace(wrong, own_key=tls.key), "HEARTBEAT")


def test_where_nobody_listens_both_are_told(settings: Settings) -> None:
    found = answers(settings, "HEARTBEAT", seconds=2.0)
    assert set(found) == {"ABCD", "ABCD TLS"}
    assert "answers" not in found.values()


def test_the_days_of_a_certificate_are_counted(authority: Authority, tmp_path: Path) -> None:
    soon = authority.issue("soon.example", lasts=timedelta(days=3))
    assert days_left(soon.certificate, now=time.time()) == pytest.approx(3, abs=0.1)
    with pytest.raises(ConfigurationError):
        days_left(tmp_path / "none.pem", now=0.0)


@pytest.fixture
def held(settings: Settings) -> Iterator[None]:
    """As a listener holds its data directory."""
    descriptor = os.open(settings.default_site.layout.incoming, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@pytest.mark.usefixtures("held")
def test_what_a_listener_wrote_of_itself_becomes_sentences(settings: Settings) -> None:
    site = settings.default_site
    assert standing(site) == {}
    assert troubles(site) == []
    one = Standing(site.layout, workers=2)
    one.recovered(Recovered(unacknowledged=1, recorded=4))
    one.died("exit code -9", pause_seconds=4.0)
    one.hung()
    assert troubles(site) == [
        "1 of 2 workers are at work (exit code -9)",
        "1 worker(s) died since it was started, last: exit code -9",
        "1 worker(s) hung since it was started and were replaced",
        "left by a crash and put in order: 4 recorded, 1 unacknowledged",
    ]
    one.at_work(2)
    one.stopped()
    assert not any("at work" in sentence for sentence in troubles(site))
    (site.layout.logs / "receiver.json").write_text(json.dumps([]))
    assert standing(site) == {}


@pytest.mark.usefixtures("held")
def test_a_listener_on_another_port_than_the_configured_one_is_told(settings: Settings) -> None:
    site = settings.default_site
    one = Standing(site.layout, workers=2)
    one.listens(*site.ports)
    assert troubles(site) == []
    one.listens(1104, *site.ports[1:])
    assert troubles(site) == [
        f"it listens on port 1104 instead of {site.port}: it was started otherwise than config.json says"
    ]


def test_a_listener_that_ended_without_being_asked_to_is_told(settings: Settings) -> None:
    site = settings.default_site
    one = Standing(site.layout, workers=2)
    one.listens(*site.ports)
    assert ["start it again" in sentence for sentence in troubles(site)] == [True]
    one.stopped()
    assert troubles(site) == []


def test_a_disk_below_the_limit_is_a_trouble(settings: Settings) -> None:
    site = settings.default_site
    limits = replace(site.receiver.limits, disk_free_bytes=1 << 62)
    full = replace(site, receiver=replace(site.receiver, limits=limits))
    assert takes_instances(site)
    assert not takes_instances(full)
    assert "0xA700" in troubles(full)[0]
    assert not takes_instances(replace(site, layout=Layout(Path("/nowhere"))))


def test_refusals_are_summed_by_reason_since_a_moment(settings: Settings) -> None:
    ledger = Ledger(settings.ledger_url)
    peer = Peer("CT9", "FIONA", "10.0.0.9")
    for at, times, reason in ((10.0, 1, "old"), (100.0, 1, "no"), (110.0, 40, "no"), (120.0, 2, "broken")):
        ledger.reception.refuse(Refusal("ABCD", 0x0124, reason, at, peer, times=times))
    assert refusals_since(ledger, 50.0) == [
        RefusalSum("ABCD", 0x0124, "no", 41, 110.0, ("CT9 calling FIONA from 10.0.0.9",)),
        RefusalSum("ABCD", 0x0124, "broken", 2, 120.0, ("CT9 calling FIONA from 10.0.0.9",)),
    ]
    ledger.close()
