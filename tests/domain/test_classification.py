"""Operators, references and levels of the rules, decided over all images of a series in any order."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from fiona_dagster.adapters.dicom_headers import read_series, series_instance_uid
from fiona_dagster.domain.classification import (
    ClassifiedSeries,
    classified_series,
    classify_series,
    classify_study,
)
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.reception import Peer
from fiona_dagster.domain.rules.model import Operator
from fiona_dagster.domain.rules.ruleset import default_rules, load_rules, parse_rules
from tests.conftest import need_shared

PEER = Peer("SCANNER", "FIONA", "10.0.0.7")


def image(**attributes: Any) -> Dataset:
    ds = Dataset()
    ds.SOPInstanceUID, ds.Modality = "1.2.3", "MR"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def rule(type_: str, *tests: Any, **more: Any) -> dict[str, Any]:
    return {"type": type_, **more, "rules": list(tests)}


def types(rules: list[dict[str, Any]], *images: Dataset) -> tuple[str, ...]:
    return classify_series(parse_rules(json.dumps(rules), "rules.json"), images, PEER).types


def holds(test: dict[str, Any], ds: Dataset) -> bool:
    return types([rule("yes", test)], ds) == ("yes",)


IMAGE = image(
    SeriesDescription="T1 mprage",
    EchoTime="2.90",
    ImageType=["ORIGINAL", "PRIMARY", "M"],
    AcquisitionMatrix=[0, 256, 256, 0],
    ImageOrientationPatient=["1", "0.0003", "0", "0", "1", "-0.0003"],
    Rows=256,
    Columns=256,
    ScanningSequence="GR",
)
IOP = ["0x20", "0x37"]


@pytest.mark.parametrize(
    ("test", "passes"),
    [
        # regexp: the default, on the printed value
        ({"tag": ["SeriesDescription"], "value": "^T1"}, True),
        ({"tag": ["SeriesDescription"], "value": "^mprage"}, False),
        ({"tag": ["AcquisitionMatrix"], "value": "0, 256, 256, 0"}, True),
        ({"tag": ["0x18", "0x1310"], "value": "0, 256, 256, 0"}, True),
        ({"tag": ["0x08", "0x08"], "value": "'PRIMARY', 'M'"}, True),
        ({"tag": ["EchoTime"], "value": "2\\.90$"}, True),
        ({"tag": ["Rows"], "value": 256}, True),
        ({"tag": ["IncomingConnection"], "value": "'AETitleCalled': 'FIONA'"}, True),
        ({"tag": ["Modality"], "value": "^MR$"}, True),
        # ==, !=, <, >
        ({"tag": ["EchoTime"], "value": "2.9", "operator": "=="}, True),
        ({"tag": ["EchoTime"], "value": 3, "operator": "=="}, False),
        ({"tag": ["EchoTime"], "value": 3, "operator": "!="}, True),
        ({"tag": ["EchoTime"], "value": 2.9, "operator": "!="}, False),
        ({"tag": ["EchoTime"], "value": "3", "operator": "<"}, True),
        ({"tag": ["EchoTime"], "value": "2.9", "operator": "<"}, False),
        ({"tag": ["EchoTime"], "value": "2.8", "operator": ">"}, True),
        ({"tag": ["EchoTime"], "value": "2.9", "operator": ">"}, False),
        ({"tag": ["AcquisitionMatrix"], "value": [0, 256, 256, 0], "operator": "=="}, True),
        ({"tag": ["AcquisitionMatrix"], "value": [0, 256, 256, 1], "operator": "!="}, True),
        ({"tag": ["AcquisitionMatrix"], "value": 256, "operator": "=="}, False),
        ({"tag": ["AcquisitionMatrix"], "value": 256, "operator": "!="}, False),
        ({"tag": ["ScanningSequence"], "value": "GR", "operator": "=="}, True),
        ({"tag": ["ScanningSequence"], "value": "SE", "operator": "=="}, False),
        ({"tag": ["ScanningSequence"], "value": "SE", "operator": "!="}, True),
        ({"tag": ["SeriesDescription"], "value": 1, "operator": "<"}, False),
        ({"tag": ["SeriesDescription"], "value": 1, "operator": ">"}, False),
        ({"tag": ["SeriesDescription"], "value": 1, "operator": "=="}, False),
        ({"tag": ["SeriesDescription"], "value": 1, "operator": "!="}, False),
        # contains: a member of a multi-value, a part of a text
        ({"tag": ["0x08", "0x08"], "value": "PRIMARY", "operator": "contains"}, True),
        ({"tag": ["0x08", "0x08"], "value": "PRIM", "operator": "contains"}, False),
        ({"tag": ["ImageType"], "value": "PRIM", "operator": "contains"}, True),
        ({"tag": ["0x08", "0x103e"], "value": "mprage", "operator": "contains"}, True),
        ({"tag": ["0x08", "0x103e"], "value": "space", "operator": "contains"}, False),
        ({"tag": ["0x18", "0x1310"], "value": 256, "operator": "contains"}, True),
        # approx
        ({"tag": IOP, "value": [1, 0, 0, 0, 1, 0], "operator": "approx", "approxLevel": "4e-4"}, True),
        ({"tag": IOP, "value": ["1", "0", "0", "0", "1", "0"], "operator": "approx", "approxLevel": 4e-4}, True),
        ({"tag": IOP, "value": [1, 0, 0, 0, 1, 0], "operator": "approx"}, False),
        ({"tag": IOP, "value": [1, 0, 0], "operator": "approx", "approxLevel": 1}, False),
        ({"tag": ["EchoTime"], "value": "2.90005", "operator": "approx"}, True),
        ({"tag": ["SeriesDescription"], "value": 1, "operator": "approx"}, False),
        # exist and notexist
        ({"tag": ["EchoTime"], "operator": "exist"}, True),
        ({"tag": ["InversionTime"], "operator": "exist"}, False),
        ({"tag": ["EchoTime"], "operator": "notexist"}, False),
        ({"tag": ["InversionTime"], "operator": "notexist", "value": ""}, True),
        ({"tag": ["StudyDescription"], "operator": "exist"}, False),
        # one value of a multi-value
        ({"tag": ["0x08", "0x08", 2], "value": "^M$"}, True),
        ({"tag": ["0x08", "0x08", "0"], "value": "^M$"}, False),
        ({"tag": ["0x08", "0x08", -1], "value": "^M$"}, True),
        ({"tag": ["0x08", "0x08", 9], "operator": "exist"}, False),
        ({"tag": ["Rows", 0], "value": 256, "operator": "=="}, True),
        # tag against tag
        ({"tag": ["Rows"], "value": ["Columns"], "operator": "=="}, True),
        ({"tag": ["Rows"], "value": ["EchoTime"], "operator": ">"}, True),
        ({"tag": ["Rows"], "value": ["EchoTime"], "operator": "=="}, False),
        ({"tag": ["Rows"], "value": ["0x18", "0x1310", 1], "operator": "=="}, True),
        ({"tag": ["Rows"], "value": ["InversionTime"], "operator": "=="}, False),
        ({"tag": ["Rows"], "value": ["InversionTime"], "operator": "!="}, False),
        ({"tag": ["Modality"], "value": ["ScanningSequence"], "operator": "!="}, True),
        ({"tag": ["AcquisitionMatrix"], "value": ["Rows"]}, True),
        ({"tag": ["0x18", "0x1310"], "value": ["Rows"], "operator": "contains"}, True),
        # a short text is a text, never a tag
        ({"tag": ["ScanningSequence"], "value": "GR", "operator": "contains"}, True),
        # JSON fields that only the whole series has
        ({"tag": ["NumFiles"], "value": 1, "operator": "=="}, True),
    ],
)  # fmt: skip
def test_an_operator_decides(test: dict[str, Any], passes: bool) -> None:
    assert holds(test, IMAGE) is passes
    assert holds({**test, "negate": "yes"}, IMAGE) is not passes


@pytest.mark.parametrize("operator", ["==", "!=", "<", ">", "approx"])
def test_a_missing_attribute_fails_a_numeric_test_and_passes_its_negation(operator: str) -> None:
    test = {"tag": ["InversionTime"], "value": 5, "operator": operator}
    assert not holds(test, IMAGE)
    assert holds({**test, "negate": "yes"}, IMAGE)


def test_a_missing_attribute_is_an_empty_text_for_regexp() -> None:
    assert holds({"tag": ["InversionTime"], "value": ".*"}, IMAGE)
    assert holds({"tag": ["InversionTime"], "value": "^$"}, IMAGE)
    assert not holds({"tag": ["InversionTime"], "value": "5"}, IMAGE)
    assert not holds({"tag": ["InversionTime"], "value": "5", "operator": "contains"}, IMAGE)


def test_a_study_description_that_is_missing_reads_missing_as_in_fionas_json() -> None:
    assert holds({"tag": ["StudyDescription"], "value": "^missing$"}, IMAGE)


def test_an_empty_attribute_is_a_missing_one() -> None:
    ds = image(PatientComments="", OperatorsName="")
    assert not holds({"tag": ["PatientComments"], "operator": "exist"}, ds)
    assert not holds({"tag": ["OperatorsName"], "operator": "exist"}, ds)


def test_private_attributes_are_read_by_number_also_when_their_vr_is_unknown() -> None:
    ds = image()
    ds.add(DataElement(0x00510010, "LO", "SIEMENS MR HEADER"))
    ds.add(DataElement(0x0051100F, "UN", b"HEA;HEP\0"))
    ds.add(DataElement(0x00511099, "UN", b"\xff\x00\x01"))
    assert holds({"tag": ["0x51", "0x100f"], "value": "HEA;HEP", "operator": "contains"}, ds)
    assert holds({"tag": ["ActiveCoils"], "value": "^HEA;HEP$"}, ds)
    assert holds({"tag": ["0x51", "0x1099"], "operator": "exist"}, ds)


def test_an_unreadable_value_is_a_missing_one_and_its_text_goes_into_no_warning() -> None:
    ds = image()
    for keyword, vr, value in (("Rows", "US", b"abc"), ("NumberOfTemporalPositions", "IS", b"1.5 ")):
        ds._dict[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(value), value, 0, *(False, True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not holds({"tag": ["Rows"], "operator": "exist"}, ds)
        assert holds({"tag": ["NumberOfTemporalPositions"], "value": 1.5, "operator": "=="}, ds)


SHARED_IOP = ["SharedFunctionalGroupsSequence", "PlaneOrientationSequence", "ImageOrientationPatient"]
FRAME_B = [["0x5200", "0x9230"], ["0x18", "0x9117"], ["0x18", "0x9087"]]


def enhanced() -> Dataset:
    def frame(b_value: float) -> Dataset:
        diffusion, made = Dataset(), Dataset()
        diffusion.DiffusionBValue = b_value
        made.MRDiffusionSequence = [diffusion]
        return made

    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = [plane]
    return image(
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[frame(0), frame(1000)],
    )


@pytest.mark.parametrize(
    ("test", "passes"),
    [
        ({"tag": SHARED_IOP, "value": [1, 0, 0, 0, 1, 0], "operator": "approx"}, True),
        ({"tag": [*SHARED_IOP, 4], "value": 1, "operator": "=="}, True),
        ({"tag": [*SHARED_IOP[:2], 0, SHARED_IOP[2], 4], "value": 1, "operator": "=="}, True),
        ({"tag": FRAME_B, "value": 500, "operator": ">"}, True),  # some frame
        ({"tag": FRAME_B, "value": 2000, "operator": ">"}, False),
        (
            {"tag": ["0x5200", "0x9230", "0x18", "0x9117", "0x18", "0x9087"], "value": 500, "operator": ">"},
            True,
        ),
        ({"tag": [["0x5200", "0x9230", 0], *FRAME_B[1:]], "value": 500, "operator": ">"}, False),
        ({"tag": [["0x5200", "0x9230", 1], *FRAME_B[1:]], "value": 500, "operator": ">"}, True),
        ({"tag": [["0x5200", "0x9230", 2], *FRAME_B[1:]], "operator": "exist"}, False),
        ({"tag": ["PerFrameFunctionalGroupsSequence"], "operator": "exist"}, True),
        (
            {"tag": ["PerFrameFunctionalGroupsSequence", "PlaneOrientationSequence"], "operator": "exist"},
            False,
        ),
        ({"tag": ["Modality", "PlaneOrientationSequence"], "operator": "exist"}, False),
    ],
)
def test_a_tag_may_lead_through_sequences(test: dict[str, Any], passes: bool) -> None:
    assert holds(test, enhanced()) is passes
    assert holds({**test, "negate": "yes"}, enhanced()) is not passes


A, B = {"tag": ["Rows"], "value": 1, "operator": "=="}, {"tag": ["Columns"], "value": 1, "operator": "=="}


@pytest.mark.parametrize(
    ("rows", "columns", "by_rule", "by_notrule"),
    [(1, 1, True, False), (1, 2, False, False), (2, 1, False, False), (2, 2, False, True)],
)
def test_rule_asks_for_all_tests_and_notrule_for_none(
    rows: int, columns: int, by_rule: bool, by_notrule: bool
) -> None:
    rules = [
        rule("both", A, B, id="both"),
        rule("deeper", {"rule": "both"}, id="deeper"),
        rule("by rule", {"rule": "deeper"}),
        rule("by notrule", {"notrule": "deeper"}),
    ]
    found = types(rules, image(Rows=rows, Columns=columns))
    assert ("by rule" in found, "by notrule" in found) == (by_rule, by_notrule)


def test_notrule_turns_a_negated_test_round() -> None:
    rules = [rule("not one", {**A, "negate": "yes"}, id="not one"), rule("one", {"notrule": "not one"})]
    assert types(rules, image(Rows=1)) == ("one",)
    assert types(rules, image(Rows=2)) == ("not one",)


def test_a_reference_may_come_before_the_rule_that_it_names() -> None:
    assert types([rule("x", {"rule": "a"}), rule("y", A, id="a")], image(Rows=1)) == ("x", "y")


def test_one_image_is_enough_unless_the_rule_is_of_the_series_level() -> None:
    rules = [rule("some", A), rule("every", A, check="SeriesLevel")]
    assert types(rules, image(Rows=1), image(Rows=2)) == ("some",)
    assert types(rules, image(Rows=1), image(Rows=1)) == ("some", "every")
    assert types(rules, image(Rows=2)) == ()


def test_all_tests_of_a_rule_must_hold_for_the_same_image() -> None:
    assert types([rule("both", A, B)], image(Rows=1, Columns=2), image(Rows=2, Columns=1)) == ()


def test_several_rules_of_one_type_are_alternatives() -> None:
    assert types([rule("either", A), rule("either", B)], image(Rows=2, Columns=1)) == ("either",)


def test_types_come_in_the_order_of_the_file_although_others_are_decided_first() -> None:
    rules = [
        rule("late", {"tag": ["ClassifyType"], "value": "early", "operator": "contains"}),
        rule("early", A),
    ]
    assert types(rules, image(Rows=1)) == ("late", "early")


PLANES = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1], "sagittal": [0, 1, 0, 0, 0, -1]}


def found_type(name: str, **more: str) -> dict[str, Any]:
    return {"tag": ["ClassifyType"], "value": name, "operator": "contains", **more}


FIONA_PLANES = [
    *(
        rule(name, {"tag": IOP, "value": plane, "operator": "approx", "approxLevel": 4e-4})
        for name, plane in PLANES.items()
    ),
    rule("localizer", *map(found_type, PLANES)),
    rule("oblique", *(found_type(name, negate="yes") for name in PLANES), check="SeriesLevel"),
]


@pytest.mark.parametrize(
    ("planes", "expected"),
    [
        (["axial"], ("axial",)),
        (["sagittal", "axial", "coronal"], ("axial", "coronal", "sagittal", "localizer")),
        (["tilted"], ("oblique",)),
        (["tilted", "axial"], ("axial",)),
    ],
)
def test_derived_types_see_the_types_of_the_whole_series(
    planes: list[str], expected: tuple[str, ...]
) -> None:
    tilted = {**PLANES, "tilted": [1, 0, 0, 0, 0.8, 0.6]}
    assert types(FIONA_PLANES, *(image(ImageOrientationPatient=tilted[name]) for name in planes)) == expected


@pytest.mark.parametrize(
    ("test", "with_mr", "without"),
    [
        ({"operator": "exist"}, True, False),
        ({"operator": "notexist"}, False, True),
        ({"operator": "notexist", "negate": "yes"}, True, False),
        ({"value": "^M"}, True, False),
        ({"value": "^R"}, False, False),
    ],
)
def test_the_types_found_can_be_asked_for_in_other_ways(
    test: dict[str, Any], with_mr: bool, without: bool
) -> None:
    rules = [
        rule("derived", {"tag": ["ClassifyType"], **test}),
        rule("MR", {"tag": ["Rows"], "operator": "exist"}),
    ]
    assert ("derived" in types(rules, image(Rows=1)), "derived" in types(rules, image())) == (
        with_mr,
        without,
    )


def _test(keyword: str, operator: str, value: int, negate: str) -> dict[str, Any]:
    return {"tag": [keyword], "operator": operator, "value": value, "negate": negate}


_tests = st.builds(
    _test,
    st.sampled_from(["Rows", "EchoTime", "NumFiles", "SliceLocation"]),
    st.sampled_from(["==", "!=", "<", ">"]),
    st.integers(0, 5),
    st.sampled_from(["yes", "no"]),
)


@st.composite
def _rule_files(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rules whose ClassifyType tests ask only for types with a smaller number, so that there is no cycle."""
    rules = []
    for number in range(draw(st.integers(1, 6))):
        tests: list[Any] = draw(st.lists(_tests, min_size=1, max_size=3))
        for asked in draw(st.sets(st.integers(0, max(0, number - 1)), max_size=2)) if number else ():
            tests.append(found_type(f"T{asked}", negate=draw(st.sampled_from(["yes", "no"]))))
        rules.append(rule(f"T{number}", *tests, **draw(st.sampled_from([{}, {"check": "SeriesLevel"}]))))
    return draw(st.permutations(rules))  # type: ignore[no-any-return]


