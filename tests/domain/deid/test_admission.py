from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

from fiona_dagster.domain.deid.admission import admit
from fiona_dagster.domain.deid.profile import Option, Profile
from fiona_dagster.domain.deid.table import rows, sop_classes
from fiona_dagster.domain.project import Project
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance
from tests.domain.deid.test_engine import structured_report

EXPLICIT = "1.2.840.10008.1.2.1"
RAW, SLIDE = "1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.77.1.6"
US, SC, DX = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.1.1"


def verdict(
    dataset: Dataset, syntax: str = EXPLICIT, profile: Profile | None = None, **policy: object
) -> tuple[str, str]:
    found = admit(reread(dataset), syntax, Project(name="STUDY_A", **policy), profile)  # type: ignore[arg-type]
    return (found.disposition, found.reason) if found else ("released", "")


def image(**values: object) -> Dataset:
    dataset = ct_instance()
    del dataset[0x60000010], dataset[0x60003000]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_an_instance_without_a_required_uid_is_held(keyword: str) -> None:
    assert verdict(image(**{keyword: ""}))[0] == "held"


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.3.4",
        "1.2.840.10008.5.1.4.1.1.9.4.1",
        "1.2.840.10008.5.1.4.1.1.66",
        "1.2.840.10008.5.1.4.1.1.77.1.1.1",
        "1.2.840.10008.5.1.4.1.1.481.12",
    ],
)
def test_an_object_type_without_a_tested_handler_is_held(uid: str) -> None:
    disposition, reason = verdict(image(SOPClassUID=uid), pixels_are_clean=True)
    assert disposition == "held"
    assert "without a tested handler" in reason


def test_a_transfer_syntax_that_the_standard_does_not_know_is_held() -> None:
    assert "transfer syntax" in verdict(image(), "1.2.840.113619.5.2")[1]


@pytest.mark.parametrize(
    ("values", "disposition"),
    [
        ({}, "released"),
        ({"BurnedInAnnotation": "YES"}, "held"),
        ({"SOPClassUID": US}, "held"),
        ({"SOPClassUID": SC}, "held"),
        ({"SOPClassUID": US, "BurnedInAnnotation": "NO"}, "released"),
        ({"SOPClassUID": DX}, "released"),
        ({"SOPClassUID": DX, "ImageType": ["DERIVED", "SECONDARY"]}, "held"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "held"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "released"),
        ({"PhotometricInterpretation": "RGB"}, "held"),
        ({"Modality": "OT"}, "held"),
    ],
)
def test_pixels_that_may_carry_text_are_held(values: dict[str, object], disposition: str) -> None:
    found, reason = verdict(image(**values))
    assert found == disposition
    assert found == "released" or reason.startswith("pixels may carry burned-in text: ")
    assert verdict(image(**values), pixels_are_clean=True)[0] == "released"


def test_an_overlay_in_the_pixels_is_held() -> None:
    dataset = image(BurnedInAnnotation="NO")
    dataset.add_new(0x60000100, "US", 16)
    assert "overlay" in verdict(dataset)[1]


def test_a_report_has_no_pixels_to_hold() -> None:
    assert verdict(structured_report()) == ("released", "")


