"""What a scanner has, what came, and what is fetched: a real receiver, a scanner with faults, Orthanc; time is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters.dicom_scu import Timeouts, read_stored_instance, send
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.retrieval import RetrievalSummary, Retriever, SourceBusy
from fiona_dagster.adapters.retrieval_pass import retrieve
from fiona_dagster.adapters.retrieval_work import active_sources, work_of
from fiona_dagster.domain.procedures import CreatedProcedure, ProcedureChange, ProcedureState
from fiona_dagster.domain.retrieval import GIVE_UP_SECONDS, SETTLE_SECONDS, Account, Origin, RetrievalState
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.scanner import EmbeddedScanner
from fiona_dagster.settings import DicomPeer, Settings, Site, load_settings
from scp_listener.server import Listener
from tests.conftest import free_port
from tests.peers import HOST, dcmqrscp, orthanc
from tests.scp_listener.conftest import wait_for

LATER = 400.0
"""Seconds after which whatever came is no longer coming, and a second look counts."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


@dataclass
class House:
    """A receiver with its ledger, one or two sources, and a clock that is set by hand."""

    settings: Settings
    ledger: Ledger
    scanners: list[EmbeddedScanner]
    now: float = field(default=0.0)

    @property
    def site(self) -> Site:
        return self.settings.default_site

    @property
    def scanner(self) -> EmbeddedScanner:
        return self.scanners[0]

    def look(self, *, after: float = LATER, timeouts: Timeouts | None = None) -> RetrievalSummary:
        """A pass some time later, until what it fetched is recorded."""
        self.now += after
        done = retrieve(
            self.ledger, self.settings, clock=lambda: self.now, timeouts=timeouts or Timeouts(dimse=10)
        )
        self.recorded()
        return done

    def recorded(self) -> None:
        wait_for(
            lambda: self._associations(open_ones=True) == 0, 20, lambda: "an Association was not recorded"
        )

    def push(self, *paths: Path, calling: str = "SCANNER") -> None:
        before = self._associations(open_ones=False)
        assert not send(paths, self.site.peer, calling).failed
        # the ledger comes behind the answers: that none is open may be so because it has not heard of this one
        wait_for(lambda: self._associations(open_ones=False) > before, 20, lambda: "it was not recorded")

    def _associations(self, *, open_ones: bool) -> int:
        from sqlalchemy import func, select

        from fiona_dagster.adapters.ledger.schema import association

        ended = association.c.closed_at
        wanted = ended.is_(None) if open_ones else ended.is_not(None)
        with self.ledger.read() as connection:
            query = select(func.count()).select_from(association).where(wanted)
            return int(connection.execute(query).scalar_one())

    def account(self, study: SampleStudy) -> Account:
        found = self.ledger.retrievals.get(self.site.name, study.study_instance_uid)
        assert found is not None
        return found

    def here(self, study: SampleStudy) -> set[str]:
        series = self.ledger.retrievals.instances_here(self.site.name, study.study_instance_uid)
        return {uid for uids in series.values() for uid in uids}

    def ask(self, study: SampleStudy) -> None:
        self.ledger.retrievals.open(self.site.name, [study.study_instance_uid], Origin.PERSON, now=self.now)

    def step(self, study: SampleStudy, state: ProcedureState) -> None:
        made = CreatedProcedure("1.9.9", (study.study_instance_uid,), "SCANNER", study.modality, {})
        if state is ProcedureState.IN_PROGRESS:
            self.ledger.procedures.create(self.site.name, "SCANNER", made)
        else:
            self.ledger.procedures.change(self.site.name, made.mpps_uid, ProcedureChange(state, None))

    def scans(self, state: str) -> set[str]:
        return {path.name for path in self.site.layout.scans(state).iterdir()}


