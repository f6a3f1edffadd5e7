"""The heartbeat: real C-ECHOs, an event when an answer changes and once an hour."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.sensors.heartbeat import EVENT_EVERY_SECONDS, heartbeat
from fiona_dagster.settings import load_settings
from scp_listener.server import Listener
from tests.conftest import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two sites; nobody listens yet."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({
        "DATADIR": str(tmp_path / "data"), "DICOMIP": "127.0.0.1", "DICOMPORT": free_port(), "DICOMAETITLE": "ONE",
        "SITES": {"P": {"DICOMIP": "127.0.0.1", "DICOMPORT": free_port(), "DICOMAETITLE": "TWO"}},
    }))  # fmt: skip
    return file


@pytest.fixture
def listener(config: Path) -> Iterator[Listener]:
    settings = load_settings(config, {})
    settings.layout.ensure()
    made = Listener(settings.default_site, Ledger(settings.ledger_url), worker="test")
    yield made
    made.stop(5.0)


def beat(config: Path, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"gateway": GatewayResource(config_file=str(config))}
        )
        result = heartbeat(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def counts(result: dg.SensorResult | dg.SkipReason) -> tuple[object, object]:
    assert isinstance(result, dg.SensorResult)
    (event,) = result.asset_events
    return event.metadata["answering"].value, event.metadata["silent"].value


def test_an_event_is_written_at_first_on_every_change_and_once_an_hour(
    config: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = beat(config)
    assert counts(silent) == (0, 2)
    assert isinstance(silent, dg.SensorResult)
    assert isinstance(beat(config, silent.cursor), dg.SkipReason), "nothing changed"

    listener.start()
    answering = beat(config, silent.cursor)
    assert counts(answering) == (1, 1)
    assert isinstance(answering, dg.SensorResult)
    said = beat(config, answering.cursor)
    assert isinstance(said, dg.SkipReason)
    assert "ABCD: answers" in str(said.skip_message)

    monkeypatch.setattr(GatewayResource, "now", lambda _: time.time() + EVENT_EVERY_SECONDS + 1)
    assert counts(beat(config, answering.cursor)) == (1, 1)
    listener.stop(5.0)
    assert counts(beat(config, answering.cursor)) == (0, 2)


def test_the_cursor_is_short_and_the_event_says_which_site_is_silent(
    config: Path, listener: Listener
) -> None:
    listener.start()
    result = beat(config)
    assert isinstance(result, dg.SensorResult)
    assert len(str(result.cursor).encode()) < 100
    (event,) = result.asset_events
    sites = event.metadata["sites"].value
    assert sites["ABCD"] == "answers"
    assert "TWO@127.0.0.1" in sites["P"]
    assert event.description == "a receiver does not answer"