def test_project_rules_exclude() -> None:
    state = image(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR")
    assert verdict(state)[0] == "released"
    assert verdict(state, drop_presentation_states=True)[0] == "excluded"
    assert verdict(image(SOPClassUID=SC), drop_secondary_capture=True)[0] == "excluded"


def test_every_storage_class_of_the_standard_has_its_row() -> None:
    storage = {
        uid
        for uid, (name, kind, *_) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and "Commitment" not in name
    }
    assert storage - sop_classes().keys() == set()
    for row in sop_classes().values():
        assert row.handling in {"clean", "document", "project", "hold"}
        assert row.pixel_text in {"none", "colour", "secondary", "possible", "slide"}
        assert row.recognizable in {"never", "head", "always"}
        assert bool(row.reason) == (row.handling in {"hold", "project"}), row.keyword


@pytest.mark.parametrize("row", [row for row in rows("sop_classes.csv") if row["handling"] == "hold"])
def test_a_held_object_type_is_held_whatever_the_project_says(row: dict[str, str]) -> None:
    dataset = image(SOPClassUID=row["sop_class_uid"], BurnedInAnnotation="NO")
    disposition, reason = verdict(dataset, pixels_are_clean=True, release_raw_data=True)
    assert (disposition, row["reason"] in reason) == ("held", True)


def test_raw_data_is_released_where_the_project_says_so() -> None:
    dataset = image(SOPClassUID=RAW)
    assert "raw data is opaque" in verdict(dataset)[1]
    assert verdict(dataset, release_raw_data=True) == ("released", "")


@pytest.mark.parametrize(
    "syntax", ["4.100", "4.102", "4.104.1", "4.106", "4.107", "4.108", "4.94", "4.205", "6.2", "7.1"]
)
def test_video_and_what_keeps_its_pixels_elsewhere_is_held(syntax: str) -> None:
    dataset = image(SOPClassUID=US, BurnedInAnnotation="NO")
    assert verdict(dataset, f"1.2.840.10008.1.2.{syntax}", pixels_are_clean=True)[0] == "held"


@pytest.mark.parametrize(
    ("values", "vouched", "disposition"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}, False, "released"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"]}, False, "held"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "THUMBNAIL"], "BurnedInAnnotation": "NO"}, False, "held"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"], "BurnedInAnnotation": "NO"}, False, "held"),
        ({"ImageType": ["DERIVED", "PRIMARY", "SOMETHING"]}, True, "released"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "BurnedInAnnotation": "NO"}, True, "held"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME"], "SpecimenLabelInImage": "YES"}, True, "held",
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME"], "BurnedInAnnotation": "YES"}, False, "held"),
    ],
)  # fmt: skip
def test_of_a_slide_only_its_volume_is_released(
    values: dict[str, object], vouched: bool, disposition: str
) -> None:
    assert verdict(image(SOPClassUID=SLIDE, **values), pixels_are_clean=vouched)[0] == disposition


NO_FACES = Profile(options=frozenset({Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES}))
PHOTOGRAPH, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
QUIET = {"StudyDescription": "CT", "ProtocolName": "Thorax"}


@pytest.mark.parametrize(
    ("values", "disposition"),
    [
        ({"BodyPartExamined": "CHEST"}, "released"),
        ({"BodyPartExamined": "knee"}, "released"),
        ({"BodyPartExamined": "HEAD"}, "held"),
        ({"BodyPartExamined": "WHOLEBODY"}, "held"),
        ({"BodyPartExamined": ""}, "held"),
        ({"BodyPartExamined": "SOMETHING"}, "held"),
        ({"BodyPartExamined": ["CHEST", "NECK"]}, "held"),
        ({"BodyPartExamined": "CHEST", "SeriesDescription": "MPR ansiktsskjelett"}, "held"),
        ({"BodyPartExamined": "CHEST", "StudyDescription": "CT thorax, brain"}, "held"),
        ({"BodyPartExamined": "CHEST", "ProtocolName": "ØYE"}, "held"),
        ({"BodyPartExamined": "CHEST", "SeriesDescription": "heart early"}, "released"),
        ({"BodyPartExamined": "HEAD", "SOPClassUID": ENHANCED_MR}, "held"),
        ({"SOPClassUID": PHOTOGRAPH, "BodyPartExamined": "KNEE"}, "held"),
        ({"SOPClassUID": SC, "BodyPartExamined": "KNEE"}, "held"),
        ({"SOPClassUID": DX, "BodyPartExamined": "SKULL"}, "released"),
    ],
)
def test_who_may_be_recognized_is_held_where_the_option_is_chosen(
    values: dict[str, object], disposition: str
) -> None:
    dataset = image(**QUIET | {"BurnedInAnnotation": "NO"} | values)
    found, reason = verdict(dataset, profile=NO_FACES, pixels_are_clean=True)
    assert found == disposition
    assert found == "released" or reason.startswith("pixels may show a recognizable person: ")
    assert verdict(dataset, profile=Profile()) == ("released", "")
