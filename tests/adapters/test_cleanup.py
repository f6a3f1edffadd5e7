from __future__ import annotations

import json
import os
from collections import namedtuple
from pathlib import Path

import pytest

from fiona_dagster.adapters.cleanup import (
    disk_use,
    leftovers,
    remove_copies,
    remove_exports,
    remove_study,
    stale_links,
)
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.layout import Layout

STUDY, OTHER = "1.2.3", "1.2.4"
NOW = 2_000_000_000.0


def _receive(
    layout: Layout, study: str, sop: str, *, series: str = "1.2.3.1", patient: str = "12345"
) -> None:
    """What reception leaves on disk for one instance."""
    file = layout.archived_instance(study, sop)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 100)
    for link in (layout.raw_link(study, series, sop), layout.sr_link("ACME", study, sop)):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(file)
    facts = {"PatientID": patient, "StudyDate": "20200101", "StudyTime": f"1015{study[-1]}"}
    layout.series_json(study, series).write_text(json.dumps(facts))
    person = layout.participant_link(*facts.values())
    person.parent.mkdir(parents=True, exist_ok=True)
    if not person.is_symlink():
        person.symlink_to(os.path.relpath(layout.study_raw(study), person.parent))
    layout.arrived_study("SCANNER", "FIONA", "10.0.0.1", study).touch()
    layout.arrived_series("SCANNER", "FIONA", "10.0.0.1", study, series).touch()


def _tree(layout: Layout) -> set[str]:
    return {str(p.relative_to(layout.datadir)) for p in layout.datadir.rglob("*")}


def _age(layout: Layout, at: float) -> None:
    """Make everything as old as `at`; folders last, because touching what they hold makes them young."""
    for path in sorted(layout.datadir.rglob("*"), reverse=True):
        os.utime(path, (at, at), follow_symlinks=False)


def test_a_study_goes_with_all_that_points_to_it_and_others_stay(layout: Layout) -> None:
    _receive(layout, OTHER, "9.1")
    before = _tree(layout)
    _receive(layout, STUDY, "8.1")
    _receive(layout, STUDY, "8.2", series="1.2.3.2")
    report = remove_study(layout, STUDY)
    assert _tree(layout) == before
    assert (report.bytes >= 200, report.left) == (True, 0)


def test_removing_again_changes_nothing(layout: Layout) -> None:
    _receive(layout, STUDY, "8.1")
    remove_study(layout, STUDY)
    before = _tree(layout)
    report = remove_study(layout, STUDY)
    assert _tree(layout) == before
    assert (report.files, report.links, report.bytes, report.left) == (0, 0, 0, 0)


def test_an_image_that_was_not_decided_upon_stays_with_its_link_and_names(layout: Layout) -> None:
    _receive(layout, STUDY, "8.1")
    _receive(layout, STUDY, "8.2")
    report = remove_study(layout, STUDY, only={"8.1"})
    assert report.left
    assert not layout.archived_instance(STUDY, "8.1").exists()
    assert layout.archived_instance(STUDY, "8.2").read_bytes() == b"x" * 100
    assert layout.raw_link(STUDY, "1.2.3.1", "8.2").exists()
    assert layout.series_json(STUDY, "1.2.3.1").exists()
    assert layout.participant_link("12345", "20200101", "10153").exists()
    assert len(list(layout.arrived.iterdir())) == 2


