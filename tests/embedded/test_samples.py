from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from fiona_dagster.adapters.dicom_scu import read_stored_instance
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.embedded.samples import SampleStudy, write_samples


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleStudy, ...]:
    return write_samples(tmp_path_factory.mktemp("samples"))


def sound(study: SampleStudy) -> list[Path]:
    return [*study.files, *study.late]


def by_name(studies: tuple[SampleStudy, ...], name: str) -> SampleStudy:
    return next(one for one in studies if one.name == name)


def test_the_same_bytes_are_written_each_time(tmp_path: Path) -> None:
    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_samples(folder)
        digests.append(
            {
                path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in folder.rglob("*.dcm")
            }
        )
    assert digests[0] == digests[1]
    assert 45 <= len(digests[0]) <= 60


def test_every_instance_belongs_to_its_study_and_patient_and_to_no_other(
    studies: tuple[SampleStudy, ...],
) -> None:
    seen: set[str] = set()
    for study in studies:
        for path in sound(study):
            one = dcmread(path)
            assert (one.StudyInstanceUID, one.AccessionNumber) == (
                study.study_instance_uid,
                study.accession_number,
            )
            assert (one.PatientID, str(one.PatientName)) == (study.patient_id, study.patient_name)
            assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
            assert is_valid_uid(one.SOPInstanceUID)
            assert one.SOPInstanceUID not in seen
            seen.add(one.SOPInstanceUID)
    assert len({study.accession_number for study in studies}) == len(studies)
    assert len({study.patient_id for study in studies}) == len(studies)
    assert sum(study.instance_count for study in studies) == len(seen) == 50


def test_the_studies_cover_what_the_gateway_must_be_shown(studies: tuple[SampleStudy, ...]) -> None:
    instances = [dcmread(path) for study in studies for path in sound(study)]
    assert {"CT", "MR", "US", "SR", "SEG", "CR"} == {one.Modality for one in instances}
    assert any(int(one.get("NumberOfFrames", 1)) == 30 for one in instances)
    assert sum(UID(one.file_meta.TransferSyntaxUID).is_compressed for one in instances) >= 5
    assert any("ø" in study.patient_name for study in studies)
    assert [study.name for study in studies if not study.coupled] == ["cr-uncoupled"]
    assert [len(study.late) for study in studies if study.late] == [3]


def test_pixels_stay_as_they_were(studies: tuple[SampleStudy, ...]) -> None:
    for name, source in (("ct-thorax", "CT_small.dcm"), ("us-heart", "examples_ybr_color.dcm")):
        original = dcmread(str(get_testdata_file(source)))
        assert dcmread(by_name(studies, name).files[0]).PixelData == original.PixelData


def test_slices_of_one_file_lie_one_thickness_apart(studies: tuple[SampleStudy, ...]) -> None:
    slices = [dcmread(path) for path in by_name(studies, "ct-thorax").files]
    positions = [float(one.ImagePositionPatient[2]) for one in slices]
    assert [round(b - a, 3) for a, b in pairwise(positions)] == [5.0] * 11
    assert [one.InstanceNumber for one in slices] == list(range(1, 13))


def test_the_segmentation_refers_to_the_slices_of_its_study(studies: tuple[SampleStudy, ...]) -> None:
    *slices, segmentation = (dcmread(path) for path in by_name(studies, "seg-liver").files)
    (series,) = segmentation.ReferencedSeriesSequence
    referred = {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence}
    assert {one.SOPInstanceUID for one in slices} == referred
    assert {one.SeriesInstanceUID for one in slices} == {series.SeriesInstanceUID}
    assert {one.FrameOfReferenceUID for one in slices} == {segmentation.FrameOfReferenceUID}


def test_damaged_instances_are_damaged(studies: tuple[SampleStudy, ...]) -> None:
    truncated, without_study = by_name(studies, "ct-corrupt").corrupt
    assert "StudyInstanceUID" not in dcmread(without_study)
    whole = dcmread(by_name(studies, "ct-corrupt").files[0])
    assert len(dcmread(truncated).PixelData) < len(whole.PixelData)
    assert read_stored_instance(truncated).sop_instance_uid != whole.SOPInstanceUID


def test_other_content_lies_under_a_known_uid(studies: tuple[SampleStudy, ...]) -> None:
    study = by_name(studies, "mr-same-uid")
    first, other = dcmread(study.files[0]), dcmread(study.other_content[0])
    assert first.SOPInstanceUID == other.SOPInstanceUID
    assert first.PixelData != other.PixelData


def test_no_patient_data_is_shown_with_a_study(studies: tuple[SampleStudy, ...]) -> None:
    for study in studies:
        for value in (study.patient_name, study.patient_id, study.accession_number, study.study_instance_uid):
            assert value not in repr(study)