_images = st.lists(
    st.builds(
        image,
        Rows=st.integers(1, 3),
        EchoTime=st.integers(0, 3),
        SliceLocation=st.integers(-2, 3),
        SOPInstanceUID=st.sampled_from(["1.1", "1.2", "1.3"]),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(_rule_files(), _images.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_arrival_changes_neither_types_nor_reasons_nor_json(
    rules: list[dict[str, Any]], orders: tuple[list[Dataset], list[Dataset]]
) -> None:
    parsed = parse_rules(json.dumps(rules), "rules.json")
    assert classify_series(parsed, orders[0], PEER) == classify_series(parsed, orders[1], PEER)


@settings(deadline=None)
@given(_rule_files(), _images)
def test_the_order_of_the_rules_changes_only_the_order_of_the_types(
    rules: list[dict[str, Any]], images: list[Dataset]
) -> None:
    assert set(types(rules, *images)) == set(types(rules[::-1], *images))


def test_a_reason_names_rule_and_tests_but_no_value_of_the_image() -> None:
    rules = parse_rules(
        json.dumps([rule("T1", {"tag": ["SeriesDescription"], "value": "(?i)t1"}, id="t1")]), "x"
    )
    found = classify_series(rules, [image(SeriesDescription="T1 of Ola Nordmann"), image()], PEER)
    assert found.why == {"T1": 'rule 1 (id t1): SeriesDescription matches "(?i)t1"; 1 of 2 images'}


def test_classification_returns_the_series_json_with_its_types() -> None:
    found = classify_series(
        parse_rules(json.dumps([rule("one", A)]), "x"), [image(Rows=1), image(Rows=1)], PEER
    )
    assert (found.series_json["ClassifyType"], found.series_json["NumFiles"], found.instance_count) == (
        ["one"],
        "2",
        2,
    )


def test_a_series_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="without an image"):
        classify_series(default_rules(), [], PEER)


def test_a_classified_study_orders_its_series_by_number() -> None:
    def numbered(number: str, uid: str) -> ClassifiedSeries:
        return ClassifiedSeries(uid, "MR", (), 1, series_number=number)

    study = classify_study(
        "20260101-000000000000", 1, [numbered("10", "1"), numbered("", "2"), numbered("9", "3")]
    )
    assert [one.series_number for one in study.series] == ["9", "10", ""]


def test_registration_gets_the_study_date_where_the_series_has_none() -> None:
    ds = image(
        StudyDate="20260102",
        SeriesTime="1200",
        SeriesNumber=4,
        SequenceName="epfid",
        BodyPartExamined="BRAIN",
    )
    found = classified_series(classify_series(default_rules(), [ds], PEER), size_bytes=77)
    assert (found.series_date, found.series_time, found.series_number) == ("20260102", "1200", "4")
    assert (found.modality, found.sequence_name, found.body_part, found.size_bytes) == (
        "MR",
        "epfid",
        "BRAIN",
        77,
    )


def corpus(folder: str, name: str = "*") -> dict[str, tuple[str, ...]]:
    """Types by series of the files of one folder, by our own rules."""
    series: dict[str, list[Path]] = {}
    for path in sorted(need_shared("corpus", *folder.split("/")).glob(name)):
        try:
            series.setdefault(series_instance_uid(path), []).append(path)
        except Reject:
            continue
    rules = default_rules()
    return {
        uid: classify_series(rules, read_series(files, rules.tags), PEER).types
        for uid, files in series.items()
    }


FO = "fo-dicom/Tests/FO-DICOM.Tests/Test Data"
DCMQI = "dcmqi/data/segmentations"
GOOGLE = "medical-imaging/pathology/transformation_pipeline/testdata"
IMG = "weasis-dicom-tools/weasis-dicom-tools/src/test/resources/org/dcm4che3/img"


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("dcm_qa_nih/In/20180918Si/mr_0003", "*", {"SIEMENS", "MR", "original", "mosaic", "axial", "fMRI"}),
        ("dcm_qa_nih/In/20180918GE/mr_0004", "*-0000*", {"GE", "MR", "original", "axial", "fMRI"}),
        ("dcm_qa_enh/In/Philips", "*", {"PHILIPS", "MR", "enhanced", "multiframe", "original", "axial", "fieldmap"}),
        ("dcm_qa_enh/In/Siemens/XA10", "*", {"SIEMENS", "MR", "enhanced", "multiframe", "original", "axial", "fMRI"}),
        ("dcm_qa_spec/In/31_svs_se", "*", {"SIEMENS", "MR", "original", "oblique", "spectroscopy"}),
        ("dcm_qa_ts/In", "1.dcm", {"SIEMENS", "MR", "original", "mosaic", "oblique", "fMRI"}),
        (f"{FO}/abd1.zip", "*", {"PHILIPS", "MR", "original", "axial", "coronal", "sagittal", "localizer"}),
        ("dcmqi/data/paramaps/pm-example-dcm.zip/701-ADCb500", "*", {"GE", "MR", "derived", "oblique", "DWI", "ADC"}),
        ("dcmjs-dimse/datasets", "ele.dcm", {"PHILIPS", "MR", "original", "oblique", "T2"}),
        (FO, "GH1339.dcm", {"SIEMENS", "MR", "original", "oblique", "T2"}),
        (FO, "MOVEKNEE.dcm", {"MR", "enhanced", "multiframe", "original", "sagittal", "T1"}),
        (f"{DCMQI}/ct-3slice", "*", {"GE", "CT", "original", "axial"}),
        (f"{DCMQI}/23x38x3/multiframe", "*", {"GE", "CT", "enhanced", "multiframe", "original", "axial"}),
        (FO, "GH342.dcm", {"PHILIPS", "CT", "original", "coronal", "localizer"}),
        (FO, "GH178.dcm", {"GE", "CT", "SC", "derived", "CHECKBURNEDINFO"}),
        (FO, "GH184.dcm", {"GE", "PET", "original", "axial", "attenuation corrected"}),
        (FO, "GH1376.dcm", {"CT", "derived", "oblique", "tomosynthesis"}),
        (FO, "GH133.dcm", {"GE", "MG", "original"}),
        (FO, "HasFragmentSequence.dcm", {"XA", "multiframe", "derived", "cine"}),
        (FO, "CR-MONO1-10-chest", {"CR", "original"}),
        (FO, "RI6XDosiGap.dcm", {"RTIMAGE", "RT", "original"}),
        ("dcm4che/dcm4che-test-data/src/main/resources", "NM-*", {"NM", "multiframe", "derived", "cine"}),
        ("dcm4che/dcm4che-test-data/src/main/resources", "US-PAL*", {"US", "multiframe", "CHECKBURNEDINFO", "cine"}),
        ("deid-data/deid_data/data/ultrasounds", "RGB_IMAGE.dcm", {"SIEMENS", "US", "original", "CHECKBURNEDINFO"}),
        ("dicompyler-core/tests/testdata/example_data", "rtss.dcm", {"RTSTRUCT", "RT"}),
        ("dicompyler-core/tests/testdata/example_data", "rtplan.dcm", {"RTPLAN", "RT"}),
        ("StructuredReports/src/applications/SRAnonTool/test", "*", {"SR"}),
        ("dcmjs-dimse/datasets", "pdf.dcm", {"DOC", "CHECKBURNEDINFO"}),
        ("dcmqi/data/sr-example", "rwvm.dcm", {"RWV"}),
        (f"{DCMQI}/23x38x3/seg", "*", {"SEG", "multiframe", "derived", "axial"}),
        ("highdicom/data/test_files", "sm_image_dots.dcm", {"WSI", "multiframe", "original"}),
        ("highdicom/data/test_files", "sm_annotations.dcm", {"ANN"}),
        ("highdicom/data/test_files", "dx_image.dcm", {"DX", "original"}),
        (GOOGLE, "test_wsi2.dcm", {"WSI", "WSI-label", "original", "CHECKBURNEDINFO"}),
        (IMG, "prLUTs.dcm", {"PR"}),
    ],
)  # fmt: skip
def test_our_rules_know_the_series_of_the_corpus(folder: str, name: str, expected: set[str]) -> None:
    found = corpus(folder, name)
    assert list(map(set, found.values())) == [expected]