@pytest.mark.parametrize("step", range(12))
def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    layout: Layout, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _receive(layout, OTHER, "9.1")
    before = _tree(layout)
    _receive(layout, STUDY, "8.1")
    _receive(layout, STUDY, "8.2", series="1.2.3.2")
    done = 0
    real = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        nonlocal done
        if done == step:
            raise KeyboardInterrupt
        done += 1
        real(self, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            remove_study(layout, STUDY)
    remove_study(layout, STUDY)
    _age(layout, NOW - 7200)
    stale_links(layout, now=NOW)
    assert _tree(layout) == before


@pytest.mark.parametrize("uid", ["", "../raw", "1.2/3", "..", "1..2", ".1", "1.2.3\n"])
def test_a_uid_that_leads_elsewhere_deletes_nothing(layout: Layout, uid: str) -> None:
    _receive(layout, STUDY, "8.1")
    before = _tree(layout)
    with pytest.raises(Permanent):
        remove_study(layout, uid)
    assert _tree(layout) == before


def test_a_link_in_place_of_a_study_folder_is_refused(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "8.1").write_bytes(b"precious")
    layout.study_archive(STUDY).symlink_to(outside)
    with pytest.raises(Permanent, match="not where the layout has it"):
        remove_study(layout, STUDY)
    assert (outside / "8.1").exists()


def test_names_that_lead_out_of_the_study_folder_are_ignored(layout: Layout) -> None:
    _receive(layout, STUDY, "8.1")
    _receive(layout, OTHER, "9.1")
    remove_study(layout, STUDY, only={"8.1", f"../scp_{OTHER}/9.1", ".."})
    assert layout.archived_instance(OTHER, "9.1").exists()


def test_a_series_folder_that_is_a_link_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    _receive(layout, STUDY, "8.1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "8.1").write_bytes(b"precious")
    (layout.study_raw(STUDY) / "1.2.3.9").symlink_to(outside)
    remove_study(layout, STUDY)
    assert (outside / "8.1").exists()


def test_dangling_links_empty_folders_and_lonely_json_go(layout: Layout) -> None:
    _receive(layout, OTHER, "9.1")
    _age(layout, NOW - 7200)
    before = _tree(layout)
    _receive(layout, STUDY, "8.1")
    (layout.raw / "1.2.5").mkdir()
    (layout.study_raw(OTHER) / "1.2.4.9.json").write_text("{}")
    layout.archived_instance(STUDY, "8.1").unlink()
    layout.study_archive(STUDY).rmdir()
    _age(layout, NOW - 7200)
    for _ in range(3):  # what loses its target in one pass goes in the next
        report = stale_links(layout, now=NOW)
        _age(layout, NOW - 7200)
    assert _tree(layout) == before
    assert report.links == report.files == report.folders == 0


def test_nothing_younger_than_an_hour_is_stale(layout: Layout) -> None:
    _receive(layout, STUDY, "8.1")
    layout.archived_instance(STUDY, "8.1").unlink()
    (layout.raw / "1.2.5").mkdir()
    _age(layout, NOW - 3000)
    before = _tree(layout)
    stale_links(layout, now=NOW)
    assert _tree(layout) == before


def test_without_the_archive_no_link_is_stale(layout: Layout) -> None:
    _receive(layout, STUDY, "8.1")
    layout.archive.rename(layout.site / "unmounted")
    _age(layout, NOW - 7200)
    before = _tree(layout)
    with pytest.raises(Transient, match="mounted"):
        stale_links(layout, now=NOW)
    assert _tree(layout) == before


def test_packages_go_with_their_md5_and_manifest(layout: Layout) -> None:
    for name in ("a.zip", "a.zip.md5", "a.zip.manifest.json", "b.zip"):
        (layout.outbox / name).write_bytes(b"1234")
    scratch = layout.outbox / "tmp_x" / "in"
    scratch.mkdir(parents=True)
    (scratch / "link").symlink_to(layout.outbox / "b.zip")
    report = remove_exports(layout, ["a.zip", "tmp_x"])
    assert [p.name for p in layout.outbox.iterdir()] == ["b.zip"]
    assert (report.files, report.bytes, report.links, report.folders) == (3, 12, 1, 2)


@pytest.mark.parametrize("name", ["../config", "/etc/hostname", "..", ".", "a/b", ""])
def test_a_name_that_leads_out_of_the_outbox_deletes_nothing(layout: Layout, name: str) -> None:
    (layout.config / "config.json").write_text("{}")
    before = _tree(layout)
    with pytest.raises(Permanent):
        remove_exports(layout, [name])
    assert _tree(layout) == before


def test_unfinished_work_is_found_with_its_newest_change_and_size(layout: Layout) -> None:
    scratch = layout.outbox / "tmp_x"
    scratch.mkdir()
    (scratch / "a").write_bytes(b"12345")
    (layout.outbox / ".a.zip.0a.part").write_bytes(b"123")
    (layout.outbox / "a.zip").write_bytes(b"123")
    os.utime(scratch, (100, 100))
    os.utime(scratch / "a", (200, 200))
    part, temporary = leftovers(layout.outbox)
    assert (part.name, part.bytes) == (".a.zip.0a.part", 3)
    assert (temporary.name, temporary.changed_at) == ("tmp_x", 200.0)


def test_disk_use_takes_what_the_system_says(tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    assert disk_use(tmp_path, lambda _: usage(100, 85, 5)).percent == pytest.approx(94.44, abs=0.01)
    assert disk_use(tmp_path).used_bytes > 0


def test_previews_of_masked_images_go_with_the_copies_of_their_study_and_no_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for key in ("aaaa", "bbbb"):
        for folder in (layout.pixel_review(key, "STUDY_A"), layout.output / key / "STUDY_A"):
            folder.mkdir(parents=True)
            (folder / "1.2.3.png").write_bytes(b"a face and a name")
    assert layout.pixel_review("aaaa", "STUDY_A").is_relative_to(layout.quarantine)
    remove_copies(layout, "aaaa")
    kept = (layout.pixel_review("bbbb", "STUDY_A"), layout.output / "bbbb" / "STUDY_A")
    assert set(tmp_path.rglob("*.png")) == {folder / "1.2.3.png" for folder in kept}
