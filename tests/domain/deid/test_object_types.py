"""Every object type that is released has an instance here, full of identifiers, that goes the whole way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from fiona_dagster.adapters.conformance import conformance_difference
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.table import sop_classes
from fiona_dagster.domain.deid.tables import generate_object_types
from fiona_dagster.domain.deid.uids import uid_map
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.verification import VerifiedStudy
from tests.conftest import need_program
from tests.domain.deid.objects import GONE, family, planted
from tests.domain.deid.planted import KEY, ct_instance, request, saved
from tests.domain.deid.test_documents import pdf

PDF, CDA, OBJ = (f"1.2.840.10008.5.1.4.1.1.104.{number}" for number in (1, 2, 4))
CLEAN = [uid for uid, row in sop_classes().items() if row.handling in {"clean", "document"}]
ONE_A_FAMILY = list({family(uid): uid for uid in reversed(CLEAN)}.values())
REFERENCES = ("ReferencedSOPInstanceUID", "ReferencedFrameOfReferenceUID", "TrackingUID", "DoseReferenceUID",
              "DimensionOrganizationUID", "SpecimenUID", "FiducialUID", "SourceFrameOfReferenceUID")  # fmt: skip


def keyword(uid: str) -> str:
    return sop_classes()[uid].keyword


@pytest.mark.parametrize("uid", CLEAN, ids=keyword)
def test_a_released_object_type_loses_what_identifies_and_keeps_what_research_needs(
    uid: str, tmp_path: Path
) -> None:
    made = planted(uid)
    original, copy = released(made.dataset, tmp_path)
    content = Path(copy.filename).read_bytes().lower()
    assert [word for word in GONE if word.lower().encode() in content] == []
    for name in made.research:
        before = [value for value in values(original, name) if not identifies(value)]
        assert before, f"the test's instance has no {name}"
        assert (name, values(copy, name)) == (name, before)
    mapped = uid_map(request().project, KEY)
    for name in REFERENCES:
        tag = tag_for_keyword(name) or 0
        expected = [
            one if is_registered(str(one)) else mapped(str(one), tag) for one in values(original, name)
        ]
        assert (name, values(copy, name)) == (name, expected)


@pytest.mark.parametrize("uid", ONE_A_FAMILY, ids=keyword)
def test_a_copy_has_no_errors_that_its_original_had_not(uid: str, tmp_path: Path) -> None:
    need_program("dciodvfy")
    original, copy = released(planted(uid).dataset, tmp_path)
    found = conformance_difference(Path(original.filename), Path(copy.filename))
    assert found.checked
    assert list(found.new_errors) == []


def identifies(value: object) -> bool:
    return isinstance(value, str) and any(word in value for word in GONE)


def released(dataset: FileDataset, folder: Path, **policy: object) -> tuple[FileDataset, FileDataset]:
    """Original and verified copy, both read from disk."""
    originals = [ct_instance(1), dataset]
    sources = [
        SourceInstance(saved(one, folder / "in" / f"{number}.dcm"), number, str(one.SOPInstanceUID))
        for number, one in enumerate(originals, 1)
    ]
    asked = request(folder / "out", **policy)
    study = deidentify_study(sources, asked, KEY, Profile())
    result = study.instances[1]
    assert (result.disposition, result.reason) == ("released", "")
    outcome = verify_release(study, sources, asked, KEY, Profile())
    assert isinstance(outcome, VerifiedStudy), outcome.checks
    return dcmread(sources[1].path), dcmread(folder / "out" / result.path)


def values(dataset: Dataset, name: str) -> list[object]:
    """All values of an attribute, at every depth, in the order of the data set."""
    return [
        list(element.value) if element.VM > 1 and not isinstance(element.value, bytes) else element.value
        for element in elements(dataset)
        if element.keyword == name
    ]


def elements(dataset: Dataset) -> Iterator[object]:
    for element in dataset:
        if element.tag.is_private or element.tag.group == 0x0012 or element.keyword == "IconImageSequence":
            continue  # removed or written anew
        if element.VR == "SQ":
            for one in element.value:
                yield from elements(one)
        else:
            yield element


@pytest.mark.parametrize(
    ("uid", "shown"), [(PDF, b"No findings."), (CDA, b"Nodule size"), (OBJ, b"v 0 1 0.25\n")]
)
def test_a_document_is_released_made_anew(uid: str, shown: bytes, tmp_path: Path) -> None:
    _, copy = released(planted(uid).dataset, tmp_path)
    assert shown in copy.EncapsulatedDocument
    assert (
        copy.EncapsulatedDocument.rstrip(b"\0")
        == copy.EncapsulatedDocument[: copy.EncapsulatedDocumentLength]
    )
    assert copy.DocumentTitle == ""
    assert copy.HL7InstanceIdentifier == "REMOVED"


def test_a_document_that_names_somebody_of_the_study_is_held(tmp_path: Path) -> None:
    dataset = planted(PDF).dataset
    dataset.EncapsulatedDocument = pdf(b"BT /F 12 Tf 72 700 Td (Discussed with Dr. Ottokar) Tj ET")
    dataset.EncapsulatedDocumentLength = len(dataset.EncapsulatedDocument)
    source = SourceInstance(saved(dataset, tmp_path / "in" / "1.dcm"), 1, str(dataset.SOPInstanceUID))
    result = deidentify_study([source], request(tmp_path / "out"), KEY, Profile()).instances[0]
    assert result.disposition == "held"
    assert "ottokar" not in result.reason.lower()
    assert "the encapsulated document shows" in result.reason


def test_the_published_table_is_the_one_that_is_used() -> None:
    page = Path(__file__).parents[3] / "docs" / "object-types.md"
    assert page.read_text(encoding="utf-8") == generate_object_types.page(), (
        "make it anew: python -m fiona_dagster.domain.deid.tables.generate_object_types > docs/object-types.md"
    )


@pytest.mark.parametrize(
    "uid", [u for u, row in sop_classes().items() if row.handling == "project"], ids=keyword
)
def test_raw_data_that_a_project_asks_for_loses_its_private_elements(uid: str, tmp_path: Path) -> None:
    original, copy = released(planted(uid).dataset, tmp_path, release_raw_data=True)
    content = Path(copy.filename).read_bytes().lower()
    assert [word for word in GONE if word.lower().encode() in content] == []
    assert any(element.tag.is_private for element in original)
    assert not any(element.tag.is_private for element in copy)