@contextmanager
def house(
    folder: Path,
    studies: list[list[SampleStudy]],
    *,
    extra: list[DicomPeer] | None = None,
    port: int = 0,
    **options: Any,
) -> Iterator[House]:
    """A house with a scanner for each list of studies; `options` are RETRIEVE's."""
    import time

    with ExitStack() as stack:
        port = port or free_port()
        ours = DicomPeer("FIONA", HOST, port)
        scanners = [
            stack.enter_context(
                EmbeddedScanner(
                    folder / f"scanner{n}", some, f"SCANNER{n or ''}", known_peers={"FIONA": ours}
                )
            )
            for n, some in enumerate(studies)
        ]
        peers = [*(one.peer for one in scanners), *(extra or [])]
        wanted = {"method": "move", **options}
        content = {
            "DATADIR": str(folder / "data"), "DICOMIP": HOST, "DICOMPORT": port, "DICOMAETITLE": "FIONA",
            "OTHERSCANNER": [
                {"SCANNERIP": one.host, "SCANNERPORT": one.port, "SCANNERAETITLE": one.ae_title, "RETRIEVE": wanted}
                for one in peers
            ],
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(content))
        settings = load_settings(folder / "config.json", {})
        settings.layout.ensure()
        listener = Listener(settings.default_site, Ledger(settings.ledger_url), worker="test")
        stack.callback(listener.stop, 5.0)
        listener.start()
        yield House(settings, Ledger(settings.ledger_url), scanners, time.time())


@pytest.fixture
def one(tmp_path: Path, samples: dict[str, SampleStudy]) -> Iterator[House]:
    with house(tmp_path, [list(samples.values())]) as made:
        yield made


def uids(study: SampleStudy) -> set[str]:
    return {str(read_stored_instance(path).sop_instance_uid) for path in (*study.files, *study.late)}


@pytest.mark.parametrize("method", ["move", "get"])
def test_a_study_that_came_in_part_is_completed_by_name_and_finished_by_two_looks(
    tmp_path: Path, samples: dict[str, SampleStudy], method: str
) -> None:
    study = samples["ct-thorax"]
    with house(tmp_path, [list(samples.values())], method=method) as one:
        one.push(*study.files[:5])
        assert one.look(after=1).requests == 0, "it may still be coming"
        fetched = one.look()
        assert (fetched.requests, fetched.instances) == (1, len(uids(study)) - 5)
        assert one.here(study) == uids(study)
        (record,) = one.ledger.studies.all()
        assert (record.instance_count, record.expected_instances) == (len(uids(study)), len(uids(study)))
        assert one.ledger.inventory.totals().held_reasons == {"arriving": len(uids(study))}, "none came twice"
        assert one.look().finished == 0
        assert one.look().finished == 1
        assert one.account(study).state is RetrievalState.FINISHED
        assert (one.scans("active"), one.scans("finished")) == (set(), {study.study_instance_uid})
        assert one.look().looked == 0


def test_a_study_of_which_nothing_came_is_fetched_when_its_modality_announced_it(
    one: House, samples: dict[str, SampleStudy]
) -> None:
    study = samples["mr-head"]
    one.step(study, ProcedureState.IN_PROGRESS)
    assert one.look(after=1).instances == len(uids(study))
    assert one.here(study) == uids(study)
    for _ in range(3):
        one.look()
    assert one.account(study).reason == "a procedure step has not ended"
    one.step(study, ProcedureState.COMPLETED)
    one.look()
    assert one.look(after=SETTLE_SECONDS).finished == 1


