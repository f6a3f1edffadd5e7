import pytest

from fiona_dagster.domain.deid.named_profiles import fiona_profile
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import Project, project_from_fields

ROW = {"project_name": "HEART", "project_patient_naming": r"P\d{3}", "project_active": "1"}


def test_a_project_is_read_from_its_redcap_fields() -> None:
    row = {**ROW, "project_features___0": "1", "project_features___1": "0", "project_features___2": "1",
           "deid_date_mode": "1", "deid_date_shift_days": "42"}  # fmt: skip
    sftp = {
        "dest_name": "lab",
        "dest_url": "sftp://lab@files.example:2222/in",
        "dest_secret_ref": "env:LAB",
        "dest_default": "1",
    }
    project = project_from_fields(row, [sftp], place="REDCap")
    assert (project.drop_presentation_states, project.pixels_are_clean, project.drop_secondary_capture) == (
        True,
        False,
        True,
    )
    assert (project.date_mode, project.date_shift_days) == ("per_project", 42)
    one = project.destinations[0]
    assert (one.type, one.host, one.port, one.user, one.path, one.default) == (
        "sftp",
        "files.example",
        2222,
        "lab",
        "in",
        True,
    )


def test_a_project_has_the_profile_that_it_asks_for() -> None:
    assert project_from_fields(ROW, [], place="x").profile == Profile()
    fiona = project_from_fields({**ROW, "deid_profile": "fiona"}, [], place="x")
    assert fiona.profile == fiona_profile()
    assert (fiona.date_mode, fiona.date_shift_days) == ("per_project", 42)
    assert fiona.uid_scheme == "keyed"  # FIONA's can be traced back by who knows the originals


def test_what_the_form_says_beats_what_fiona_does() -> None:
    row = {**ROW, "deid_profile": "fiona", "deid_date_mode": "1", "deid_date_shift_days": "-7",
           "deid_uid_scheme": "fiona_hex"}  # fmt: skip
    fiona = project_from_fields(row, [], place="x")
    assert (fiona.date_mode, fiona.date_shift_days, fiona.uid_scheme) == ("per_project", -7, "fiona_hex")
    assert project_from_fields({**row, "deid_date_mode": 0}, [], place="x").date_mode == "keep"


def test_the_other_choices_of_the_form_are_read() -> None:
    plain = project_from_fields(ROW, [], place="x")
    assert (plain.pixel_mode, plain.project_in_institution_name, plain.event_in_referring_physician) == (
        "hold", True, True,
    )  # fmt: skip
    assert not plain.dates_may_be_restored
    assert not plain.release_raw_data
    row = {**ROW, "deid_pixel_mode": "1", "deid_institution_tag": "0", "deid_event_tag": "0",
           "deid_restore_dates": "1", "deid_release_raw_data": "1"}  # fmt: skip
    other = project_from_fields(row, [], place="x")
    assert (other.pixel_mode, other.project_in_institution_name, other.event_in_referring_physician) == (
        "secondary_and_ultrasound", False, False,
    )  # fmt: skip
    assert other.dates_may_be_restored
    assert other.release_raw_data


def test_an_inactive_destination_is_left_out() -> None:
    row = {"dest_name": "old", "dest_url": "file:///old", "dest_active": "0"}
    assert project_from_fields(ROW, [row], place="x").destinations == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_name": "AB"}, "cannot name a project"),
        ({"project_name": "../../etc"}, "cannot name a project"),
        ({"project_patient_naming": "("}, "not a regular expression"),
        ({"deid_date_mode": "9"}, "deid_date_mode"),
        ({"deid_date_shift_days": "six"}, "whole number"),
        ({"deid_profile": "1"}, "deid_profile"),
        ({"deid_options___113108": "1"}, "deid_options___113108"),
        ({"deid_tag_overrides": "x"}, "deid_tag_overrides"),
        ({"deid_pixel_mode": "9"}, "deid_pixel_mode"),
        ({"deid_uid_scheme": "md5"}, "deid_uid_scheme"),
        ({"deid_date_mode": "1", "deid_date_shift_days": "0"}, "moves nothing"),
        ({"deid_uid_scheme": "fiona", "deid_options___10": "1"}, "as FIONA made them"),
        ({"project_features___1": "1", "deid_pixel_mode": "2"}, "carry no text"),
        ({"project_features___1": "1", "deid_options___6": "1"}, "carry no text"),
    ],
)
def test_a_project_that_cannot_be_understood_does_not_load(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        project_from_fields({**ROW, **change}, [], place="REDCap")


def test_a_destination_without_a_usable_address_does_not_load() -> None:
    with pytest.raises(ConfigurationError, match="dest_url"):
        project_from_fields(ROW, [{"dest_name": "x", "dest_url": "ftp://files"}], place="REDCap")


@pytest.mark.parametrize("participant", ["P001x", "p001", "", " P001", "P00\\1", "P" * 70])
def test_the_whole_participant_must_match_the_naming_rule(participant: str) -> None:
    assert Project("HEART", participant_pattern=r"P\d{3}").participant_problem(participant)


def test_a_participant_that_matches_may_be_used() -> None:
    assert Project("HEART", participant_pattern=r"P\d{3}").participant_problem("P001") is None
