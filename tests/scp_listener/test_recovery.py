from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import text

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, Refusal
from fiona_dagster.settings import Site
from scp_listener.recovery import Recovered, recover
from tests.scp_listener.instances import SERIES, STUDY, encoded, instance, write

PEER = Peer("SCANNER1", "PROJ", "10.0.0.1")


@pytest.fixture
def site(layout: Layout) -> Site:
    return Site("ABCD", layout, "127.0.0.1", 0, "FIONA")


@pytest.fixture
def ledger(layout: Layout) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{layout.ledger}")
    yield made
    made.close()


def rows(ledger: Ledger, sql: str) -> list[tuple[object, ...]]:
    with ledger.begin() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def placed(layout: Layout, dataset: Dataset) -> Path:
    """What a crash right after the rename leaves."""
    spool = Spool(layout)
    upload = write(spool.incoming("gone") / "upload.dcm", dataset)
    with closing(Upload.complete(upload)) as complete:
        return spool.place(complete, dataset.StudyInstanceUID, dataset.SOPInstanceUID).path


def test_placed_instances_that_the_ledger_does_not_know_are_recorded(site: Site, ledger: Ledger) -> None:
    for number in (1, 2):
        placed(site.layout, instance(number))
    placed(site.layout, instance(1, PatientName="Other"))
    fiona_layout.touch_arrived(site.layout, PEER, STUDY, SERIES)
    found = recover(site, ledger)
    assert found == Recovered(recorded=3, rebuilt_studies=1)
    assert rows(
        ledger, "select sop_instance_uid, aside, called_ae, receptions from instance order by 2, 1"
    ) == [
        (f"{SERIES}.1", 0, "PROJ", 1),
        (f"{SERIES}.2", 0, "PROJ", 1),
        (f"{SERIES}.1", 1, "PROJ", 1),
    ]
    assert rows(ledger, "select patient_id, instance_count from study") == [("PAT1", 3)]
    assert json.loads(site.layout.series_json(STUDY, SERIES).read_text())["NumFiles"] == "2"
    assert recover(site, ledger) == Recovered(), "a second time there is nothing to do"


def test_an_unfinished_upload_goes_to_the_quarantine(site: Site, ledger: Ledger) -> None:
    left = Spool(site.layout).incoming("gone") / "part.dcm"
    left.write_bytes(b"half")
    alive = Spool(site.layout).incoming("at-work") / "part.dcm"
    alive.write_bytes(b"half")
    assert recover(site, ledger, ["at-work"]).unacknowledged == 1
    assert alive.exists()
    assert not left.parent.exists()
    (kept,) = site.layout.refused.glob("*.dcm")
    assert json.loads(kept.with_suffix(".json").read_text())["reason"] == "unacknowledged at a crash"
    assert rows(ledger, "select path from refusal") == [(f"quarantine/refused/{kept.name}",)]


def test_an_upload_that_reached_the_archive_is_no_second_file(site: Site, ledger: Ledger) -> None:
    archived = placed(site.layout, instance(1))
    (Spool(site.layout).incoming("gone") / "upload.dcm").hardlink_to(archived)
    assert recover(site, ledger) == Recovered(recorded=1, rebuilt_studies=1)
    assert not list(site.layout.refused.iterdir())


def test_studies_that_did_not_change_since_all_was_recorded_are_not_opened(
    site: Site, ledger: Ledger
) -> None:
    archived = placed(site.layout, instance(1))
    os.utime(archived.parent, (1000.0, 1000.0))
    Spool(site.layout).mark_recorded(2000.0)
    assert recover(site, ledger) == Recovered()
    os.utime(archived.parent, (1990.0, 1990.0))
    Spool(site.layout).mark_recorded(2000.0)
    assert recover(site, ledger).recorded == 1


def test_the_sender_is_known_from_the_series_json_or_the_file(site: Site, ledger: Ledger) -> None:
    archived = placed(site.layout, instance(1))
    fiona_layout.rebuild_study(site.layout, STUDY, PEER)
    other = placed(site.layout, instance(2, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1"))
    recover(site, ledger)
    assert rows(ledger, "select calling_ae, called_ae from instance order by path") == [
        ("unknown", "unknown") if other < archived else ("SCANNER1", "PROJ"),
        ("SCANNER1", "PROJ") if other < archived else ("unknown", "unknown"),
    ]


def test_the_called_ae_title_outlives_a_crash_before_anything_but_the_file_was_written(
    site: Site, ledger: Ledger
) -> None:
    spool, image = Spool(site.layout), instance(1)
    names = str(image.SOPClassUID), str(image.SOPInstanceUID), ExplicitVRLittleEndian
    path = spool.incoming("gone") / "upload.dcm"
    path.write_bytes(file_meta(*names, "SCANNER1", "PROJ") + encoded(image))
    with closing(Upload.complete(path)) as complete:
        spool.place(complete, STUDY, str(image.SOPInstanceUID))
    assert recover(site, ledger).recorded == 1
    assert rows(ledger, "select calling_ae, called_ae from study") == [("SCANNER1", "PROJ")]
    found = fiona_layout.study_peer(site.layout, STUDY)
    assert found is not None
    assert (found.calling_ae, found.called_ae) == ("SCANNER1", "PROJ")
    other = placed(site.layout, instance(2))
    other.write_bytes(file_meta(names[0], other.name, names[2], "CT2", "ELSE") + encoded(instance(2)))
    assert recover(site, ledger).recorded == 1
    assert ("CT2", "ELSE") in rows(ledger, "select calling_ae, called_ae from instance")


def test_a_file_that_is_not_dicom_is_counted_and_looked_at_again(site: Site, ledger: Ledger) -> None:
    folder = site.layout.study_archive("1.2.3")
    folder.mkdir()
    (folder / "notes.txt").write_text("a person put this here")
    assert recover(site, ledger).unreadable == 1
    assert recover(site, ledger).unreadable == 1


def test_associations_of_processes_that_are_gone_are_closed(site: Site, ledger: Ledger) -> None:
    for worker in ("gone", "at-work"):
        ledger.reception.open_association(worker, "ABCD", worker, PEER, 1.0)
    assert recover(site, ledger, ["at-work"]).lost_associations == 1
    assert rows(ledger, "select outcome from association order by id") == [(None,), ("lost",)]


def test_a_refusal_whose_record_a_crash_took_is_recorded_from_what_lies_beside_the_file(
    site: Site, ledger: Ledger
) -> None:
    spool, peer = Spool(site.layout), Peer("CT1", "FIONA", "10.0.0.5")
    kept = []
    for number in (1, 2):
        upload = write(site.layout.incoming / f"{number}.dcm", instance(number))
        kept.append(spool.refuse(upload, Refusal(site.name, 0xC000, "broken", 100.0, peer)))
    second = site.layout.datadir / str(kept[1].path)
    second.with_suffix(".json").write_text('"cut"')
    assert recover(site, ledger, ["alive"]).refusals_recorded == 0, "it may be in the queue of a worker"
    assert recover(site, ledger).refusals_recorded == 2
    assert recover(site, ledger).refusals_recorded == 0
    with ledger.begin() as connection:
        rows = {row.path: row for row in connection.execute(text("select * from refusal"))}
    first = rows[kept[0].path]
    assert (first.status, first.reason, first.at, first.calling_ae) == (0xC000, "broken", 100.0, "CT1")
    assert "its reason was written" in rows[kept[1].path].reason
    assert ledger.inventory.totals().refused == 2
