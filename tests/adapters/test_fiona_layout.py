from __future__ import annotations

import json
import threading

from pydicom import Dataset

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.received_files import read_instance
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer
from tests.scp_listener.instances import SERIES, STUDY, instance, write

PEER = Peer("SCANNER 1", "PROJ", "10.0.0.1")


def archive(layout: Layout, *datasets: Dataset) -> None:
    for dataset in datasets:
        path = write(layout.archived_instance(dataset.StudyInstanceUID, dataset.SOPInstanceUID), dataset)
        fiona_layout.link_instance(layout, read_instance(path)[1])


def test_links_are_relative_so_that_a_data_directory_can_be_moved(layout: Layout) -> None:
    archive(layout, instance(1, Modality="SR", Manufacturer="A/B Co"))
    moved = Layout(layout.datadir.rename(layout.datadir.with_name("elsewhere")))
    for link in (
        moved.raw_link(STUDY, SERIES, f"{SERIES}.1"),
        moved.participants / "PAT1" / "20240131_101500",
        moved.srs / "A_B Co" / STUDY / f"{SERIES}.1",
        moved.srs / "A_B_Co" / STUDY / f"{SERIES}.1",
    ):
        if link.parent.exists():
            assert link.exists(), link
    assert len(list(moved.srs.iterdir())) == 1


def test_an_instance_without_patient_id_has_no_participants_link(layout: Layout) -> None:
    archive(layout, instance(1, PatientID=None))
    assert not list(layout.participants.iterdir())


def test_absent_dates_are_unknown(layout: Layout) -> None:
    archive(layout, instance(1, StudyDate=None, StudyTime=None))
    assert (layout.participants / "PAT1" / "unknown_unknown").is_symlink()


def test_touch_files_name_the_newest_sender(layout: Layout) -> None:
    fiona_layout.touch_arrived(layout, PEER, STUDY, SERIES)
    assert {path.name for path in layout.arrived.iterdir()} == {
        f"SCANNER1 PROJ 10.0.0.1 scp_{STUDY}",
        f"SCANNER1 PROJ 10.0.0.1 {STUDY} {SERIES}",
    }
    assert fiona_layout.arrived_peers(layout) == {STUDY: Peer("SCANNER1", "PROJ", "10.0.0.1")}


def test_two_writers_of_one_series_json_lose_no_image(layout: Layout) -> None:
    archive(layout, *(instance(number) for number in range(1, 21)))

    def add(numbers: range) -> None:
        for number in numbers:
            path = layout.archived_instance(STUDY, f"{SERIES}.{number}")
            fiona_layout.add_images(layout, STUDY, SERIES, [fiona_layout.read_fields(path, PEER)])

    threads = [threading.Thread(target=add, args=(numbers,)) for numbers in (range(1, 11), range(11, 21))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = json.loads(layout.series_json(STUDY, SERIES).read_text())
    assert found["NumFiles"] == "20"
    assert found["PatientName"] == "Doe^Jane"
    assert fiona_layout.is_complete(layout, STUDY)


def test_a_study_is_made_again_from_the_archive_with_its_types_and_sender(layout: Layout) -> None:
    archive(layout, instance(1), instance(2))
    fiona_layout.rebuild_study(layout, STUDY, PEER)
    fiona_layout.change_series_json(
        layout, STUDY, SERIES, lambda found: {**(found or {}), "ClassifyType": ["T1"], "NumFiles": "7"}
    )
    before = json.loads(layout.series_json(STUDY, SERIES).read_text())
    assert fiona_layout.rebuild_study(layout, STUDY) == 2
    assert json.loads(layout.series_json(STUDY, SERIES).read_text()) == {**before, "NumFiles": "2"}
    assert fiona_layout.study_peer(layout, STUDY) == PEER


def test_a_missing_link_or_count_makes_a_study_incomplete(layout: Layout) -> None:
    archive(layout, instance(1), instance(2))
    assert not fiona_layout.is_complete(layout, STUDY)
    fiona_layout.rebuild_study(layout, STUDY)
    assert fiona_layout.is_complete(layout, STUDY)
    layout.raw_link(STUDY, SERIES, f"{SERIES}.2").unlink()
    assert not fiona_layout.is_complete(layout, STUDY)


def test_a_file_that_cannot_be_read_does_not_stop_a_rebuild(layout: Layout) -> None:
    archive(layout, instance(1))
    (layout.study_archive(STUDY) / "notes.txt").write_text("no DICOM")
    assert fiona_layout.rebuild_study(layout, STUDY) == 1