def test_a_file_in_active_scans_asks_for_a_study_and_again_for_one_that_ended(
    one: House, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    folder = one.site.layout.scans("active")
    folder.mkdir()
    (folder / study.study_instance_uid).touch()
    (folder / "notes.txt").touch()
    assert work_of(one.ledger, one.site, active_sources(one.site)[0], now=one.now)
    one.look(after=1)
    assert one.here(study) == uids(study)
    one.look()
    one.look()
    assert one.scans("finished") == {study.study_instance_uid}
    assert one.scans("active") == {"notes.txt"}
    (folder / study.study_instance_uid).touch()
    os.utime(folder / study.study_instance_uid, (one.now + 1, one.now + 1))
    assert one.look().looked == 1
    assert one.account(study).state is RetrievalState.ACTIVE


def test_a_late_image_that_the_scanner_has_opens_a_finished_study_again(
    one: House, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    one.push(*study.files[:1])
    one.scanner.faults = Faults(retrieve_half=True)
    for _ in range(2):
        one.look()
    account = one.account(study)
    one.ledger.retrievals.keep(
        Account(**{**vars(account), "state": RetrievalState.FINISHED, "ended_at": 1.0})
    )
    one.scanner.faults = Faults()
    one.look()
    assert one.account(study).state is RetrievalState.ACTIVE


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(hide_half=True), "the source shows fewer instances than before"),
        (Faults(query_status=0xC002), "0xC002"),
        (Faults(query_status=0xA900), "0xA900"),
        (Faults(query_hang_seconds=5), "did not answer in time"),
    ],
    ids=["answers half", "fails", "refuses", "hangs"],
)
def test_a_source_that_answers_less_than_before_finishes_nothing_and_the_study_is_given_up_after_a_day(
    one: House, samples: dict[str, SampleStudy], faults: Faults, reason: str
) -> None:
    study = samples["ct-thorax"]
    one.push(*study.files, *study.late)
    one.look()
    assert one.account(study).agreed_at is not None
    one.scanner.faults = faults
    timeouts = Timeouts(dimse=0.2 if faults.query_hang_seconds else 10)
    for _ in range(2):
        one.look(after=3600, timeouts=timeouts)
        assert one.account(study).state is RetrievalState.ACTIVE
        assert reason in one.account(study).reason
    given_up = one.look(after=GIVE_UP_SECONDS, timeouts=timeouts)
    assert given_up.failed == 1
    assert one.scans("failed") == {study.study_instance_uid}
    totals = one.ledger.retrievals.totals()
    assert totals["failed"]["studies"] == 1
    assert study.study_instance_uid not in json.dumps(totals)


