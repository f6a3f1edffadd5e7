"""Wanted attributes are found behind everything that may stand before them, in every encoding of Little Endian."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fiona_dagster.domain.attribute_values import text_of
from fiona_dagster.domain.header import Header, find, with_creators

ROWS, ECHO_TIME, DESCRIPTION = 0x00280010, 0x00180081, 0x0008103E
SHARED = 0x52009229


def encoded(ds: Dataset, *, implicit: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, True
    write_dataset(stream, ds)
    return stream.getvalue()


def header(ds: Dataset, *tags: int, implicit: bool = False) -> Header:
    return Header(
        find(encoded(ds, implicit=implicit), 0, frozenset(tags), implicit=implicit), implicit=implicit
    )


def nested(depth: int, *, undefined: bool) -> Dataset:
    ds = Dataset()
    ds.Rows = 7
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = [ds, Dataset()]
        outer["RequestAttributesSequence"].is_undefined_length = undefined
        ds.is_undefined_length_sequence_item = undefined
        ds = outer
    return ds


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_are_stepped_over(implicit: bool, undefined: bool) -> None:
    ds = nested(4, undefined=undefined)
    ds.SharedFunctionalGroupsSequence = [nested(2, undefined=undefined)]
    ds["SharedFunctionalGroupsSequence"].is_undefined_length = undefined
    ds.SeriesDescription, ds.EchoTime = "T1", "2.90"
    found = header(ds, DESCRIPTION, ECHO_TIME, ROWS, SHARED, implicit=implicit)
    assert (found.value(DESCRIPTION), found.value(ECHO_TIME), found.value(ROWS)) == ("T1", "2.90", None)
    assert found.value(SHARED)[0] == nested(2, undefined=undefined)
    assert SHARED in found
    assert ROWS not in found


@pytest.mark.parametrize("implicit", [True, False])
def test_other_character_sets_are_decoded(implicit: bool) -> None:
    ds = Dataset()
    ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 192", "Hjerne uten kontrast — blå"
    assert header(ds, 0x00080005, DESCRIPTION, implicit=implicit).value(DESCRIPTION) == ds.SeriesDescription


_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "SeriesDescription": st.text("abc T1_", min_size=1, max_size=20).map(str.strip).filter(bool),
        "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "M"]), min_size=1, max_size=4),
        "EchoTime": st.sampled_from(["2.90", "1e-3", "-0"]),
        "ImageOrientationPatient": st.just(["1", "0.0", "-0", "0", "1.00", "0"]),
        "Rows": st.integers(0, 65535),
        "AcquisitionMatrix": st.lists(st.integers(0, 500), min_size=4, max_size=4),
        "InstanceNumber": st.integers(-5, 5),
        "DiffusionBValue": st.floats(0, 1e6),
        "PatientName": st.sampled_from(["A^B", "A^B=C"]),
        "StudyDate": st.just("20260101"),
    },
)


@settings(deadline=None)
@given(_VALUES, st.booleans())
def test_values_print_as_pydicom_prints_them(values: dict[str, Any], implicit: bool) -> None:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    found = header(ds, *ds.keys(), 0x00080005, implicit=implicit)
    for element in ds:
        assert text_of(found.value(int(element.tag))) == text_of(element.value)


@settings(deadline=None)
@given(st.integers(1, 400), st.booleans())
def test_a_data_set_that_breaks_off_is_an_error_or_lacks_nothing(cut: int, implicit: bool) -> None:
    ds = nested(3, undefined=True)
    ds.SeriesDescription, ds.EchoTime = "T1", "2.90"
    data = encoded(ds, implicit=implicit)
    try:
        found = find(data[:-cut], 0, frozenset((DESCRIPTION, ECHO_TIME)), implicit=implicit)
    except (ValueError, struct.error):
        return
    whole = find(data, 0, frozenset((DESCRIPTION, ECHO_TIME)), implicit=implicit)
    assert found.items() <= whole.items()


def test_a_part_of_a_data_set_that_ends_between_elements_is_an_error() -> None:
    ds = Dataset()
    ds.SeriesDescription = "T1"
    data = encoded(ds, implicit=False)
    with pytest.raises(ValueError, match="breaks off"):
        find(data, 0, frozenset((DESCRIPTION, ROWS)), implicit=False, whole=False)
    assert find(data, 0, frozenset((DESCRIPTION, ROWS)), implicit=False).keys() == {DESCRIPTION}


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00\x08\x00??\x02\x00AB",
        struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\x01" * 8,
        struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
        + (
            struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
        )
        * 100,
    ],
)
def test_what_is_no_data_set_is_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        find(data, 0, frozenset((ROWS,)), implicit=False)


def test_private_attributes_are_asked_for_with_their_creators() -> None:
    assert with_creators((0x0051100F, ROWS)) == {0x0051100F, 0x00510010, ROWS}
