from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.domain.deid.codes import Code, Option
from fiona_dagster.domain.deid.encoding import Element
from fiona_dagster.domain.deid.method import OPTION_CODES, method_digest, method_elements
from fiona_dagster.domain.deid.named_profiles import fiona_profile
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.pixels.policy import Exclusion, PixelMode, PixelPolicy
from fiona_dagster.domain.project import Project

PROFILE, PROJECT = Profile(), Project(name="STUDY_A")


@pytest.mark.parametrize(
    "change",
    [
        {"options": frozenset({Option.RETAIN_UIDS})},
        {"overrides": ((0x00180060, Code.REMOVE),)},
        {"version": "another"},
        {"edition": "another"},
        {"standard_body_parts": True},
    ],
)
def test_a_profile_that_does_something_else_has_another_digest_and_makes_another_request(
    change: dict[str, Any],
) -> None:
    other = replace(PROFILE, **change)
    assert method_digest(other, PROJECT) != method_digest(PROFILE, PROJECT)
    asked = ReleaseRequest(PROJECT, "P001", "", Path())
    assert replace(asked, project=replace(PROJECT, profile=other)).identity != asked.identity


@pytest.mark.parametrize(
    "change",
    [
        {"date_mode": "year"},
        {"date_mode": "per_project", "date_shift_days": 42},
        {"uid_scheme": "fiona"},
        {"uid_scheme": "fiona_hex"},
        {"uid_root": "1.2.826.0.1.3680043.10"},
        {"pixels_are_clean": True},
        {"pixels": PixelPolicy(mode="off")},
        {"pixels": PixelPolicy(mode="all")},
        {"release_raw_data": True},
        {"project_in_institution_name": False},
        {"event_in_referring_physician": False},
        {"drop_secondary_capture": True},
    ],
)
def test_a_project_that_decides_otherwise_has_another_digest(change: dict[str, Any]) -> None:
    assert method_digest(PROFILE, replace(PROJECT, **change)) != method_digest(PROFILE, PROJECT)


def test_the_digest_does_not_depend_on_the_order_in_which_things_were_written() -> None:
    one = Profile(overrides=((0x00180060, Code.REMOVE), (0x00181030, Code.EMPTY)))
    other = Profile(overrides=((0x00181030, Code.EMPTY), (0x00180060, Code.REMOVE)))
    assert method_digest(one, PROJECT) == method_digest(other, PROJECT)


def codes(profile: Profile, project: Project = PROJECT, *, searched: bool = False) -> list[str]:
    elements = method_elements(profile, project, searched=searched)
    sequence = next(one for one in elements if one.tag == 0x00120064)
    assert isinstance(sequence, Element)
    return [bytes(item[0].value).decode().strip() for item in sequence.value]  # type: ignore[index, arg-type]


def test_every_option_has_its_code_of_cid_7050() -> None:
    assert set(OPTION_CODES) == set(Option)
    assert {code for code, _ in OPTION_CODES.values()} == {
        f"1131{n:02}" for n in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12)
    }


def test_a_copy_names_the_options_that_were_applied() -> None:
    assert codes(PROFILE) == ["113100", "113107"]
    assert codes(fiona_profile()) == ["113100", "113107", "113105", "113108", "113109", "113111"]
    assert codes(PROFILE, replace(PROJECT, date_mode="remove")) == ["113100"]


def test_a_copy_claims_clean_pixels_where_doubtful_ones_are_held_and_not_where_a_project_vouches() -> None:
    pixels = Profile(options=frozenset({Option.CLEAN_PIXEL_DATA, Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES}))
    assert codes(pixels) == ["113100", "113107", "113101", "113102"]
    assert codes(pixels, replace(PROJECT, pixels_are_clean=True)) == ["113100", "113107", "113102"]


@pytest.mark.parametrize("mode", ["all", "secondary_and_ultrasound"])
def test_where_pixels_are_masked_only_images_that_were_searched_claim_clean_ones(mode: PixelMode) -> None:
    masks = replace(PROJECT, pixels=PixelPolicy(mode=mode))
    for profile in (PROFILE, Profile(options=frozenset({Option.CLEAN_PIXEL_DATA}))):
        assert codes(profile, masks, searched=True) == ["113100", "113107", "113101"]
        assert codes(profile, masks) == ["113100", "113107"]


def test_what_is_excluded_from_holding_and_masking_decides_about_copies() -> None:
    excluded = PixelPolicy(exclusions=(Exclusion(0x0008103E, "phantom"),))
    assert method_digest(PROFILE, replace(PROJECT, pixels=excluded)) != method_digest(PROFILE, PROJECT)
