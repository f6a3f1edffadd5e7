from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.deid.codes import DateMode
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile, export_profiles, tag_overrides
from fiona_dagster.domain.project import project_from_fields


def profiles(
    *rows: dict[str, Any], restore: bool = False, mode: DateMode = "per_participant"
) -> tuple[ExportProfile, ...]:
    return export_profiles(rows, may_restore=restore, date_mode=mode, place="REDCap")


def test_a_project_without_exports_gets_the_native_one_and_one_with_none_in_use_gets_none() -> None:
    assert profiles() == (NATIVE,)
    assert profiles({"export_format": "1", "export_active": "0"}) == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", ExportType.NATIVE),
        ("3", ExportType.BIDS),
        ("pure", ExportType.PURE),
        ("8", ExportType.SPECTROSCOPY),
    ],
)
def test_formats_are_codes_or_names(text: str, kind: ExportType) -> None:
    assert profiles({"export_format": text})[0].export_type is kind


def test_the_first_of_a_format_has_the_name_of_fiona_and_others_their_own() -> None:
    found = profiles(
        {"export_format": "1", "export_name": "a"}, {"export_format": "1", "export_name": "to the clinic"}
    )
    assert [one.label for one in found] == ["native", "native-to_the_clinic"]
    with pytest.raises(ConfigurationError, match="two exports of one format"):
        profiles(*[{"export_format": "1", "export_name": "a"}] * 3)


@pytest.mark.parametrize(
    "row",
    [
        {"export_format": "4"},
        {"export_format": ""},
        {"export_format": "3", "export_folder_template": "{participant}"},
        {"export_format": "2", "export_folder_template": "{series}"},
        {"export_format": "2", "export_tag_overrides": '{"PatientComments": "x"}'},
        {"export_format": "3", "export_undo_date_shift": "1"},
        {"export_format": "1", "export_active": "perhaps"},
        {"export_format": "1", "export_undo_date_shift": "1"},
        {"export_format": "6"},
    ],
)
def test_what_cannot_be_understood_or_allowed_does_not_load(row: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        profiles(row)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("2", "export_tag_overrides", '{"PatientComments": "x"}'),
        ("BIDS", "export_tag_overrides", {"PatientComments": "x"}),
        ("2", "export_undo_date_shift", "1"),
        ("3", "export_undo_date_shift", "1"),
        ("NIFTI", "export_demographics", "1"),
        ("3", "export_folder_template", "{participant}"),
    ],
)
def test_a_choice_that_would_change_nothing_is_refused_by_its_name(kind: str, field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        profiles({"export_format": "1"}, {"export_format": kind, field: value}, restore=True)
    assert caught.value.problem.startswith(f"export 2: {field} changes nothing in ")
    assert (caught.value.place, caught.value.remedy) == ("REDCap", "empty the field")
    assert profiles({"export_format": kind, field: ""}, restore=True)


def test_dates_are_given_back_only_with_the_right_and_where_they_were_moved() -> None:
    assert profiles({"export_format": "6"}, restore=True)[0].restores_dates
    assert profiles({"export_format": "6"}, mode="keep")
    with pytest.raises(ConfigurationError, match="took away"):
        profiles({"export_format": "6"}, restore=True, mode="year")


@pytest.mark.parametrize(
    "given",
    ['{"SOPInstanceUID": "1"}', '{"Rows": "1"}', '{"PatientIdentityRemoved": "NO"}', '{"Nothing": ""}', "[]", "{",
     '{"PatientComments": 1}', '{"PatientComments": "a\\nb"}', '{"PhotometricInterpretation": "RGB"}',
     '{"SpecificCharacterSet": ""}', '{"Modality": "CT"}'],
)  # fmt: skip
def test_no_override_reaches_identity_pixels_or_how_a_copy_came_to_be(given: str) -> None:
    with pytest.raises(ConfigurationError):
        tag_overrides(given, place="x")


def test_the_digest_changes_with_every_choice_that_decides_about_bytes() -> None:
    rows = [
        {},
        {"export_folder_template": "{participant}"},
        {"export_tag_overrides": {"PatientComments": "x"}},
        {"export_undo_date_shift": "1"},
        {"export_demographics": "1"},
    ]
    digests = [profiles({"export_format": "1", **row}, restore=True)[0].digest for row in rows]
    assert digests[0] == ""
    assert len(set(digests)) == len(digests)
    assert profiles({"export_format": "1", "export_dest_name": "clinic"})[0].digest == ""


def test_an_export_of_a_project_goes_to_a_destination_that_it_has() -> None:
    row = {
        "project_name": "STUDY_A",
        "export_profiles": [{"export_format": "5", "export_dest_name": "clinic"}],
    }
    place = {"dest_name": "clinic", "dest_url": "file:///srv/clinic"}
    (export,) = project_from_fields(row, [place], place="x").exports
    assert (export.export_type, export.destination) == (ExportType.PURE, "clinic")
    with pytest.raises(ConfigurationError, match="no destination of packages"):
        project_from_fields(row, [], place="x")
    with pytest.raises(ConfigurationError, match="list of fields"):
        project_from_fields({**row, "export_profiles": ["native"]}, [], place="x")


def test_encryption_is_a_container_and_where_its_password_is_found() -> None:
    plain, one, two = profiles(
        {"export_format": "1"},
        {
            "export_format": "1",
            "export_name": "a",
            "export_encryption": "1",
            "export_password_ref": "env:LAB",
        },
        {"export_format": "3", "export_encryption": "7z", "export_password_ref": "file:/data/config/lab"},
    )
    assert (plain.encryption, one.encryption, two.encryption) == ("", "zip", "7z")
    assert (one.password_ref, two.password_ref) == ("env:LAB", "file:/data/config/lab")
    assert one.digest == plain.digest  # the files are the same


@pytest.mark.parametrize(
    "more",
    [
        {"export_encryption": "1"},
        {"export_password_ref": "env:LAB"},
        {"export_encryption": "rar", "export_password_ref": "env:LAB"},
        {"export_encryption": "1", "export_password_ref": "correct horse battery"},
        {"export_encryption": "correct horse battery", "export_password_ref": "env:LAB"},
        {"export_encryption": "1", "export_password_ref": "env:correct horse"},
    ],
)
def test_an_encryption_without_a_usable_reference_does_not_load_and_no_value_is_repeated(
    more: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match="export 1: export_") as caught:
        profiles({"export_format": "1", **more})
    assert "correct" not in str(caught.value)


def test_no_plain_export_has_the_name_of_an_encrypted_one() -> None:
    with pytest.raises(ConfigurationError, match="_encrypted"):
        profiles({"export_format": "1"}, {"export_format": "1", "export_name": "a_encrypted"})
