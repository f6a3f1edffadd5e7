from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.deid.codes import Code, Option
from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.named_profiles import fiona_profile
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.profile_fields import profile_from_fields
from fiona_dagster.domain.deid.table import annex_e
from fiona_dagster.domain.deid.written import is_written_by_us
from fiona_dagster.domain.dictionaries import form_columns, role_dictionary
from fiona_dagster.domain.errors import ConfigurationError


def read(**fields: Any) -> Profile:
    return profile_from_fields(fields, "HEART", "REDCap, record 7")


def test_a_project_that_asks_for_nothing_has_the_basic_profile() -> None:
    assert read() == read(deid_profile="ps315") == read(deid_profile="", deid_tag_overrides="") == Profile()
    assert read(deid_options___1="0", deid_options___4="") == Profile()


def test_the_checkboxes_are_options() -> None:
    for number, option in enumerate(
        (
            Option.RETAIN_PATIENT_CHARACTERISTICS, Option.RETAIN_DEVICE_IDENTITY, Option.RETAIN_INSTITUTION_IDENTITY,
            Option.RETAIN_SAFE_PRIVATE, Option.CLEAN_DESCRIPTORS, Option.CLEAN_PIXEL_DATA,
            Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES, Option.CLEAN_GRAPHICS, Option.CLEAN_STRUCTURED_CONTENT,
            Option.RETAIN_UIDS,
        ),
        start=1,
    ):  # fmt: skip
        assert read(**{f"deid_options___{number}": "1"}).options == {option}


def test_every_option_has_a_box_in_redcaps_form() -> None:
    boxes = [one for one in form_columns(role_dictionary("DataTransferProjects"), "deidentification")
             if one.startswith("deid_options___")]  # fmt: skip
    assert read(**dict.fromkeys(boxes, "1")).options == set(Option)


def test_a_configuration_file_may_name_options_and_write_overrides_as_a_mapping() -> None:
    profile = read(deid_options=["retain_uids", "clean_graphics"], deid_tag_overrides={"KVP": "remove"})
    assert profile.options == {Option.RETAIN_UIDS, Option.CLEAN_GRAPHICS}
    assert profile.overrides == ((0x00180060, Code.REMOVE),)


def test_overrides_are_json_by_keyword_or_tag() -> None:
    text = '{"weakens": true, "SeriesDescription": "keep", "0018,1030": "empty", "(0018,0060)": "remove"}'
    assert dict(read(deid_profile="custom", deid_tag_overrides=text).overrides) == {
        0x0008103E: Code.KEEP, 0x00181030: Code.EMPTY, 0x00180060: Code.REMOVE,
    }  # fmt: skip
    assert read(deid_profile="custom").name == "Custom"


def test_fionas_profile_is_chosen_and_pinned() -> None:
    assert read(deid_profile="fiona") == fiona_profile()
    assert read(deid_profile="fiona", deid_profile_version="2025-09-05 PS3.15 2026c") == fiona_profile()
    assert read(deid_profile_version="2026c") == Profile()


