"""`fiona send` of what is archived: whole studies, as they came, with nothing counted or decided anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from fiona_dagster.adapters.dicom_scu import send as send_files
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.schema import association, audit, instance, revision, study, transition
from fiona_dagster.cli.send import send
from fiona_dagster.domain.access import access_from
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.settings import Settings, load_settings
from scp_listener.server import Listener
from tests.cli.test_main import run as run_as_called
from tests.conftest import free_port
from tests.peers import HOST
from tests.scp_listener.conftest import wait_for


@dataclass
class Archive:
    """A receiver that got ct-thorax from CT1 for RESEARCH, sr-report from RIS, each fully decided about."""

    config: Path
    settings: Settings
    ledger: Ledger
    samples: dict[str, SampleStudy]
    listener: Listener

    def run(self, *arguments: object) -> tuple[Result, dict[str, Any]]:
        words = [*map(str, arguments), "--config", str(self.config)]
        result = CliRunner().invoke(send, words, catch_exceptions=False)
        self.recorded()
        return result, json.loads(result.stdout) if result.stdout else {}

    def recorded(self) -> None:
        def open_ones() -> int:
            return int(self.rows(select(func.count()).where(association.c.closed_at.is_(None)))[0][0])

        recorder = (
            self.listener._recorder
        )  # an Association that it has not written yet is not open in the ledger
        wait_for(
            lambda: recorder.is_idle() and open_ones() == 0, 20, lambda: "an Association was not recorded"
        )

    def rows(self, query: Any) -> list[tuple[Any, ...]]:
        with self.ledger.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def key(self, name: str) -> str:
        return self.ledger.studies.find(self.samples[name].study_instance_uid)[0].key

    def what_counts(self) -> list[object]:
        """Everything that a resend must leave as it is."""
        return [
            self.rows(select(study).order_by(study.c.key)),
            self.rows(select(revision)),
            self.rows(select(func.count()).select_from(instance)),
            self.rows(select(transition)),
            self.ledger.inventory.totals().balance,
        ]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {one.name: one for one in write_samples(tmp_path_factory.mktemp("samples"))}


@contextmanager
def archive_in(folder: Path, samples: dict[str, SampleStudy]) -> Iterator[Archive]:
    config = folder / "config.json"
    config.write_text(
        json.dumps({"DATADIR": str(folder / "data"), "DICOMIP": HOST, "DICOMPORT": free_port()})
    )
    settings = load_settings(config, {})
    settings.layout.ensure()
    ledger = Ledger(settings.ledger_url)
    listener = Listener(settings.default_site, Ledger(settings.ledger_url), worker="test")
    listener.start()
    made = Archive(config, settings, ledger, samples, listener)
    try:
        for name, calling, called in (("ct-thorax", "CT1", "RESEARCH"), ("sr-report", "RIS", "FIONA")):
            peer = replace(settings.default_site.peer, ae_title=called)
            assert not send_files(samples[name].files, peer, calling).failed
            made.recorded()
            record = ledger.studies.find(samples[name].study_instance_uid)[0]
            ledger.studies.arrive(
                record.key, instance_count=record.instance_count, expected=None, now=9.0, run_id="r"
            )
            ledger.studies.register(record.key, 1, now=9.0, run_id="r")
            ledger.studies.route(record.key, 1, "nothing says where it goes", now=9.0, run_id="r")
        yield made
    finally:
        listener.stop(5.0)


@pytest.fixture
def archive(tmp_path: Path, samples: dict[str, SampleStudy]) -> Iterator[Archive]:
    with archive_in(tmp_path, samples) as made:
        yield made


def test_a_study_sent_again_to_ourselves_changes_no_count_no_revision_and_no_decision(
    archive: Archive,
) -> None:
    before = archive.what_counts()
    result, summary = archive.run("--study", archive.key("ct-thorax"))
    assert result.exit_code == 0
    count = len(archive.samples["ct-thorax"].files)
    assert (summary["studies"], summary["stored"], summary["gone"]) == (1, count, 0)
    assert archive.what_counts() == before
    assert archive.ledger.studies.unrouted() == archive.ledger.studies.arriving() == []
    last = archive.rows(
        select(association.c.calling_ae, association.c.called_ae).order_by(association.c.opened_at)
    )
    assert last[-1] == ("CT1", "RESEARCH")


def test_studies_are_chosen_by_patient_uid_days_and_a_pattern_of_the_sender(archive: Archive) -> None:
    ct, sr = archive.samples["ct-thorax"], archive.samples["sr-report"]
    ct_key, sr_key = archive.key("ct-thorax"), archive.key("sr-report")

    def chosen(*arguments: object) -> set[str]:
        _, summary = archive.run(*arguments, "--dry-run")
        return {one["study"] for one in summary["dry_run"]}

    assert chosen("--study", sr.study_instance_uid) == {sr_key}
    assert chosen("--patient", ct.patient_id) == {ct_key}
    assert chosen("--patient", sr.patient_name) == {sr_key}
    assert chosen("--last", 1) == chosen("--from-ae", "*") == {ct_key, sr_key}
    assert chosen("--from-ae", "CT*") == chosen("--from-ae", "ct?", "--last", 2) == {ct_key}
    assert chosen("--patient", ct.patient_id, "--from-ae", "RIS") == set()
    with archive.ledger.begin() as connection:
        connection.execute(study.update().where(study.c.key == sr_key).values(last_received_at=1000.0))
    assert chosen("--last", 1) == {ct_key}


def test_the_gateway_reaches_its_own_receiver_whatever_its_callers_must_show(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"aetitle": "CT1", "tls": True}, {"aetitle": "RIS", "addresses": ["10.0.0.1"]}]
    rules = access_from({"callers": lines}, place="t")
    monkeypatch.setattr(archive.listener._door, "_rules", rules)
    own = json.loads(archive.config.read_text())
    security = {"certificate": "/none.pem", "key": "/none.key"}
    archive.config.write_text(json.dumps({**own, "ACCESS": {"callers": lines}, "TLS": security}))
    before = archive.what_counts()
    result, summary = archive.run("--last", 1)
    assert result.exit_code == 0, result.stderr
    assert summary["stored"] == sum(len(archive.samples[name].files) for name in ("ct-thorax", "sr-report"))
    assert archive.what_counts() == before
    passes = archive.settings.layout.own_calls
    assert list(passes.iterdir()) == []
    peer = replace(archive.settings.default_site.peer, ae_title="FIONA")
    with pytest.raises(Permanent, match="rejected"):
        send_files(archive.samples["ct-thorax"].files, peer, "CT1")
    with pytest.raises(Permanent, match="rejected"):
        send_files(archive.samples["ct-thorax"].files, peer, "CT1", own_pass=lambda: "0" * 64)
    passes.chmod(0o750)
    result, summary = archive.run("--study", archive.key("sr-report"))
    assert (result.exit_code, summary["stored"]) == (1, 0)
    assert "our own receiver, with a pass" in " ".join(result.stderr.split())
    passes.rmdir()
    result, _ = archive.run("--study", archive.key("sr-report"))
    assert result.exit_code == 1
    assert "ACCESS.callers" in " ".join(result.stderr.split())


def test_a_dry_run_sends_nothing_and_says_where_it_would_go(archive: Archive) -> None:
    before = archive.rows(select(func.count()).select_from(association))
    result, summary = archive.run("--study", archive.key("ct-thorax"), "--dry-run")
    assert result.exit_code == 0
    (one,) = summary["dry_run"]
    assert (one["calling"], one["to"].split("@")[0], summary["stored"]) == ("CT1", "RESEARCH", 0)
    assert archive.rows(select(func.count()).select_from(association)) == before


def test_another_receiver_gets_the_whole_study_without_what_is_aside(
    archive: Archive, tmp_path: Path
) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        result, summary = archive.run(
            "--study", archive.key("ct-thorax"), "--to", pacs.peer, "--calling", "ME"
        )
        assert result.exit_code == 0
        assert len(pacs.index) == len(archive.samples["ct-thorax"].files) == summary["stored"]
    assert summary["to"] == str(pacs.peer)


def test_every_look_up_is_audited_and_names_no_patient(archive: Archive) -> None:
    patient = archive.samples["ct-thorax"].patient_id
    result, _ = archive.run("--patient", patient)
    archive.run("--patient", "somebody else", "--dry-run")
    noted = archive.rows(select(audit.c.action, audit.c.subject).order_by(audit.c.id))
    assert noted == [("send", "1 found"), ("send", archive.key("ct-thorax")), ("send --dry-run", "0 found")]
    assert patient not in result.output


def test_what_was_cleaned_up_is_counted_and_fails(archive: Archive) -> None:
    key = archive.key("sr-report")
    first = archive.ledger.studies.instances(key)[0]
    archive.ledger.studies.purge(key, [first.id], now=10.0)
    result, summary = archive.run("--study", key)
    assert (result.exit_code, summary["gone"], summary["stored"]) == (
        1,
        1,
        len(archive.samples["sr-report"].files) - 1,
    )
    assert "1 not sent: cleaned up after delivery" in " ".join(result.stderr.split())


def test_nothing_found_is_a_failure_and_paths_and_studies_are_not_mixed(
    archive: Archive, tmp_path: Path
) -> None:
    result, summary = archive.run("--study", "20200101-000000000000")
    assert (result.exit_code, summary["instances"]) == (1, 0)
    called = run_as_called("send", str(tmp_path), "--study", "x", "--config", str(archive.config))
    assert called.returncode == 2
    assert "not both" in called.stderr
