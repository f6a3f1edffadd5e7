from __future__ import annotations

import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag, tag_for_keyword

from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.profile import Code, Option, Profile
from fiona_dagster.domain.deid.profile_file import profile_from_yaml
from fiona_dagster.domain.deid.table import annex_e, rows, sop_classes, unlisted
from fiona_dagster.domain.deid.tables.generate import COLUMNS, difference, main, rows_from
from fiona_dagster.domain.errors import ConfigurationError
from tests.conftest import need_shared

BASIC = Profile()


def code(keyword: str, profile: Profile = BASIC, dates: str = "per_participant") -> Code:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return profile.code(tag, standard_vr(tag) or "", dates)  # type: ignore[arg-type]


def test_the_profile_answers_for_every_tag_of_the_dictionary() -> None:
    for tag, (vr, *_) in DicomDictionary.items():
        assert isinstance(BASIC.code(tag, vr, "per_participant"), Code)


@pytest.mark.parametrize(
    "tag", [0x00091001, 0x00111001, 0x0008FFFE, 0x50002500, 0x60003000, 0x60000010, 0x00080000]
)
def test_what_the_standard_does_not_know_is_removed(tag: int) -> None:
    assert BASIC.code(tag, "LO", "keep") is Code.REMOVE


def test_no_listed_attribute_is_kept_by_the_basic_profile() -> None:
    entered = {"ContentSequence", "GraphicAnnotationSequence", "VerifyingObserverSequence", "FlowIdentifierSequence",
               "ReferencedImageSequence", "SourceImageSequence"}  # fmt: skip
    kept = {
        row.keyword
        for tag, row in annex_e().items()
        if BASIC.code(tag, standard_vr(tag) or "", "remove") is Code.KEEP
    }
    assert kept == entered


def test_unlisted_text_is_kept_by_the_positive_list_only() -> None:
    text = {"LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "OB", "UN"}
    unnamed = [(tag, vr) for tag, (vr, *_) in DicomDictionary.items() if vr in text and tag not in annex_e()]
    kept = [tag for tag, vr in unnamed if BASIC.code(tag, vr, "per_participant") is Code.KEEP]
    assert kept
    assert [keyword_for_tag(tag) for tag in kept if unlisted().get(tag) != "keep"] == []


def test_the_positive_list_names_no_listed_attribute_and_no_name() -> None:
    for row in rows("unlisted.csv"):
        tag = int(row["tag"], 16)
        assert tag not in annex_e()
        assert standard_vr(tag) == row["vr"] != "PN"
        assert keyword_for_tag(tag) == row["keyword"]


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("PatientBirthDate", Code.EMPTY),
        ("StudyDate", Code.DATE),
        ("SecondaryReviewDate", Code.DATE),  # not listed
        ("SecondaryReviewerName", Code.EMPTY),  # not listed
        ("ModelGroupUID", Code.UID),  # not listed
        ("SOPClassUID", Code.UID),
        ("DeviceSerialNumber", Code.REPLACE),
        ("OperatorsName", Code.EMPTY),
        ("InstitutionCodeSequence", Code.EMPTY),
        ("OperatorIdentificationSequence", Code.REMOVE),
        ("TextValue", Code.REPLACE),
        ("CommentsOnTheScheduledProcedureStep", Code.REMOVE),
        ("TimezoneOffsetFromUTC", Code.KEEP),
        ("CertifiedTimestamp", Code.REMOVE),  # a date in bytes cannot be moved
        ("ManufacturerModelName", Code.TECHNICAL),
        ("PatientPosition", Code.TECHNICAL),  # not listed,
        ("IconImageSequence", Code.REMOVE),
    ],
)
def test_the_basic_profile_with_modified_dates(keyword: str, expected: Code) -> None:
    assert code(keyword) is expected


def test_an_option_keeps_its_column_and_nothing_else() -> None:
    with_option = Profile(options=frozenset({Option.RETAIN_PATIENT_CHARACTERISTICS}))
    assert code("PatientSex", with_option) is Code.KEEP
    assert code("Allergies", with_option) is Code.CLEAN  # C: cleaning, which is not keeping
    assert code("DeviceSerialNumber", with_option) is Code.REPLACE


def test_the_table_is_what_the_generator_makes_of_its_source() -> None:
    import json

    source = json.loads(need_shared("data", "ps3.15_annex_e_2026c.json").read_text())
    assert rows_from(source) == rows("ps3_15_annex_e_2026c.csv")


