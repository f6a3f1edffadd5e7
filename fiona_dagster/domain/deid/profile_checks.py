"""Makes a profile of what somebody wrote, wherever it was written: what contradicts itself does not load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fiona_dagster.domain.deid.codes import TEXT_VRS, Code, Option, is_removed_group
from fiona_dagster.domain.deid.dictionary import keyword_of, standard_vr, tag_of
from fiona_dagster.domain.deid.participants import form_problem
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.written import is_written_by_us
from fiona_dagster.domain.errors import ConfigurationError

ACTIONS = tuple(code for code in Code if code not in {Code.CSA, Code.TECHNICAL})
_STRICTNESS = {
    Code.REMOVE: 4, Code.EMPTY: 3, Code.REPLACE: 3, Code.UID: 2, Code.DATE: 1, Code.CLEAN: 1, Code.TECHNICAL: 1,
    Code.KEEP: 0,
}  # fmt: skip
_NAME = re.compile(r"^[\w .+-]{1,40}$")
_TAG = re.compile(r"^\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?$")
_PIXEL_GROUP = 0x7FE0
_TREATED_APART = frozenset({0x00401002, 0x00402001, 0x00420011, 0x00420015})
"""Reasons for the request, where the event is written; Encapsulated Document and its length, made anew or held."""
_WHOSE_NAMES = {
    "PersonName": "the names of all persons in reports and content items, patients and relatives among them,",
    "PatientBirthName": "the patient's name at birth",
    "PatientMotherBirthName": "the patient's mother's name",
    "OtherPatientNames": "the patient's other names",
    "ResponsiblePerson": "the name of whoever decides for the patient, often a relative,",
    "OperatorsName": "the operators' names",
    "PerformingPhysicianName": "the performing physicians' names",
    "RequestingPhysician": "the requesting physician's name",
    "NameOfPhysiciansReadingStudy": "the names of those who read the study",
    "PhysiciansOfRecord": "the names of the physicians of record",
    "VerifyingObserverName": "the names of those who signed reports",
}
_ONLY_FOR = {Code.UID: {"UI"}, Code.DATE: {"DA", "DT", "TM"}, Code.CLEAN: TEXT_VRS}


@dataclass(frozen=True)
class Written:
    """A word as it was written, and its place for messages."""

    text: str
    place: str


@dataclass(frozen=True)
class Wishes:
    """What a file or form asks for on top of a base profile.

    `weakens` and `narrows` are said where an override keeps more than the base does, or less than an option.
    """

    name: Written | None = None
    version: Written | None = None
    options: Sequence[Written] = ()
    overrides: Sequence[tuple[Written, Written]] = ()
    weakens: bool = False
    narrows: bool = False


def profile_of(base: Profile, wishes: Wishes) -> Profile:
    """The base profile with the wishes.

    Raises:
        ConfigurationError: a name that cannot be written into a file; another version than ours; an unknown option,
            attribute or action; an action that does not fit the attribute; one attribute twice; an override that
            weakens the base or takes back an option where that is not said.
    """
    _check_version(base, wishes.version)
    options = [_option(one) for one in wishes.options]
    for one, option in zip(wishes.options, options, strict=True):
        if options.count(option) > 1:
            raise ConfigurationError(f"option '{option}' stands twice", place=one.place, remedy="remove one")
    chosen = replace(base, name=_name(wishes.name, base), options=base.options | set(options))
    overrides: dict[int, Code] = {}
    for attribute, action in wishes.overrides:
        tag = _tag(attribute)
        if tag in overrides:
            raise ConfigurationError(
                f"'{keyword_of(tag)}' stands twice", place=attribute.place, remedy="remove one"
            )
        overrides[tag] = _code(tag, action, attribute.place)
        _check_intention(base, chosen, tag, overrides[tag], attribute.place, wishes)
    merged = {**dict(base.overrides), **overrides}
    return replace(chosen, overrides=tuple(sorted(merged.items())))


def _check_version(base: Profile, asked: Written | None) -> None:
    if asked is not None and asked.text != base.version:
        raise ConfigurationError(
            f"version '{asked.text}' of profile {base.name} is asked for, ours is '{base.version}'",
            place=asked.place,
            remedy="look at the changes (fiona profile show), then write our version",
        )


def _name(asked: Written | None, base: Profile) -> str:
    if asked is None:
        return base.name
    if not _NAME.match(asked.text):
        raise ConfigurationError(
            "the name cannot be written into DeidentificationMethod",
            place=asked.place,
            remedy="use at most 40 letters, digits, blanks, '.', '+', '-' or '_'",
        )
    problem = form_problem(asked.text, "profile's name")
    if problem:
        raise ConfigurationError(problem, place=asked.place, remedy="name what it does")
    return asked.text


def _option(asked: Written) -> Option:
    try:
        return Option(asked.text)
    except ValueError:
        remedy = f"use {', '.join(Option)}"
        if "date" in asked.text:
            remedy += "; dates are chosen by the project's deid_date_mode"
        raise ConfigurationError(
            f"'{asked.text}' is not an option that we have", place=asked.place, remedy=remedy
        ) from None


def _tag(attribute: Written) -> int:
    match = _TAG.match(attribute.text)
    tag = int(match[1] + match[2], 16) if match else tag_of(attribute.text)
    if tag is None or standard_vr(tag) is None:
        raise ConfigurationError(
            f"'{attribute.text}' is not a keyword of the data dictionary",
            place=attribute.place,
            remedy="check the spelling",
        )
    keyword = keyword_of(tag)
    apart = tag >> 16 == _PIXEL_GROUP or tag in _TREATED_APART
    if apart or is_written_by_us(keyword) or is_removed_group(tag) or not tag & 0xFFFF:
        raise ConfigurationError(
            f"{keyword} cannot be overridden: no profile decides about it",
            place=attribute.place,
            remedy="leave it out",
        )
    return tag


def _code(tag: int, action: Written, place: str) -> Code:
    if action.text not in ACTIONS:
        raise ConfigurationError(
            f"'{action.text}' is not an action", place=action.place, remedy=f"use {', '.join(ACTIONS)}"
        )
    code, vr = Code(action.text), standard_vr(tag) or ""
    if code is Code.KEEP and vr in {"DA", "DT"}:
        raise ConfigurationError(
            f"{keyword_of(tag)} is a date, and a date that stays tells by how much the others moved",
            place=place,
            remedy="use date: what happens to dates is the project's deid_date_mode",
        )
    wrong = code in _ONLY_FOR and vr not in _ONLY_FOR[code]
    if wrong or (vr == "SQ" and code not in {Code.KEEP, Code.REMOVE, Code.EMPTY}):
        raise ConfigurationError(
            f"{code} does not fit {keyword_of(tag)}, which has VR {vr}",
            place=place,
            remedy="use another action; the items of a sequence that is kept are treated one by one",
        )
    return code


def _check_intention(
    base: Profile, chosen: Profile, tag: int, code: Code, place: str, wishes: Wishes
) -> None:
    vr, keyword = standard_vr(tag) or "", keyword_of(tag)
    if vr == "PN" and code is Code.KEEP and not wishes.weakens:
        raise ConfigurationError(
            f"{keyword}: keep lets {_WHOSE_NAMES.get(keyword, 'the names of persons in that attribute')} stand",
            place=place,
            remedy="say `weakens: yes` if that is meant",
        )
    in_base = base.code(tag, vr, "per_participant")
    by_options = replace(base, options=chosen.options).code(tag, vr, "per_participant")
    if _STRICTNESS[code] < _STRICTNESS[by_options] and not wishes.weakens:
        raise ConfigurationError(
            f"{keyword}: {code} weakens {base.name if base.overrides else 'the Basic Profile'} ({by_options})",
            place=place,
            remedy="say `weakens: yes` if that is meant",
        )
    if _STRICTNESS[by_options] < min(_STRICTNESS[code], _STRICTNESS[in_base]) and not wishes.narrows:
        raise ConfigurationError(
            f"{keyword}: {code} contradicts an option that is chosen, by which it is {by_options}",
            place=place,
            remedy="take out the one or the other, or say `narrows: yes` if that is meant",
        )
