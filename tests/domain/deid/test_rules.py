from __future__ import annotations

import pytest
from pydicom.datadict import tag_for_keyword

from fiona_dagster.domain.deid.codes import Code, DateMode, Option, is_removed_group
from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.iods import demanded, folded
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.table import EDITION, annex_e, rows, sop_classes
from fiona_dagster.domain.deid.tables.generate_iods import choices, demanded_of, demanding, main

CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
DX, RT_PLAN, SR = (
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.1.1.88.11",
)


def tags(path: str) -> tuple[int, ...]:
    found = [tag_for_keyword(keyword) for keyword in path.split(".")]
    assert None not in found
    return tuple(tag for tag in found if tag is not None)


def asked(
    path: str, sop_class: str = CT, *options: Option, dates: DateMode = "remove", vr: str | None = None
) -> Code:
    *parents, tag = tags(path)
    rules = Profile(options=frozenset(options)).rules(sop_class, dates)
    return rules.code(tag, standard_vr(tag) or "" if vr is None else vr, tuple(parents))


@pytest.mark.parametrize(
    ("path", "sop_class", "kind", "code"),
    [
        ("ContrastBolusAgent", CT, "2", Code.EMPTY),  # Z/D
        ("DeviceSerialNumber", CT, "3", Code.REMOVE),  # X/Z/D
        ("DeviceSerialNumber", ENHANCED_MR, "1", Code.REPLACE),
        ("AcquisitionDateTime", CT, "3", Code.REMOVE),
        ("AcquisitionDateTime", ENHANCED_MR, "1C", Code.REPLACE),
        ("ContentDate", CT, "2C", Code.EMPTY),
        ("ContentDate", SR, "1", Code.REPLACE),
        ("SeriesDate", CT, "3", Code.REMOVE),  # X/D
        ("OperatorsName", CT, "3", Code.REMOVE),
        ("OperatorsName", RT_PLAN, "2", Code.EMPTY),
        ("RTPlanDate", RT_PLAN, "2", Code.REPLACE),  # X/D: what is there stays valid by a dummy
        ("TreatmentMachineName", CT, "not in the IOD", Code.REMOVE),
        ("BeamSequence.TreatmentMachineName", RT_PLAN, "2", Code.EMPTY),
        ("AcquisitionContextSequence", DX, "2", Code.EMPTY),
        ("ContentSequence.ContentSequence.ContentSequence.ObservationDateTime", SR, "1C", Code.REPLACE),
        ("ReferencedPerformedProcedureStepSequence", ENHANCED_MR, "1C", Code.KEEP),
        ("ReferencedPerformedProcedureStepSequence", CT, "3", Code.REMOVE),
        ("ReferencedImageSequence", CT, "any", Code.KEEP),  # X/Z/U*: entered
        ("ParticipantSequence.InstitutionName", SR, "2", Code.EMPTY),
    ],
)
def test_a_choice_of_actions_is_resolved_by_the_type_in_the_object(
    path: str, sop_class: str, kind: str, code: Code
) -> None:
    known = demanded(sop_class)
    assert known is not None
    assert kind in {known.get(folded(tags(path)), "3"), "any", "not in the IOD"}
    assert asked(path, sop_class) is code


def test_in_an_unknown_object_type_a_choice_keeps_type_1_attributes_valid() -> None:
    unknown = "1.2.3"
    assert asked("DeviceSerialNumber", unknown) is Code.REPLACE
    assert asked("OperatorsName", unknown) is Code.EMPTY
    assert asked("OperatorIdentificationSequence", unknown) is Code.REMOVE
    assert asked("DeviceSerialNumber", unknown) is Profile().code(
        tags("DeviceSerialNumber")[0], "LO", "remove"
    )


def test_no_choice_is_made_that_the_table_does_not_offer() -> None:
    offered = {"X": {Code.REMOVE}, "Z": {Code.EMPTY, Code.REPLACE}, "D": {Code.REPLACE, Code.KEEP, Code.UID}}
    for sop_class in ("", *sop_classes()):
        rules = Profile().rules(sop_class, "remove")
        for tag, row in annex_e().items():
            if row.basic == "U" or "U*" in row.basic:
                continue
            allowed = set().union(*(offered[one] for one in row.basic.split("/")))
            code = rules.code(tag, standard_vr(tag) or "")
            assert code in allowed, (sop_class, row.keyword, code)
            assert code is not Code.KEEP or standard_vr(tag) == "SQ"


