from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import FileDataset

from fiona_dagster.adapters.dicom_files import quiet_pydicom, read_instance
from fiona_dagster.adapters.releases import deidentify_study, recall_release, verify_release
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.deidentification import DeidentifiedStudy, ReleaseRequest, SourceInstance
from fiona_dagster.domain.errors import FionaError, Permanent
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.verification import CHECKS, QuarantinedStudy, VerifiedStudy
from tests.conftest import need_shared
from tests.domain.deid.planted import GONE, KEY, ct_instance, request, saved

PROFILE = Profile()


def sources_of(folder: Path, *datasets: FileDataset) -> list[SourceInstance]:
    return [
        SourceInstance(saved(one, folder / f"{number}.dcm"), number, str(one.SOPInstanceUID))
        for number, one in enumerate(datasets, 1)
    ]


@pytest.fixture
def sources(tmp_path: Path) -> list[SourceInstance]:
    return sources_of(tmp_path / "in", ct_instance(1), ct_instance(2))


def released(
    sources: Sequence[SourceInstance], folder: Path, **policy: object
) -> tuple[ReleaseRequest, DeidentifiedStudy]:
    asked = request(folder / "out", **policy)
    return asked, deidentify_study(sources, asked, KEY, PROFILE)


def verified(
    study: DeidentifiedStudy, sources: Sequence[SourceInstance], asked: ReleaseRequest
) -> VerifiedStudy:
    outcome = verify_release(study, sources, asked, KEY, PROFILE)
    assert isinstance(outcome, VerifiedStudy), outcome.checks
    return outcome


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_study_with_planted_identifiers_is_released_and_verified(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    assert study.counts() == {"released": 2, "held": 0, "excluded": 0, "failed": 0}
    outcome = verify_release(study, sources, asked, KEY, PROFILE, revision=3)
    assert isinstance(outcome, VerifiedStudy), outcome.checks
    assert [check.name for check in outcome.checks] == list(CHECKS)
    assert {check.examined for check in outcome.checks} == {2}
    assert (outcome.revision, outcome.participant, len(outcome.instances)) == (3, "P-001", 2)
    for one in study.released:
        file = asked.folder / one.path
        assert one.path == f"{one.series_instance_uid}/CT.{one.sop_instance_uid}.dcm"
        assert file.stat().st_size == one.size_bytes
        assert one.sha256 == ""
        assert not [value for value in GONE if value.lower().encode() in file.read_bytes().lower()]


def test_verification_takes_the_digest_of_every_file(tmp_path: Path, sources: list[SourceInstance]) -> None:
    asked, study = released(sources, tmp_path)
    with pytest.raises(ValueError, match="not verified"):
        _ = study.manifest_sha256
    outcome = verified(study, sources, asked)
    files = [(asked.folder / one.path).read_bytes() for one in outcome.instances]
    assert [one.sha256 for one in outcome.instances] == [hashlib.sha256(file).hexdigest() for file in files]
    assert deidentify_study(sources, asked, KEY, PROFILE) == study
    assert verified(study, sources, asked).study.manifest_sha256 == outcome.study.manifest_sha256


def large_instance(number: int) -> FileDataset:
    """Its pixels are not read with its header."""
    dataset = ct_instance(number)
    dataset.Rows = dataset.Columns = 200
    dataset.PixelData = bytes(n % 251 for n in range(200 * 200 * 2))
    return dataset


def test_a_byte_that_changed_anywhere_between_copy_and_verification_is_found(tmp_path: Path) -> None:
    """Not at every place at once: around each border, and some hundred places between."""
    sources = sources_of(tmp_path / "in", ct_instance(1), large_instance(2))
    asked = request(tmp_path / "out")
    study = deidentify_study(sources, asked, KEY, PROFILE)
    verified(study, sources, asked)
    assert study.counts()["released"] == 2
    for one in study.released:
        path = asked.folder / one.path
        content, span = path.read_bytes(), read_instance(path).pixels
        assert span is not None
        borders = [
            0,
            1,
            127,
            128,
            131,
            132,
            span.start - 1,
            span.start,
            span.end - 1,
            span.end,
            len(content) - 1,
        ]
        for place in sorted({*borders, *range(0, len(content), len(content) // 40)} - {len(content)}):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x01]) + content[place + 1 :])
            outcome = verify_release(study, sources, asked, KEY, PROFILE)
            assert isinstance(outcome, QuarantinedStudy), place
            failed = {check.name for check in outcome.checks if not check.passed}
            assert "conservation" in failed
            assert ("pixels_unchanged" in failed) or not span.start <= place < span.end
        for other in (content + b"\0\0", content[:-2], content[: span.start] + content[span.end :]):
            path.write_bytes(other)
            assert isinstance(verify_release(study, sources, asked, KEY, PROFILE), QuarantinedStudy)
        path.write_bytes(content)
    verified(study, sources, asked)


def test_running_twice_writes_the_same_bytes_and_removes_what_is_not_released_any_more(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    before = content(asked.folder)
    (asked.folder / "1.2.3").mkdir()
    (asked.folder / "1.2.3" / ".CT.x.dcm.1234.part").write_bytes(b"left by a crash")
    assert deidentify_study(sources, asked, KEY, PROFILE) == study
    assert content(asked.folder) == before
    held = [sources[0], replace(sources[1], held_reason="same SOP Instance UID, other content")]
    again = deidentify_study(held, asked, KEY, PROFILE)
    assert again.counts() == {"released": 1, "held": 1, "excluded": 0, "failed": 0}
    assert list(content(asked.folder)) == [again.released[0].path]


def test_a_part_of_a_copy_that_a_crash_left_in_its_place_is_never_released_and_replaced_by_the_next_run(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    before = content(asked.folder)
    place = asked.folder / study.released[0].path
    os.truncate(place, place.stat().st_size // 2)
    assert isinstance(verify_release(study, sources, asked, KEY, PROFILE), QuarantinedStudy)
    assert deidentify_study(sources, asked, KEY, PROFILE) == study
    assert content(asked.folder) == before


def test_a_late_image_gets_the_uids_and_shift_of_its_study(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    (late,) = sources_of(tmp_path / "late", ct_instance(3))
    both = deidentify_study([*sources, late], asked, KEY, PROFILE)
    assert both.instances[:2] == study.instances
    dates = {dcmread(asked.folder / one.path).StudyDate for one in both.released}
    assert len(dates) == 1


def test_one_broken_instance_costs_no_other(tmp_path: Path, sources: list[SourceInstance]) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(sources[0].path.read_bytes()[:-60])
    gone = SourceInstance(tmp_path / "gone.dcm", 8, "1.2.3")
    study = released([sources[0], SourceInstance(broken, 9, ""), gone], tmp_path)[1]
    assert [one.disposition for one in study.instances] == ["released", "failed", "failed"]
    assert all("Zwingen" not in one.reason for one in study.instances)
    assert study.instances[1].identity == 9


def test_instances_with_one_uid_are_counted_and_never_overwrite(tmp_path: Path) -> None:
    same, other = ct_instance(1), ct_instance(1)
    other.SliceThickness = "9"
    twice = sources_of(tmp_path / "a", same, same)
    asked, study = released(twice, tmp_path / "a")
    assert [one.disposition for one in study.instances] == ["released", "excluded"]
    assert isinstance(verify_release(study, twice, asked, KEY, PROFILE), VerifiedStudy)
    differing = sources_of(tmp_path / "b", same, other)
    study = released(differing, tmp_path / "b")[1]
    assert [one.disposition for one in study.instances] == ["held", "held"]


def test_an_instance_of_another_study_or_another_uid_is_held(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    (stranger,) = sources_of(tmp_path / "x", ct_instance(4, study="1.2.3.4"))
    study = released([sources[0], stranger, replace(sources[1], sop_instance_uid="1.2.3")], tmp_path)[1]
    assert [one.disposition for one in study.instances] == ["released", "held", "held"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_original_with_text_where_uids_belong_is_released_with_valid_ones(tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.RelatedGeneralSOPClassUID, dataset.StudyInstanceUID = "Zwingenberger^Ottokar", "77112233-1"
    dataset.FrameOfReferenceUID = "1.02.3"
    sources = sources_of(tmp_path / "in", dataset)
    asked, study = released(sources, tmp_path)
    outcome = verify_release(study, sources, asked, KEY, PROFILE)
    assert isinstance(outcome, VerifiedStudy), outcome.checks
    copy = dcmread(asked.folder / study.released[0].path)
    assert copy.StudyInstanceUID == study.study_instance_uid
    assert all(is_valid_uid(copy[tag].value) for tag in ("RelatedGeneralSOPClassUID", "FrameOfReferenceUID"))


def test_a_study_of_several_patients_is_held_as_a_whole(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    assert len(study.released) == 2
    other, broken = ct_instance(3), tmp_path / "broken.dcm"
    other.PatientID = "77112234"
    broken.write_bytes(b"no DICOM")
    mixed = [*sources, *sources_of(tmp_path / "x", other), SourceInstance(broken, 9, "")]
    study = released(mixed, tmp_path)[1]
    assert [one.disposition for one in study.instances] == ["held", "held", "held", "failed"]
    assert {one.reason for one in study.instances[:3]} == {"several PatientIDs under one Study Instance UID"}
    assert content(asked.folder) == {}


def test_a_source_that_is_held_anyway_still_tells_of_another_patient(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    other = ct_instance(3)
    other.PatientID = "77112234"
    (held,) = sources_of(tmp_path / "x", other)
    study = released([*sources, replace(held, held_reason="told by the caller")], tmp_path)[1]
    assert [one.disposition for one in study.instances] == ["held", "held", "held"]


def test_blanks_around_and_absence_of_a_patient_id_are_no_other_patient(tmp_path: Path) -> None:
    padded, empty, stranger = ct_instance(1), ct_instance(2), ct_instance(3, study="1.2.3.4")
    padded.PatientID, empty.PatientID, stranger.PatientID = " 77112233 ", "", "4711"
    study = released(sources_of(tmp_path / "in", ct_instance(4), padded, empty, stranger), tmp_path)[1]
    assert [one.disposition for one in study.instances] == ["released", "released", "released", "held"]


def test_progress_is_told(tmp_path: Path, sources: list[SourceInstance]) -> None:
    told: list[tuple[int, int]] = []
    deidentify_study(
        sources, request(tmp_path / "out"), KEY, PROFILE, lambda done, of: told.append((done, of))
    )
    assert told == [(1, 2), (2, 2)]
    asked = request(tmp_path / "out")
    study = deidentify_study(sources, asked, KEY, PROFILE)
    told.clear()
    verify_release(study, sources, asked, KEY, PROFILE, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def edited(path: Path, change: Callable[[FileDataset], None]) -> None:
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=False)


def put(keyword: str, value: object) -> Callable[[FileDataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("no_removed_value_left", put("PatientComments", "x")),
        ("no_removed_value_left", put("SequenceName", "Zwingenberger")),
        ("no_removed_value_left", put("StudyDate", "20191224")),
        ("no_removed_value_left", put("OperatorsName", "Nobody")),
        ("no_removed_value_left", put("FrameOfReferenceUID", "1.2.826.0.1.3680043.99.1.9")),
        ("no_removed_value_left", put("RelatedGeneralSOPClassUID", "Zwingenberger")),
        ("no_removed_value_left", put("SOPClassesInStudy", "1.2.3.77112233")),
        ("no_removed_value_left", put("KVP", "7.7112233E7")),
        ("no_removed_value_left", put("ConvolutionKernel", "OttokarZwingen")),
        ("valid_uids", put("RelatedGeneralSOPClassUID", "no UID")),
        ("no_removed_value_left", lambda d: d.add_new(0x00091001, "LO", "x")),
        ("no_removed_value_left", lambda d: d.file_meta.add_new(0x00020016, "AE", "SCANNER-Q9")),
        ("no_removed_value_left", lambda d: d.add_new(0x00282000, "OB", b"..ZWINGENBERGER.")),
        ("pixels_unchanged", put("PixelData", bytes(32))),
        ("references_resolve", put("SourceImageSequence", [])),
        ("valid_uids", put("FrameOfReferenceUID", "1.02.3")),
        ("still_readable", put("SeriesInstanceUID", "")),
        ("still_readable", put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4")),
        ("still_readable", put("preamble", b"MZ".ljust(128, b"\0"))),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_copy_that_is_not_what_it_should_be_is_quarantined(
    tmp_path: Path, sources: list[SourceInstance], check: str, change: Callable[[FileDataset], None]
) -> None:
    asked, study = released(sources, tmp_path)
    edited(asked.folder / study.released[1].path, change)
    outcome = verify_release(study, sources, asked, KEY, PROFILE)
    assert isinstance(outcome, QuarantinedStudy)
    failed = {one.name: one for one in outcome.checks if not one.passed}
    assert {check, "conservation"} <= failed.keys()  # the file's digest is not the recorded one either
    assert failed[check].found >= 1
    assert "Zwingen" not in str(outcome.checks)
    assert check in outcome.reason


def test_a_copy_that_is_missing_superfluous_or_unreadable_is_quarantined(
    tmp_path: Path, sources: list[SourceInstance]
) -> None:
    asked, study = released(sources, tmp_path)
    path = asked.folder / study.released[0].path
    path.write_bytes(b"x")
    outcome = verify_release(study, sources, asked, KEY, PROFILE)
    assert {c.name for c in outcome.checks if not c.passed} == {"conservation", "still_readable"}
    path.unlink()
    shutil.copy(sources[0].path, asked.folder / "extra.dcm")
    outcome = verify_release(study, sources, asked, KEY, PROFILE)
    assert "extra.dcm" in next(c for c in outcome.checks if c.name == "conservation").places


def test_a_source_without_a_result_is_an_imbalance(tmp_path: Path, sources: list[SourceInstance]) -> None:
    asked, study = released(sources, tmp_path)
    short = replace(study, instances=study.instances[:1])
    outcome = verify_release(short, sources, asked, KEY, PROFILE)
    assert isinstance(outcome, QuarantinedStudy)
    assert not next(c for c in outcome.checks if c.name == "conservation").passed


def test_a_release_is_recalled_only_as_it_was_verified(tmp_path: Path, sources: list[SourceInstance]) -> None:
    asked, unverified = released(sources, tmp_path)
    study = verified(unverified, sources, asked).study
    recalled = recall_release(study, asked, verified_manifest=study.manifest_sha256, revision=1)
    assert recalled.instances == study.released
    with pytest.raises(Permanent):
        recall_release(study, asked, verified_manifest="0" * 64, revision=1)
    with pytest.raises(Permanent):
        recall_release(unverified, asked, verified_manifest=study.manifest_sha256, revision=1)
    (asked.folder / study.released[0].path).write_bytes(b"x")
    with pytest.raises(Permanent):
        recall_release(study, asked, verified_manifest=study.manifest_sha256, revision=1)


def _studies(files: Sequence[Path]) -> dict[str, list[SourceInstance]]:
    studies: defaultdict[str, list[SourceInstance]] = defaultdict(list)
    for path in files:
        try:
            with quiet_pydicom():
                dataset = read_instance(path).dataset
                uid = first_text(dataset, 0x00080018)
                studies[first_text(dataset, 0x0020000D)].append(SourceInstance(path, None, uid))
        except FionaError:
            studies["unreadable"].append(SourceInstance(path, None, ""))
    return studies


def _check_all(files: Sequence[Path], folder: Path) -> tuple[int, dict[str, tuple[str, ...]]]:
    """Every study of `files` released and verified, twice; the number of copies and what was quarantined, why."""
    count, quarantined = 0, {}
    for number, sources in enumerate(_studies(files).values()):
        asked = request(folder / str(number), pixels_are_clean=True)
        study = deidentify_study(sources, asked, KEY, PROFILE)
        assert sum(study.counts().values()) == len(sources)
        assert all(one.reason for one in study.instances if one.disposition != "released")
        outcome = verify_release(study, sources, asked, KEY, PROFILE)
        if isinstance(outcome, VerifiedStudy):
            count += len(outcome.instances)
        else:
            failed = [c for c in outcome.checks if not c.passed]
            assert [c.name for c in failed] == ["no_removed_value_left"], outcome.checks
            quarantined[sources[0].path.name] = failed[0].places
        if number % 4 == 0:
            assert deidentify_study(sources, asked, KEY, PROFILE) == study
    return count, quarantined


def test_pydicoms_own_files_are_released_verified_or_held_with_a_reason(tmp_path: Path) -> None:
    files = [Path(p) for p in get_testdata_files() if Path(p).is_file()]
    count, quarantined = _check_all(files, tmp_path)
    assert count >= 80
    assert len(quarantined) <= 4


def test_the_corpus_is_released_verified_or_held_with_a_reason(tmp_path: Path) -> None:
    every = sorted(p for p in need_shared("corpus").rglob("*") if p.is_file())
    by_folder: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in every:
        by_folder[path.parent].append(path)
    # images of one series teach nothing after the first ones; the folders of single odd files are read whole
    kept = [
        path
        for files in by_folder.values()
        for path in (files if files[0].suffix != ".dcm" or len(files) < 12 else files[:3])
        if path.stat().st_size < 1_000_000
    ]
    count, quarantined = _check_all(kept, tmp_path)
    assert count >= 100
    # these studies carry names of patients or devices in text that stays: the gate's purpose
    assert len(quarantined) <= 10