@pytest.mark.parametrize(
    "entry", [{"id": "zz", "name": "x"}, {"id": "00100010", "name": "x", "basicProfile": "Q"}]
)
def test_the_generator_refuses_what_it_does_not_know(entry: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is not"):
        rows_from([entry])


def test_the_generator_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_object_type_that_is_held_has_its_reason() -> None:
    for row in sop_classes().values():
        assert row.handling in {"clean", "document", "project", "hold"}
        assert row.handling != "hold" or row.reason


def test_the_difference_of_two_editions_names_every_change() -> None:
    columns = dict.fromkeys(COLUMNS, "")
    old = [
        {**columns, "tag": "00080020", "keyword": "StudyDate", "basic": "Z"},
        {**columns, "tag": "00080050", "keyword": "AccessionNumber", "basic": "Z"},
        {**columns, "tag": "00081010", "keyword": "StationName", "basic": "X"},
    ]
    new = [
        old[0],
        {
            **columns,
            "tag": "00081010",
            "keyword": "StationName",
            "basic": "X/Z/D",
            "retain_device_identity": "K",
        },
        {**columns, "tag": "00100010", "keyword": "PatientName", "basic": "Z"},
    ]
    assert difference(old, new) == [
        "- 00080050 AccessionNumber: basic Z",
        "~ 00081010 StationName: basic X -> X/Z/D, retain_device_identity nothing -> K",
        "+ 00100010 PatientName: basic Z",
    ]


def test_the_difference_of_two_shipped_editions_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "2024b", "2026c"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "+ 00700006 UnformattedTextValue: basic D" in printed
    assert main(["diff", "2026c", "2026c"]) == 0
    assert capsys.readouterr().out == ""


GOOD = """
name: Cardiology 2
options: [retain_patient_characteristics]
weakens: yes
overrides:
  SeriesDescription: keep
  ProtocolName: empty
"""


def test_a_profile_file_is_read() -> None:
    profile = profile_from_yaml(GOOD, "p.yaml")
    assert profile.name == "Cardiology 2"
    assert profile.options == {Option.RETAIN_PATIENT_CHARACTERISTICS}
    assert dict(profile.overrides) == {0x0008103E: Code.KEEP, 0x00181030: Code.EMPTY}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("", "", "empty"),
        ("[a]", ":1", "mapping"),
        ("name: a\nname: b", ":2", "twice"),
        ("name: 'a\\b'", ":1", "name"),
        ("options: []", ":1", "no name"),
        ("name: a\ncolour: red", ":2", "colour"),
        ("name: a\noptions: retain_uids", ":2", "list"),
        ("name: a\noptions:\n- clean_everything", ":3", "clean_everything"),
        ("name: a\noptions: [modified_dates]", ":2", "deid_date_mode"),
        ("name: a\noverrides:\n  SerieDescription: remove", ":3", "SerieDescription"),
        ("name: a\noverrides:\n  SeriesDescription: hash", ":3", "hash"),
        ("name: a\noverrides:\n  SeriesDescription: keep", ":3", "weakens"),
        ("name: a\noverrides:\n  ProtocolName: uid", ":3", "does not fit"),
        ("name: a\noverrides:\n  RequestAttributesSequence: replace", ":3", "does not fit"),
        ("name: a\nweakens: yes\noverrides:\n  PatientName: keep", ":4", "cannot be overridden"),
        ("name: a\nweakens: yes\noverrides:\n  OverlayRows: [keep]", ":4", ""),
        ("name: {a: b}", ":1", "single value"),
        ("name: a\nbase: nothing", ":2", "not a profile"),
        ("name: a\nversion: 2020a", ":2", "2026c"),
        ("name: a\nweakens: perhaps", ":2", "yes or no"),
        ("name: a\noptions: [retain_uids, retain_uids]", ":2", "twice"),
        ("name: a\noverrides:\n  KVP: remove\n  '0018,0060': empty", ":4", "twice"),
        ("name: a\noverrides:\n  KVP: csa", ":3", "not an action"),
        ("name: a\nweakens: yes\noverrides:\n  StudyDate: keep", ":4", "deid_date_mode"),
        ("name: a\noverrides:\n  StudyDate: clean", ":3", "does not fit"),
        ("name: a\noverrides:\n  '0019,1008': remove", ":3", "keyword"),
        ("name: a\nbase: fiona\noverrides:\n  StationName: keep", ":4", "weakens FIONA"),
        ("name: a\noptions: [retain_device_identity]\noverrides:\n  StationName: remove", ":4", "narrows"),
        (
            "name: a\noptions: [retain_patient_characteristics]\noverrides:\n  Allergies: keep",
            ":4",
            "weakens",
        ),
        ("name: [", ":1", "YAML"),
        ("name: a\nweakens: yes\nweakens: no", ":3", "twice"),
        ("name: a\noverrides:\n  PixelData: remove", ":3", "cannot be overridden"),
        ("name: a\noverrides:\n  PersonName: keep", ":3", "relatives"),
    ],
)
def test_a_profile_that_cannot_be_understood_does_not_load(text: str, line: str, word: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        profile_from_yaml(text, "p.yaml")
    assert str(refused.value).startswith(f"p.yaml{line}:")
    assert word in str(refused.value)


def test_a_stricter_override_needs_no_leave() -> None:
    assert dict(profile_from_yaml("name: a\noverrides: {KVP: remove}", "p").overrides) == {
        0x00180060: Code.REMOVE
    }


def test_an_option_may_be_narrowed_where_that_is_said() -> None:
    text = "name: a\nnarrows: yes\noptions: [retain_device_identity]\noverrides: {StationName: remove}"
    profile = profile_from_yaml(text, "p")
    assert code("StationName", profile) is Code.REMOVE
    assert code("DeviceSerialNumber", profile) is Code.KEEP


def test_a_profile_may_stand_on_fionas_and_pin_its_version() -> None:
    text = "name: a\nbase: fiona\nversion: 2025-09-05 PS3.15 2026c\noverrides: {PatientAge: remove}"
    profile = profile_from_yaml(text, "p")
    assert code("StationName", profile) is Code.REMOVE
    assert code("PatientAge", profile) is Code.REMOVE
    assert code("PatientSex", profile) is Code.KEEP