def test_the_tables_of_iods_name_attributes_of_the_dictionary_and_modules_that_are_there() -> None:
    types = rows("module_types_2024e.csv")
    assert all(tag_for_keyword(keyword) for row in types for keyword in row["path"].split("."))
    assert {row["type"] for row in types} == {"1", "1C", "2", "2C"}
    used = {module for row in rows("iod_modules_2024e.csv") for module in row["modules"].split()}
    assert used <= {row["module"] for row in types}


def test_every_object_type_that_is_cleaned_has_its_iod() -> None:
    unknown = {
        row.keyword for uid, row in sop_classes().items() if row.handling == "clean" and demanded(uid) is None
    }
    assert {one for one in unknown if "Retired" not in one and "Trial" not in one} <= {
        "XRayAngiographicBiPlaneImageStorage", "NuclearMedicineImageStorageRetired", "VLImageStorageTrial",
    }  # fmt: skip


def test_the_generator_keeps_what_is_demanded_of_choices_only() -> None:
    wanted = choices(
        [
            {"keyword": "StationName", "basic": "X/Z/D"},
            {"keyword": "PatientBirthDate", "basic": "Z"},
            {"keyword": "SourceImageSequence", "basic": "X/Z/U*"},
            {"keyword": "PatientAddress", "basic": "X"},
        ]
    )
    modules = {
        "m": [
            {"keyword": "StationName", "type": "2", "path": ["ContentSequence", "ContentSequence"]},
            {"keyword": "StationName", "type": "1C", "path": ["ContentSequence"]},
            {"keyword": "PatientBirthDate", "type": "2", "path": []},
            {"keyword": "SourceImageSequence", "type": "1", "path": []},
            {"keyword": "PatientAddress", "type": "1", "path": []},
        ],
        "n": [{"keyword": "PatientBirthDate", "type": "1", "path": []}],
        "p": [
            {"keyword": "ContentSequence", "type": "1C", "path": []},
            {"keyword": "StationName", "type": "1C", "path": []},
        ],
        "o": [{"keyword": "StationName", "type": "3", "path": []}],
    }
    found = demanding(modules, wanted)
    assert found == {
        "m": {"ContentSequence.StationName": "1C"},
        "n": {"PatientBirthDate": "1"},
        "p": {"StationName": "1C", "ContentSequence.StationName": "1C"},
    }
    uses = {"iod": [{"key": "m"}, {"key": "o"}], "other": [{"key": "n"}, {"key": "missing"}]}
    assert demanded_of({"1.1": "iod", "1.2": "other"}, uses, set(modules), found) == {"1.1": ["m"]}


def test_the_generator_of_iods_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["folder"]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_c_of_a_text_attribute_is_cleaned_and_no_other_is_kept() -> None:
    cleaning = [option for option in Option if option.value in rows(f"ps3_15_annex_e_{EDITION}.csv")[0]]
    assert len(cleaning) == 8
    for option in cleaning:
        rules = Profile(options=frozenset({option})).rules(CT, "remove")
        plain = Profile().rules(CT, "remove")
        for tag, row in annex_e().items():
            vr, column = standard_vr(tag) or "", row.options.get(option.value)
            code = rules.code(tag, vr)
            if vr in {"DA", "DT", "TM"} or column is None or is_removed_group(tag):
                assert code is plain.code(tag, vr), row.keyword
            elif column == "K" or vr == "SQ":
                assert code is Code.KEEP, row.keyword
            elif vr in {"AE", "OB"}:
                assert code is plain.code(tag, vr), row.keyword
            else:
                assert code is Code.CLEAN, row.keyword


def test_text_of_content_items_is_cleaned_where_the_option_is_chosen() -> None:
    inside = "ContentSequence.ContentSequence.TextValue"
    assert asked(inside, SR) is Code.REPLACE
    assert asked(inside, SR, Option.CLEAN_STRUCTURED_CONTENT) is Code.CLEAN
    assert asked(inside, SR, Option.CLEAN_GRAPHICS) is Code.REPLACE
    assert asked("TextValue", SR, Option.CLEAN_STRUCTURED_CONTENT) is Code.REPLACE
    assert asked("ContentSequence.PersonName", SR, Option.CLEAN_STRUCTURED_CONTENT) is Code.REPLACE


def test_text_of_graphic_annotations_is_cleaned_where_the_option_is_chosen() -> None:
    inside = "GraphicAnnotationSequence.TextObjectSequence.UnformattedTextValue"
    assert asked(inside, CT) is Code.REPLACE
    assert asked(inside, CT, Option.CLEAN_GRAPHICS) is Code.CLEAN


