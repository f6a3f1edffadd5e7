"""What a copy says of its de-identification: group 0012, the code sequence, and the file meta information.

The method digest names everything that decided about the content: profile, project policy, tables, code and the
library. It does not depend on the project's key.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from fiona_dagster.domain.deid.encoding import (
    EXPLICIT_LITTLE,
    Element,
    encode_elements,
    encode_value,
    text_element,
)
from fiona_dagster.domain.deid.profile import Option, Profile
from fiona_dagster.domain.deid.provenance import engine_digest, masking_digest
from fiona_dagster.domain.project import DateMode, Project

IMPLEMENTATION_CLASS_UID = "2.25.176014384417386265207187303124478519634"
IMPLEMENTATION_VERSION_NAME = "FIONA_DAGSTER_1"
_PREAMBLE = b"\0" * 128 + b"DICM"
_DATES_MODIFIED: dict[DateMode, str] = {
    "keep": "UNMODIFIED",
    "per_project": "MODIFIED",
    "per_participant": "MODIFIED",
    "year": "MODIFIED",
    "remove": "REMOVED",
}
_BASIC = ("113100", "Basic Application Confidentiality Profile")
_DATES = {
    "keep": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "per_project": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "per_participant": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "year": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
}
OPTION_CODES = {
    Option.CLEAN_PIXEL_DATA: ("113101", "Clean Pixel Data Option"),
    Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES: ("113102", "Clean Recognizable Visual Features Option"),
    Option.CLEAN_GRAPHICS: ("113103", "Clean Graphics Option"),
    Option.CLEAN_STRUCTURED_CONTENT: ("113104", "Clean Structured Content Option"),
    Option.CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    Option.RETAIN_PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    Option.RETAIN_DEVICE_IDENTITY: ("113109", "Retain Device Identity Option"),
    Option.RETAIN_UIDS: ("113110", "Retain UIDs Option"),
    Option.RETAIN_SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    Option.RETAIN_INSTITUTION_IDENTITY: ("113112", "Retain Institution Identity Option"),
}
"""Code value and meaning of each option (PS3.16 CID 7050, scheme DCM)."""


def method_digest(profile: Profile, project: Project) -> str:
    """SHA-256, in hexadecimal digits, of everything but the key that decides what a copy contains."""
    policy = {
        **profile.policy,
        "date_mode": project.date_mode,
        "date_shift_days": project.date_shift_days if project.date_mode == "per_project" else None,
        "uid_root": project.uid_root,
        "uid_scheme": project.uid_scheme,
        "pixel_mode": project.pixel_mode,
        **_masking(project),
        "release_raw_data": project.release_raw_data,
        "written": [project.project_in_institution_name, project.event_in_referring_physician],
        "pixels_are_clean": project.pixels_are_clean,
        "drop": [project.drop_presentation_states, project.drop_secondary_capture],
        "engine": engine_digest(),
    }
    return hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()


def _masking(project: Project) -> dict[str, object]:
    described = project.pixels.described()
    pixels: dict[str, object] = {"pixels": described} if described else {}
    return {**pixels, "masking": masking_digest()} if project.pixels.masks_any else pixels


def method_elements(
    profile: Profile, project: Project, *, searched: bool = False, keeps_pixels: bool = False
) -> list[Element]:
    """(0012,0062), (0012,0063), (0012,0064) and (0028,0303), as PS3.15 E.1.1 asks.

    Where a project has pixels masked, only images whose pixels were `searched` claim that they were cleaned; one that
    keeps its pixels, because the project excludes it, never does.
    """
    name = profile.name.replace("\\", " ")[:40]
    codes = [_BASIC]
    if project.date_mode in _DATES:
        codes.append(_DATES[project.date_mode])
    applied = _applied(profile, project, searched=searched, keeps_pixels=keeps_pixels)
    codes += sorted(OPTION_CODES[option] for option in applied)
    return [
        text_element(0x00120062, "CS", "YES"),
        text_element(
            0x00120063,
            "LO",
            f"{name} PS3.15 {profile.edition}\\sha256 {method_digest(profile, project)[:48]}",
        ),
        Element(0x00120064, "SQ", [_code_item(*code) for code in codes]),
        text_element(0x00280303, "CS", _DATES_MODIFIED[project.date_mode]),
    ]


def _applied(profile: Profile, project: Project, *, searched: bool, keeps_pixels: bool) -> frozenset[Option]:
    """The options that a copy may claim. Where nothing is masked, what would need Clean Pixel Data is held."""
    if project.pixels_are_clean or keeps_pixels:
        return profile.options - {Option.CLEAN_PIXEL_DATA}
    if not project.pixels.masks_any:
        return profile.options
    if searched:
        return profile.options | {Option.CLEAN_PIXEL_DATA}
    return profile.options - {Option.CLEAN_PIXEL_DATA}


def _code_item(value: str, meaning: str) -> list[Element]:
    return [
        text_element(0x00080100, "SH", value),
        text_element(0x00080102, "SH", "DCM"),
        text_element(0x00080104, "LO", meaning),
    ]


def file_start(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble of zeros, prefix and file meta information, with nothing of the original's (PS3.10 7.1)."""
    before, behind = _around_the_uid(sop_class_uid, transfer_syntax_uid)
    elements = before + encode_value(0x00020003, "UI", sop_instance_uid.encode(), EXPLICIT_LITTLE) + behind
    length = encode_value(0x00020000, "UL", len(elements).to_bytes(4, "little"), EXPLICIT_LITTLE)
    return b"".join((_PREAMBLE, length, elements))


@lru_cache(maxsize=64)
def _around_the_uid(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """The file meta information before and behind Media Storage SOP Instance UID: the same for a whole series."""
    before = [Element(0x00020001, "OB", b"\0\1"), text_element(0x00020002, "UI", sop_class_uid)]
    behind = [
        text_element(0x00020010, "UI", transfer_syntax_uid),
        text_element(0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        text_element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
    ]
    return encode_elements(before, EXPLICIT_LITTLE), encode_elements(behind, EXPLICIT_LITTLE)
