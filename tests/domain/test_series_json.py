"""The series JSON: FIONA's fields, the same for the same images in any order."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fiona_dagster.domain import series_json
from fiona_dagster.domain.reception import Peer
from tests.conftest import need_shared

PEER = Peer("SCANNER", "FIONA", "10.0.0.7")


def image(number: int | None = 1, **attributes: Any) -> dict[str, Any]:
    ds = Dataset()
    ds.SOPInstanceUID = f"1.2.{number or 0}"
    ds.Modality = "MR"
    if number is not None:
        ds.InstanceNumber = number
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return series_json.image_fields(ds, PEER)


def series(*images: dict[str, Any]) -> dict[str, Any]:
    return reduce(series_json.add, images[1:], series_json.start(images[0]))


def test_values_are_printed_as_fiona_prints_them() -> None:
    fields = image(7, AcquisitionMatrix=[0, 256, 256, 0], ImageType=["ORIGINAL", "PRIMARY"], EchoTime="2.90")
    assert fields["AcquisitionMatrix"] == "[0, 256, 256, 0]"
    assert fields["ImageType"] == "['ORIGINAL', 'PRIMARY']"
    assert fields["EchoTime"] == "2.90"
    assert fields["InstanceNumber"] == "7"
    assert fields["IncomingConnection"] == {
        "AETitleCaller": "SCANNER",
        "AETitleCalled": "FIONA",
        "CallerIP": "10.0.0.7",
    }


def test_what_fiona_left_empty_is_filled() -> None:
    fields = image(SoftwareVersions=["27", "LX"])
    assert fields["Modality"] == ["MR"]
    assert fields["SoftwareVersion"] == "['27', 'LX']"


def test_an_attribute_that_the_image_lacks_is_no_key_but_the_study_description_is_called_missing() -> None:
    fields = image()
    assert "PatientName" not in fields
    assert fields["StudyDescription"] == "missing"


def test_a_value_that_breaks_its_vr_is_missing_and_raises_nothing() -> None:
    ds = Dataset()
    tag = Tag("AcquisitionMatrix")
    ds._dict[tag] = RawDataElement(tag, "US", 3, b"abc", 0, *(False, True))
    assert "AcquisitionMatrix" not in series_json.image_fields(ds, PEER)


def test_a_series_begins_with_one_file_and_no_type() -> None:
    made = series(image())
    assert (made["NumFiles"], made["ClassifyType"]) == ("1", [])


def test_an_image_received_again_counts_again_and_changes_nothing_else() -> None:
    once = series(image(1), image(2))
    again = series_json.add(once, image(2))
    assert again == {**once, "NumFiles": "3"}


def test_description_comes_from_the_image_with_the_smallest_number_not_from_the_first() -> None:
    made = series(image(10, EchoTime="10"), image(9, EchoTime="9"), image(None, EchoTime="0"))
    assert (made["InstanceNumber"], made["EchoTime"], made["NumFiles"]) == ("9", "9", "3")


def test_a_field_of_another_image_is_not_mixed_in() -> None:
    made = series(image(2, SequenceName="epfid"), image(1))
    assert "SequenceName" not in made


def test_slice_location_is_the_smallest_number_not_the_smallest_text() -> None:
    made = series(image(1, SliceLocation="9"), image(2, SliceLocation="-10.5"), image(3, SliceLocation="10"))
    assert made["SliceLocation"] == "-10.5"


def test_types_stay_when_more_images_come() -> None:
    made = series_json.with_types(series(image(1)), ("axial", "T1"))
    assert series_json.add(made, image(2))["ClassifyType"] == ["axial", "T1"]


def test_adding_changes_neither_argument() -> None:
    first, second = series(image(2)), image(1)
    before = json.dumps([first, second])
    series_json.add(first, second)
    assert json.dumps([first, second]) == before


_images = st.builds(
    image,
    st.one_of(st.none(), st.integers(1, 5)),
    SliceLocation=st.sampled_from(["1", "1.0", "-3", "20"]),
    EchoTime=st.sampled_from(["1", "2"]),
    Modality=st.sampled_from(["MR", "PR"]),
)


@settings(deadline=None)
@given(
    st.lists(_images, min_size=1, max_size=6).flatmap(
        lambda all_: st.tuples(st.just(all_), st.permutations(all_))
    )
)
def test_the_order_of_arrival_changes_nothing(
    orders: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    assert series(*orders[0]) == series(*orders[1])


def siemens_mosaics() -> list[Path]:
    return sorted(need_shared("corpus", "dcm_qa_nih", "In", "20180918Si", "mr_0003").iterdir())


def test_siemens_fields_come_from_the_csa_headers() -> None:
    ds = pydicom.dcmread(siemens_mosaics()[0], stop_before_pixels=True)
    fields = series_json.image_fields(ds, PEER)
    assert (fields["NumSlices"], fields["PhaseEncodingDirectionPositive"]) == ("5", "1")
    assert fields["siemensUUID"].startswith("1.3.12.2.1107.5.2.")
    assert fields["ActiveCoils"] == "HEA;HEP"


def test_diffusion_is_collected_once_an_image_in_the_order_of_the_images() -> None:
    def weighted(number: int, b_value: str) -> dict[str, Any]:
        entry = {"B_value": b_value, "SOPInstanceUID": f"1.2.{number}", "InstanceNumber": str(number)}
        return {**image(number), "siemensDiffusionInformation": [entry]}

    made = series(weighted(10, "1000"), weighted(2, "0"), weighted(10, "1000"))
    assert [entry["B_value"] for entry in made["siemensDiffusionInformation"]] == ["0", "1000"]


@pytest.mark.parametrize("attribute", sorted(series_json.ATTRIBUTES))
def test_every_field_names_an_attribute_that_exists(attribute: str) -> None:
    assert series_json.FIELD_TAGS[attribute] != 0