@pytest.mark.parametrize("tag", [0x60003000, 0x50003000, 0x60020010])
def test_overlays_and_curves_go_whatever_is_chosen(tag: int) -> None:
    rules = Profile(options=frozenset(Option)).rules(CT, "keep")
    assert rules.code(tag, "OW") is Code.REMOVE


def test_no_option_keeps_a_date_against_the_projects_date_mode() -> None:
    device = Option.RETAIN_DEVICE_IDENTITY
    assert asked("DateOfLastCalibration", CT, device) is Code.REMOVE
    assert asked("DateOfLastCalibration", CT, device, dates="per_project") is Code.DATE
    assert asked("DateOfLastCalibration", CT, device, dates="keep") is Code.KEEP


@pytest.mark.parametrize(
    ("dates", "code"), [("remove", Code.EMPTY), ("year", Code.DATE), ("keep", Code.KEEP)]
)
def test_an_override_to_move_a_date_follows_the_projects_date_mode(dates: DateMode, code: Code) -> None:
    tag = tags("LastMenstrualDate")[0]
    assert Profile(overrides=((tag, Code.DATE),)).rules(CT, dates).code(tag, "DA") is code


def test_a_value_in_a_vr_that_contradicts_the_dictionary_goes_in_spite_of_options() -> None:
    assert asked("PatientWeight", CT, Option.RETAIN_PATIENT_CHARACTERISTICS, vr="LO") is Code.REMOVE
    assert asked("StudyDescription", CT, Option.CLEAN_DESCRIPTORS, vr="OB") is Code.REMOVE


SIEMENS = "SIEMENS MR HEADER"


def test_private_attributes_go_unless_they_are_listed_and_the_option_is_chosen() -> None:
    safe = Profile(options=frozenset({Option.RETAIN_SAFE_PRIVATE}))
    b_value = 0x0019000C
    assert Profile().rules(CT, "keep").private(SIEMENS, b_value, "IS") is Code.REMOVE
    assert safe.rules(CT, "keep").private(SIEMENS, b_value, "IS") is Code.KEEP
    assert safe.rules(CT, "keep").private("SOMEBODY", b_value, "IS") is Code.REMOVE
    assert safe.rules(CT, "keep").private("", b_value, "IS") is Code.REMOVE
    assert safe.rules(CT, "keep").code(0x0019100C, "IS") is Code.REMOVE


def test_private_dates_and_uids_follow_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    from fiona_dagster.domain.deid import rules
    from fiona_dagster.domain.deid.private import SafeRow

    listed = {
        1: SafeRow("C", 1, "DA", "1", "date", "", "", ""),
        2: SafeRow("C", 2, "UI", "1", "uid", "", "", ""),
        3: SafeRow("C", 3, "OB", "1", "csa", "", "", ""),
        4: SafeRow("C", 4, "LO", "1", "clean", "", "", ""),
    }
    monkeypatch.setattr(
        rules, "safe_private", lambda creator, tag: listed.get(tag) if creator == "C" else None
    )
    safe = Profile(options=frozenset({Option.RETAIN_SAFE_PRIVATE}))

    def codes(profile: Profile, dates: DateMode) -> list[Code]:
        made = profile.rules("1.2.3.4", dates)
        return [made.private("C", tag, "UN") for tag in (1, 2, 3, 4)]

    assert codes(safe, "per_project") == [Code.DATE, Code.UID, Code.CSA, Code.CLEAN]
    assert codes(safe, "remove")[0] is Code.REMOVE
    assert codes(safe, "keep")[0] is Code.KEEP
    with_uids = Profile(options=frozenset({Option.RETAIN_SAFE_PRIVATE, Option.RETAIN_UIDS}))
    assert codes(with_uids, "keep")[1] is Code.KEEP


def test_rules_are_made_once_for_a_profile_an_object_type_and_a_date_mode() -> None:
    assert Profile().rules(CT, "keep") is Profile().rules(CT, "keep")
    assert Profile().rules(CT, "keep") is not Profile().rules(CT, "year")


def test_rules_forget_rather_than_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from fiona_dagster.domain.deid import rules

    monkeypatch.setattr(rules, "_REMEMBERED", 3)
    made = rules.Rules(frozenset(), {}, CT, "keep")
    for parent in range(10):
        assert made.code(tags("PatientAge")[0], "AS", (parent,)) is Code.REMOVE
        assert len(made._known) <= 3
