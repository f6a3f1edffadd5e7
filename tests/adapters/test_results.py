"""What workstations make of copies: an answer key of everything that such a result could tell of the patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ComprehensiveSRStorage, generate_uid

from fiona_dagster.adapters.release_parts import Task, gather_part
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid.codes import Option
from fiona_dagster.domain.deid.origin import (
    CopiedStudy,
    joined_origins,
    known_values,
    origin_of,
    strange_origin,
)
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import ReleaseRequest, SourceInstance
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.verification import VerifiedStudy
from tests.domain.deid.planted import GONE, KEY, STUDY, ct_instance, saved

OPTIONS = frozenset(
    {Option.CLEAN_DESCRIPTORS, Option.CLEAN_STRUCTURED_CONTENT, Option.CLEAN_GRAPHICS, Option.RETAIN_SAFE_PRIVATE}
)  # fmt: skip
PROFILE = Profile(options=OPTIONS)
PROJECT = Project(name="STUDY_A", profile=PROFILE)
ORIGINAL_UID = f"{STUDY}.2.1"
WORKSTATION_DAY = "20200115"
"""On which the result was made: with the copies' moved days beside it, it would tell how far those were moved."""


@dataclass(frozen=True)
class Workplace:
    """Copies of a study that were released, and what a workstation that has them is asked to send back."""

    folder: Path
    copy: FileDataset
    request: ReleaseRequest

    def treat(self, *results: Dataset) -> tuple[bool, list[FileDataset], tuple[str, ...]]:
        """Whether results pass verification, their copies, and what verification found."""
        sources = [
            SourceInstance(
                saved(one, self.folder / "results" / f"{number}.dcm"), number, str(one.SOPInstanceUID)
            )
            for number, one in enumerate(results, 1)
        ]
        asked = replace(self.request, folder=self.folder / "out")
        study = deidentify_study(sources, asked, KEY, PROFILE, workers=1)
        assert study.counts()["failed"] == 0, study.instances
        outcome = verify_release(study, sources, asked, KEY, PROFILE, workers=1)
        copies = [dcmread(asked.folder / one.path) for one in study.released]
        found = tuple(place for check in outcome.checks for place in check.places)
        return isinstance(outcome, VerifiedStudy), copies, found

    def result(self) -> FileDataset:
        """A derived image as a workstation makes it: new instance and series, all else of the copy."""
        made = dcmread(self.copy.filename)  # type: ignore[arg-type]
        made.SeriesInstanceUID, made.SOPInstanceUID = generate_uid(), generate_uid()
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        made.SeriesDate = made.ContentDate = WORKSTATION_DAY
        reference = Dataset()
        reference.ReferencedSOPClassUID = self.copy.SOPClassUID
        reference.ReferencedSOPInstanceUID = self.copy.SOPInstanceUID
        made.SourceImageSequence = [reference]
        return made

    def report(self, text: str) -> FileDataset:
        """A structured report of the copy that says `text`."""
        made = self.result()
        for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
                        "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"):  # fmt: skip
            if keyword in made:
                delattr(made, keyword)
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
        made.Modality, made.ValueType, made.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
        name = Dataset()
        name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", "Finding"
        made.ConceptNameCodeSequence = [name]
        item = Dataset()
        item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
        item.ConceptNameCodeSequence = [name]
        made.ContentSequence = [item]
        return made


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    originals = [ct_instance(1), ct_instance(2)]
    sources = [
        SourceInstance(saved(one, tmp_path / "in" / f"{number}.dcm"), number, str(one.SOPInstanceUID))
        for number, one in enumerate(originals, 1)
    ]
    request = ReleaseRequest(PROJECT, "P-001", "baseline", tmp_path / "copies")
    study = deidentify_study(sources, request, KEY, PROFILE, workers=1)
    task = Task(request, KEY, PROFILE, tuple(sources))
    values, _, _ = gather_part(lambda: None, task, range(2), frozenset({0, 1}))
    origin = origin_of(CopiedStudy(values, STUDY, "ACC4711777"), request, KEY)
    copy = dcmread(request.folder / study.released[0].path)
    return Workplace(tmp_path, copy, replace(request, made_of=joined_origins([origin])))


def test_a_result_stays_in_the_study_of_the_copies_that_it_was_made_of(workplace: Workplace) -> None:
    result = workplace.result()
    passed, (released,), found = workplace.treat(result)
    assert passed, found
    copy = workplace.copy
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "AcquisitionDateTime", "StudyID",
                    "AccessionNumber", "PatientID", "PatientName"):  # fmt: skip
        assert released[keyword].value == copy[keyword].value, keyword
    assert released.SourceImageSequence[0].ReferencedSOPInstanceUID == copy.SOPInstanceUID
    # what the workstation made itself is new, and tells neither its numbers nor its day
    assert released.SOPInstanceUID not in {result.SOPInstanceUID, copy.SOPInstanceUID}
    assert released.SeriesInstanceUID not in {result.SeriesInstanceUID, copy.SeriesInstanceUID}
    assert released.ContentDate not in {WORKSTATION_DAY, copy.StudyDate}


def test_results_are_released_where_a_project_has_no_naming_rule(workplace: Workplace) -> None:
    assert not PROJECT.has_naming_rule
    passed, _, found = workplace.treat(workplace.result(), workplace.report("no change"))
    assert passed, found


def _name_typed_in(result: FileDataset) -> None:
    result.PatientName = "Zwingenberger^Ottokar"


def _comments(result: FileDataset) -> None:
    result.ImageComments = "Zwingenberger, born 03.02.1961, id 77112233"
    result.SeriesDescription = "Segmentation for Ottokar Zwingenberger"


