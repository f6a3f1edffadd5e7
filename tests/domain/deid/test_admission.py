from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.admission import admit
from fiona_dagster.domain.project import Project
from tests.domain.deid.planted import ct_instance
from tests.domain.deid.test_engine import reread, structured_report

EXPLICIT = "1.2.840.10008.1.2.1"
US, SC, DX = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.1.1"


def verdict(dataset: Dataset, syntax: str = EXPLICIT, **policy: object) -> tuple[str, str]:
    found = admit(reread(dataset), syntax, Project(name="STUDY_A", **policy))  # type: ignore[arg-type]
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
        "1.2.840.10008.5.1.4.1.1.104.1",
        "1.2.840.10008.5.1.4.1.1.66",
        "1.2.840.10008.5.1.4.1.1.77.1.6",
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