def test_fionas_rules_classify_the_corpus() -> None:
    rules = load_rules(need_shared("data", "classifyRules.json"))

    def by_fiona(*folder: str) -> tuple[str, ...]:
        paths = sorted(need_shared("corpus", *folder).iterdir())
        return classify_series(rules, read_series(paths, rules.tags), PEER).types

    assert by_fiona("dcm_qa_nih", "In", "20180918Si", "mr_0003") == ("SIEMENS", "mosaic", "original")
    assert by_fiona("dcm_qa_nih", "In", "20180918GE", "mr_0004") == ("GE", "original")


def test_fionas_rules_give_their_labels_to_the_sequences_that_they_describe() -> None:
    rules = load_rules(need_shared("data", "classifyRules.json"))
    ds = image(
        Manufacturer="SIEMENS",
        Rows=256,
        NumberOfPhaseEncodingSteps=255,
        SequenceName="*tfl3d1_16ns",
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    )
    ds.add(DataElement(0x00510010, "LO", "SIEMENS MR HEADER"))
    ds.add(DataElement(0x0051100F, "LO", "HEA;HEP"))
    assert classify_series(rules, [ds], PEER).types == ("SIEMENS", "original", "ABCD-T1-NORM")
    ge = image(
        Manufacturer="GE MEDICAL SYSTEMS", AcquisitionMatrix=[90, 0, 0, 90], ImageType=["ORIGINAL", "PRIMARY"]
    )
    ge.add(DataElement(0x00190010, "LO", "GEMS_ACQU_01"))
    ge.add(DataElement(0x0019109C, "LO", "research/ABCD/muxepi"))
    ge.add(DataElement(0x0019105A, "FL", 312800384.0))
    assert classify_series(rules, [ge], PEER).types == ("GE", "original", "ABCD-rsfMRI")


def test_an_image_of_the_corpus_gives_the_same_types_whole_and_with_only_the_wanted_attributes() -> None:
    rules = default_rules()
    path = sorted(need_shared("corpus", "dcm_qa_nih", "In", "20180918Si", "mr_0003").iterdir())[0]
    whole = classify_series(rules, [pydicom.dcmread(path)], PEER)
    assert whole == classify_series(rules, read_series([path], rules.tags), PEER)


def test_the_documentation_names_every_type_of_our_rules_and_every_operator() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "classification.md").read_text("utf-8")
    table = text.partition("## Our own rules")[2]
    words = {word.strip() for word in re.split(r"[|,;()\n]| with ", table)}
    assert set(default_rules().types) <= words
    assert all(f"`{one.value}`" in text for one in Operator)