@pytest.mark.parametrize(
    ("fields", "place", "word"),
    [
        ({"deid_profile": "1"}, "deid_profile", "'1'"),
        ({"deid_profile_version": "2025a"}, "deid_profile_version", "2026c"),
        ({"deid_profile": "fiona", "deid_profile_version": "2026c"}, "deid_profile_version", "2025-09-05"),
        ({"deid_options___113108": "1"}, "deid_options___113108", "not a choice"),
        ({"deid_options___11": "1"}, "deid_options___11", "not a choice"),
        ({"deid_options___1": "yes"}, "deid_options___1", "not a choice"),
        ({"deid_options": ["everything"]}, "deid_options", "everything"),
        ({"deid_options": "retain_uids", "deid_tag_overrides": "x"}, "line 1 column 1", "JSON"),
        ({"deid_options": ["retain_device_identity"], "deid_options___2": "1"}, "deid_options", "twice"),
        ({"deid_tag_overrides": '{"KVP": "remove"'}, "deid_tag_overrides, line 1 column 17", "JSON"),
        ({"deid_tag_overrides": '["KVP"]'}, "deid_tag_overrides", "object"),
        ({"deid_tag_overrides": '{"KVP": 1}'}, "line 1 column 2", "no action"),
        ({"deid_tag_overrides": '{"weakens": "yes"}'}, "line 1 column 2", "true nor false"),
        ({"deid_tag_overrides": '{\n "KVP": "remove",\n "KVP": "empty"}'}, "line 3 column 2", "twice"),
        ({"deid_tag_overrides": '{"KVP": "remove",\n "0018,0060": "remove"}'}, "line 2 column 2", "twice"),
        ({"deid_tag_overrides": '{"SerieDescription": "keep"}'}, "line 1 column 2", "spelling"),
        ({"deid_tag_overrides": '{"KVP": "hash"}'}, "line 1 column 2", "not an action"),
        ({"deid_tag_overrides": '{"weakens": true, "PatientName": "keep"}'}, "column 19", "cannot be overridden"),
        ({"deid_tag_overrides": '{"weakens": false, "SeriesDescription": "keep"}'}, "column 20", "weakens"),
        ({"deid_tag_overrides": '{"PatientSex": "remove"}', "deid_options___1": "1"}, "column 2", "narrows"),
        ({"deid_tag_overrides": '{"RequestAttributesSequence": "clean"}'}, "column 2", "does not fit"),
        ({"deid_tag_overrides": '{"weakens": true, "weakens": false}'}, "line 1 column 19", "twice"),
        ({"deid_tag_overrides": '{"narrows": false,\n "narrows": true}'}, "line 2 column 2", "twice"),
        ({"deid_tag_overrides": '{"KVP": "empty", "KVP": "empty"}'}, "line 1 column 18", "twice"),
        ({"deid_tag_overrides": '{"PersonName": "keep"}'}, "column 2", "relatives"),
        ({"deid_tag_overrides": '{"weakens": false, "OperatorsName": "keep"}'}, "column 20", "operators"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_project_field_and_position(
    fields: dict[str, Any], place: str, word: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**fields)
    assert refused.value.place.startswith("REDCap, record 7, HEART, deid_")
    assert place in refused.value.place
    assert word in str(refused.value)


def test_an_option_is_narrowed_where_that_is_said() -> None:
    profile = read(deid_options___1="1", deid_tag_overrides='{"narrows": true, "PatientSex": "remove"}')
    assert profile.code(0x00100040, "CS", "keep") is Code.REMOVE


@pytest.mark.parametrize(
    "attribute",
    ["PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "SpecificCharacterSet",
     "EncapsulatedDocument", "EncapsulatedDocumentLength", "MediaStorageSOPInstanceUID", "ClinicalTrialSubjectID",
     "DigitalSignaturesSequence", "DataSetTrailingPadding", "6000,3000", "ReasonForTheRequestedProcedure",
     "ReasonForTheImagingServiceRequest", "7FE0,0010", "(0002,0016)", "FFFA,FFFA", "0012,0063"],
)  # fmt: skip
@pytest.mark.parametrize("action", ["remove", "keep", "empty"])
def test_what_no_profile_decides_about_is_refused_and_never_ignored(attribute: str, action: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be overridden") as refused:
        read(deid_tag_overrides=f'{{"weakens": true, "{attribute}": "{action}"}}')
    assert "column 19" in refused.value.place


def test_every_attribute_that_holds_a_name_needs_leave_to_stay() -> None:
    named = [row.keyword for tag, row in annex_e().items() if standard_vr(tag) == "PN"]
    allowed = [one for one in named if not is_written_by_us(one)]
    assert len(allowed) > 20
    for keyword in allowed:
        with pytest.raises(ConfigurationError, match=f"{keyword}: keep lets .* name.* stand") as refused:
            read(deid_tag_overrides=f'{{"{keyword}": "keep"}}')
        assert "weakens: yes" in refused.value.remedy
        assert read(deid_tag_overrides=f'{{"weakens": true, "{keyword}": "keep"}}').overrides
