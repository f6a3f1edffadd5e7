"""Reads a profile from the fields of REDCap's form `deidentification`, or of a project in projects.yaml.

`deid_tag_overrides` is JSON: `{"weakens": true, "SeriesDescription": "keep", "0018,1030": "empty"}`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fiona_dagster.domain.deid.codes import Option
from fiona_dagster.domain.deid.named_profiles import NAMES, named_profile
from fiona_dagster.domain.deid.profile import Profile, default_profile
from fiona_dagster.domain.deid.profile_checks import Wishes, Written, profile_of
from fiona_dagster.domain.errors import ConfigurationError

_CHOICES = {
    "1": Option.RETAIN_PATIENT_CHARACTERISTICS,
    "2": Option.RETAIN_DEVICE_IDENTITY,
    "3": Option.RETAIN_INSTITUTION_IDENTITY,
    "4": Option.RETAIN_SAFE_PRIVATE,
    "5": Option.CLEAN_DESCRIPTORS,
    "6": Option.CLEAN_PIXEL_DATA,
    "7": Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES,
    "8": Option.CLEAN_GRAPHICS,
    "9": Option.CLEAN_STRUCTURED_CONTENT,
    "10": Option.RETAIN_UIDS,
}
"""The checkboxes of `deid_options`; 1 to 7 are FIONA's form's."""
_SAID = ("weakens", "narrows")
_CUSTOM = "custom"


def profile_from_fields(row: dict[str, Any], name: str, place: str) -> Profile:
    """The profile that a project asks for; the default one where it asks for nothing.

    Args:
        row: fields of the project.
        name: of the project, for messages.
        place: where the project stands, for messages.

    Raises:
        ConfigurationError: an unknown choice, JSON that cannot be read, or what `profile_of` refuses; the place says
            project, field and position.
    """
    where = f"{place}, {name}"
    asked = str(row.get("deid_profile") or "ps315")
    base = default_profile() if asked == _CUSTOM else named_profile(asked)
    if base is None:
        raise ConfigurationError(
            f"'{asked}' is not a profile that we have",
            place=f"{where}, deid_profile",
            remedy=f"use {', '.join((*NAMES, _CUSTOM))}",
        )
    version = str(row.get("deid_profile_version") or "")
    overrides, said = _overrides(row.get("deid_tag_overrides"), f"{where}, deid_tag_overrides")
    wishes = Wishes(
        name=Written("Custom", where) if asked == _CUSTOM else None,
        version=Written(version, f"{where}, deid_profile_version") if version else None,
        options=_options(row, where),
        overrides=overrides,
        weakens="weakens" in said,
        narrows="narrows" in said,
    )
    return profile_of(base, wishes)


def _options(row: dict[str, Any], where: str) -> list[Written]:
    """Checkboxes as REDCap exports them (`deid_options___1`), or in projects.yaml a list of names."""
    listed = row.get("deid_options") or []
    names = listed if isinstance(listed, list) else str(listed).replace(",", " ").split()
    found = [Written(str(one), f"{where}, deid_options") for one in names]
    for field in sorted(field for field in row if field.startswith("deid_options___")):
        choice, ticked = field.removeprefix("deid_options___"), str(row[field]).strip()
        if ticked in {"", "0"}:
            continue
        if choice not in _CHOICES or ticked != "1":
            raise ConfigurationError(
                "is not a choice that we know", place=f"{where}, {field}", remedy="tick 1 to 10, see docs"
            )
        found.append(Written(_CHOICES[choice].value, f"{where}, {field}"))
    return found


def _overrides(value: object, where: str) -> tuple[list[tuple[Written, Written]], set[str]]:
    if value in (None, ""):
        return [], set()
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        pairs = json.loads(text, object_pairs_hook=lambda found: found)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            "is not JSON", place=f"{where}, line {error.lineno} column {error.colno}", remedy="mend it"
        ) from None
    if not text.lstrip().startswith("{"):
        raise ConfigurationError(
            "is not a JSON object", place=where, remedy='write {"SeriesDescription": "remove"}'
        )
    overrides, said, seen = [], set(), 0
    keys: set[str] = set()
    for key, action in pairs:
        seen, at = _position(text, key, seen, where)
        if key in keys:
            raise ConfigurationError(f"'{key}' stands twice", place=at, remedy="remove one")
        keys.add(key)
        if key in _SAID:
            if not isinstance(action, bool):
                raise ConfigurationError(
                    f"{key} is neither true nor false", place=at, remedy="say true or false"
                )
            said |= {key} if action else set()
        elif isinstance(action, str):
            overrides.append((Written(key, at), Written(action, at)))
        else:
            raise ConfigurationError(f"'{key}' has no action", place=at, remedy="write the action as a word")
    return overrides, said


def _position(text: str, key: str, begin: int, where: str) -> tuple[int, str]:
    """Where a key stands, from `begin` on, and the place for messages."""
    match = re.compile(re.escape(json.dumps(key)) + r"\s*:").search(text, begin)
    if match is None:  # written with escapes of its own
        return begin, where
    start = match.start()
    line, column = text.count("\n", 0, start) + 1, start - (text.rfind("\n", 0, start) + 1) + 1
    return match.end(), f"{where}, line {line} column {column}"
