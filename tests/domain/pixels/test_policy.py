from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.table import sop_classes
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.pixels.policy import Exclusion, PixelPolicy, pixel_policy
from fiona_dagster.domain.pixels.suspicion import (
    classified_reason,
    is_of_the_image_alone,
    overlay_bits,
    pixel_text_reason,
    ultrasound_regions,
)
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance

MASKS = PixelPolicy(mode="all")


def reason(policy: PixelPolicy = MASKS, classified: str = "", **values: object) -> str:
    dataset = ct_instance()
    del dataset[0x60000010], dataset[0x60003000]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    row = sop_classes()[str(dataset.SOPClassUID)]
    return pixel_text_reason(reread(dataset), row, policy, classified)


def test_an_ordinary_slice_is_not_looked_at() -> None:
    assert reason() == reason(PixelPolicy()) == ""


@pytest.mark.parametrize(
    "values",
    [
        {"Modality": "XA"},
        {"Modality": "CR"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"Manufacturer": "VIDAR Systems"},
    ],
)
def test_more_is_looked_at_where_it_can_be_masked_than_is_held(values: dict[str, Any]) -> None:
    assert reason(**values)
    assert reason(PixelPolicy(), **values) == ""
    assert reason(PixelPolicy(mode="secondary_and_ultrasound"), **values) == ""  # would be held


def test_a_scout_says_nothing_of_its_series() -> None:
    assert is_of_the_image_alone(reason(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert not is_of_the_image_alone(reason(Modality="XA"))


def test_ultrasound_is_not_believed_when_it_says_no_where_it_can_be_masked() -> None:
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1",
        "Modality": "US",
        "BurnedInAnnotation": "NO",
    }
    assert reason(**values)
    assert reason(PixelPolicy(mode="secondary_and_ultrasound"), **values)
    assert reason(PixelPolicy(), **values) == ""


def test_a_device_that_always_writes_is_not_believed_when_it_says_no() -> None:
    assert reason(Manufacturer="Vidar", BurnedInAnnotation="NO")
    assert reason(Modality="XA", BurnedInAnnotation="NO") == ""
    assert reason(classified="by rule", BurnedInAnnotation="NO") == "by rule"


def test_an_exclusion_counts_from_the_values_beginning_and_never_for_overlays() -> None:
    policy = PixelPolicy(mode="all", exclusions=(Exclusion(0x0008103E, "clean"),))
    assert reason(policy, SeriesDescription="clean ones", BurnedInAnnotation="YES") == ""
    assert reason(policy, SeriesDescription="unclean", BurnedInAnnotation="YES")
    dataset = ct_instance()
    dataset.SeriesDescription = "clean"
    del dataset[0x60003000]
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 14)
    assert overlay_bits(reread(dataset)) == 1 << 14
    assert "overlay" in pixel_text_reason(reread(dataset), sop_classes()[str(dataset.SOPClassUID)], policy)
    dataset[0x60000102].value = 0
    assert overlay_bits(reread(dataset)) == 1 << 15


def test_fionas_class_of_series_is_followed_but_not_for_its_own_copies() -> None:
    assert classified_reason(["axial", "CHECKBURNEDINFO"], "Liver")
    assert classified_reason(["CHECKBURNEDINFO"], "(shadow) Liver") == ""
    assert classified_reason(["axial"], "Liver") == ""


def test_ultrasound_regions_include_their_corners_and_empty_ones_are_none() -> None:
    dataset = ct_instance()
    assert ultrasound_regions(reread(dataset)) == ()
    items = []
    for corners in ((10, 20, 109, 69), (5, 5, 5, 5)):
        item = Dataset()
        (item.RegionLocationMinX0, item.RegionLocationMinY0, item.RegionLocationMaxX1,
         item.RegionLocationMaxY1) = corners  # fmt: skip
        items.append(item)
    dataset.SequenceOfUltrasoundRegions = items
    assert ultrasound_regions(reread(dataset)) == ((10, 20, 100, 50),)


def test_a_project_says_what_it_wants_in_its_fields() -> None:
    row = {
        "deid_pixel_mode": "1", "deid_pixel_mask": 1, "deid_pixel_allow": "Lever, milt\nNyre", "deid_pixel_review": "5",
        "rewritepixelexclusions": [{"rewrite_ex_tag": "2", "rewrite_ex_reg": "localizer"}],
    }  # fmt: skip
    assert pixel_policy(row, "P", "x") == PixelPolicy(
        "secondary_and_ultrasound", "identifiers", frozenset({"lever", "milt", "nyre"}),
        (Exclusion(0x0008103E, "localizer"),), 5,
    )  # fmt: skip
    assert pixel_policy({}, "P", "x") == PixelPolicy()
    assert PixelPolicy().described() == {}
    assert PixelPolicy("secondary_and_ultrasound").masks("image", "US")
    assert not PixelPolicy("secondary_and_ultrasound").masks("image", "XA")


@pytest.mark.parametrize(
    "row",
    [
        {"deid_pixel_mode": "7"},
        {"deid_pixel_mask": "2"},
        {"deid_pixel_review": "101"},
        {"deid_pixel_review": "many"},
        {"rewritepixelexclusions": "all"},
        {"rewritepixelexclusions": [{"rewrite_ex_tag": "3", "rewrite_ex_reg": "x"}]},
        {"rewritepixelexclusions": [{"rewrite_ex_tag": "1"}]},
        {"rewritepixelexclusions": [{"rewrite_ex_tag": "1", "rewrite_ex_reg": "("}]},
        {"rewritepixelexclusions": [{"rewrite_ex_tag": "1", "rewrite_ex_reg": ".*"}]},
    ],
)
def test_a_choice_that_is_none_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        pixel_policy(row, "P", "x")