def _kept_attribute(result: FileDataset) -> None:
    result.ConvolutionKernel = "Zwingenberger"


def _other_ids(result: FileDataset) -> None:
    result.OtherPatientIDs, result.StudyID = "77112233", "77112233"


def _accession(result: FileDataset) -> None:
    result.AccessionNumber = "ACC4711777"
    result.ProtocolName = "CAD of ACC4711777"


def _private(result: FileDataset) -> None:
    block = result.private_block(0x0099, "WORKSTATION", create=True)
    block.add_new(0x01, "LO", "Zwingenberger^Ottokar")
    block.add_new(0x02, "OB", b"77112233 Zwingenberger")


def _original_uid(result: FileDataset) -> None:
    result.SourceImageSequence[0].ReferencedSOPInstanceUID = ORIGINAL_UID
    result.SourceImageSequence[0].PurposeOfReferenceCodeSequence = []


def _original_uid_as_text(result: FileDataset) -> None:
    result.SeriesDescription = ORIGINAL_UID
    result.ConvolutionKernel = "2.1"
    result.WindowCenterWidthExplanation = STUDY


def _original_day(result: FileDataset) -> None:
    result.ContentDate = result.SeriesDate = "20191224"
    result.InstanceCreationDate = "20191224"
    result.AcquisitionDateTime = "20191224101112"


def _birth_date(result: FileDataset) -> None:
    result.PatientBirthDate = "19610203"
    result.WindowCenterWidthExplanation = "1961-02-03"


def _graphics(result: FileDataset) -> None:
    text = Dataset()
    text.UnformattedTextValue = "Zwingenberger 24.12.2019"
    annotation = Dataset()
    annotation.TextObjectSequence = [text]
    result.GraphicAnnotationSequence = [annotation]


def _palette(result: FileDataset) -> None:
    result.add_new(0x00281201, "OW", b"ZWINGENBERGERX")


PLANTS: tuple[Callable[[FileDataset], None], ...] = (
    _name_typed_in, _comments, _kept_attribute, _other_ids, _accession, _private, _original_uid,
    _original_uid_as_text, _original_day, _birth_date, _graphics, _palette,
)  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS)
def test_nothing_of_the_patient_passes_in_a_result(
    workplace: Workplace, plant: Callable[[FileDataset], None]
) -> None:
    """The result's own PatientName and PatientID are the participant: only the originals say who that is."""
    result = workplace.result()
    plant(result)
    passed, copies, _ = workplace.treat(result)
    assert not passed or not _told(workplace, copies)


@pytest.mark.parametrize(
    "text",
    [
        "Ottokar Zwingenberger has a lesion of 12 mm",
        "Compared with the examination of 24.12.2019",
        "patient 77112233, ACC4711777",
        "Quellgasse 5, tel. 0043 5550199",
        f"see {ORIGINAL_UID}",
    ],
)
def test_nothing_of_the_patient_passes_in_the_text_of_a_report(workplace: Workplace, text: str) -> None:
    passed, copies, _ = workplace.treat(workplace.report(text))
    assert not passed or not _told(workplace, copies)


def test_a_reference_to_an_original_becomes_one_to_its_copy(workplace: Workplace) -> None:
    result = workplace.result()
    _original_uid(result)
    _, (released,), _ = workplace.treat(result)
    assert released.SourceImageSequence[0].ReferencedSOPInstanceUID == workplace.copy.SOPInstanceUID


def test_copies_that_a_person_gives_to_another_project_are_searched_too_and_nothing_of_them_stays(
    workplace: Workplace,
) -> None:
    assert workplace.request.made_of is not None
    values = workplace.request.made_of.values
    other = replace(workplace.request, project=Project(name="STUDY_B", profile=PROFILE), participant="B-7")
    elsewhere = replace(workplace, request=replace(other, made_of=strange_origin(values)))
    passed, (released,), found = elsewhere.treat(workplace.result())
    assert passed, found
    for keyword in (
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "StudyDate",
        "StudyID",
        "AccessionNumber",
        "PatientID",
    ):
        assert released[keyword].value != workplace.copy[keyword].value, keyword
    result = workplace.result()
    _palette(result)
    assert not elsewhere.treat(result)[0]


def test_what_the_ledger_knows_of_a_patient_is_searched_where_the_originals_are_gone() -> None:
    values = known_values({0x00100010: ("PN", "Zwingenberger^Ottokar"), 0x00100020: ("LO", "77112233"),
                           0x0020000D: ("UI", STUDY), 0x00080050: ("SH", "")})  # fmt: skip
    assert {"zwingenberger", "ottokar"} <= values.names
    assert values.identifiers == {"77112233"}
    assert values.uids == {STUDY}


def test_without_the_originals_a_name_would_pass(workplace: Workplace) -> None:
    """The answer key can fail: what tells is that the originals are known."""
    assert workplace.request.made_of is not None
    blind = replace(
        workplace,
        request=replace(
            workplace.request, made_of=replace(workplace.request.made_of, values=OriginalValues())
        ),
    )
    result = workplace.result()
    _palette(result)
    passed, copies, _ = blind.treat(result)
    assert passed
    assert _told(workplace, copies)


def _told(workplace: Workplace, copies: list[FileDataset]) -> list[str]:
    """What identifies, by the bytes of files."""
    files = [Path(str(one.filename)).read_bytes().lower() for one in copies]
    return [
        value for value in (*GONE, WORKSTATION_DAY) if any(value.lower().encode() in one for one in files)
    ]