def test_a_source_that_forgets_a_study_does_not_complete_it(
    one: House, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    one.push(*study.files)
    one.look()
    for uid in uids(study):
        one.scanner.index._rows("DELETE FROM instance WHERE sop_instance_uid = ?", uid)
    for _ in range(3):
        one.look()
    assert one.account(study).state is RetrievalState.ACTIVE
    assert one.account(study).reason == "the source shows no instance of it"


@pytest.mark.parametrize(
    "faults",
    [
        Faults(retrieve_half=True),
        Faults(retrieve_status=0xA702, retrieve_limit=3),
        Faults(retrieve_status=0xC001),
    ],
)
def test_a_fetch_that_brought_a_part_goes_on_where_it_ended(
    one: House, samples: dict[str, SampleStudy], faults: Faults
) -> None:
    study = samples["ct-thorax"]
    one.scanner.faults = faults
    one.ask(study)
    one.look(after=1)
    assert one.here(study) < uids(study)
    assert one.account(study).state is RetrievalState.ACTIVE
    one.scanner.faults = Faults()
    for _ in range(2):
        one.look(after=3600)
    assert one.here(study) == uids(study)
    assert one.ledger.inventory.totals().balance.holds


def test_a_series_that_the_source_never_sends_is_asked_for_ever_more_rarely_and_named_in_the_end(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    with house(tmp_path, [[study]], give_up_hours=1) as one:
        series = one.scanner.index._instances([study.study_instance_uid])[0].series_instance_uid
        one.scanner.faults = Faults(unsent_series=frozenset({series}))
        one.ask(study)
        begin = one.now
        while one.account(study).state is RetrievalState.ACTIVE:
            one.look(after=max(one.account(study).next_at - one.now, 0.0))
        assert one.now - begin >= 3600
        assert one.scanner.retrievals < 12
        assert one.account(study).reason.endswith("instances of the source are not here")


def test_a_destination_that_the_scanner_does_not_know_is_said_with_what_to_do(
    one: House, samples: dict[str, SampleStudy]
) -> None:
    one.scanner.known_peers.clear()
    one.ask(samples["sr-report"])
    done = one.look(after=1)
    assert any("does not know our AE title FIONA as a destination" in problem for problem in done.problems)
    assert one.account(samples["sr-report"]).next_at == one.now + 3600


def test_the_source_that_sent_the_first_image_is_asked_first_and_another_that_has_the_study_is_found(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    ct, sr = samples["ct-thorax"], samples["sr-report"]
    with house(tmp_path, [[ct], [ct, sr]]) as two:
        two.push(*ct.files[:1], calling="SCANNER1")
        two.ask(sr)
        two.look()
        assert two.account(ct).source == str(two.scanners[1].peer)
        assert two.account(sr).source == str(two.scanners[1].peer)
        assert (two.scanners[0].retrievals, two.scanners[1].retrievals) == (0, 2)


def test_recent_studies_of_a_source_are_looked_for_only_where_it_asks_for_that(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    from datetime import datetime, timedelta

    from pydicom import dcmread

    today = datetime.now().astimezone().date()
    folder = tmp_path / "recent"
    folder.mkdir()
    for number, (name, days) in enumerate((("sr-report", 0), ("ct-thorax", 0), ("mr-head", 9))):
        data_set = dcmread(samples[name].files[0])
        data_set.StudyDate = f"{today - timedelta(days=days):%Y%m%d}"
        data_set.save_as(folder / f"{number}.dcm")
    with house(tmp_path, [[]], discover_days=2, modalities=["CT"]) as one:
        one.scanner.index.add_files(sorted(folder.iterdir()))
        done = one.look(after=1)
        assert (done.discovered, done.instances) == (1, 1)
        assert one.look(after=60).discovered == 0
        one.scanner.faults = Faults(query_status=0xA900)
        assert any("0xA900" in problem for problem in one.look(after=1000).problems)
    (tmp_path / "quiet").mkdir()
    with house(tmp_path / "quiet", [[]]) as quiet:
        quiet.scanner.index.add_files(sorted(folder.iterdir()))
        assert quiet.look(after=1).looked == 0


@pytest.mark.parametrize(
    ("control", "retrieve", "runs"),
    [
        (None, None, False), ("11", None, True), ("10", None, False), ("1", None, False),
        (None, "move", True), ("10", "move", False), ("11", "off", False),
    ],
)  # fmt: skip
def test_fionas_control_file_lets_retrieval_run_or_not(
    tmp_path: Path, control: str | None, retrieve: str | None, runs: bool
) -> None:
    content = {"DATADIR": str(tmp_path), "SCANNERIP": "h", "SCANNERPORT": 1}
    (tmp_path / "config.json").write_text(json.dumps(content | ({"RETRIEVE": retrieve} if retrieve else {})))
    settings = load_settings(tmp_path / "config.json", {})
    assert not settings.warnings
    if control is not None:
        settings.layout.enabled.parent.mkdir()
        settings.layout.enabled.write_text(control)
    assert bool(active_sources(settings.default_site)) == runs


def test_one_process_at_a_time_retrieves_from_a_source(one: House) -> None:
    (source,) = active_sources(one.site)
    first = Retriever(one.ledger, one.settings, one.site, source)
    with first._alone(), pytest.raises(SourceBusy):
        Retriever(one.ledger, one.settings, one.site, source).run([])


@pytest.mark.parametrize(
    ("archive", "method"), [("orthanc", "move"), ("orthanc", "get"), ("dcmqrscp", "move")]
)
def test_a_real_archive_as_the_source_brings_exactly_what_is_missing(
    tmp_path: Path, samples: dict[str, SampleStudy], archive: str, method: str
) -> None:
    study, port = samples["ct-thorax"], free_port()
    ours = DicomPeer("FIONA", HOST, port)
    with ExitStack() as stack:
        if archive == "orthanc":
            peer = stack.enter_context(orthanc(tmp_path / "archive", modalities={"fiona": ours})).peer
        else:
            peer = stack.enter_context(dcmqrscp(tmp_path / "archive", ours))
        assert not send([*study.files, *study.late], peer, "TEST").failed
        one = stack.enter_context(house(tmp_path, [], extra=[peer], port=port, method=method))
        one.push(*study.files[:4])
        assert one.look().instances == len(uids(study)) - 4
        assert one.here(study) == uids(study)
        (record,) = one.ledger.studies.all()
        assert record.instance_count == len(uids(study)), "Orthanc encodes anew: no instance came twice"
        one.look()
        assert one.look().finished == 1
