"""A De-identification Profile is data, closed and total: `code` answers for every tag, and unknown means removed.

Order: structure (private, group lengths, curves, overlays) -> overrides -> table E.1-1 with its options -> the
positive list of unlisted text -> the VR of an attribute that the standard knows -> removal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from fiona_dagster.domain.deid.table import EDITION, AnnexERow, annex_e, standard_vr, unlisted
from fiona_dagster.domain.project import DateMode


class Code(StrEnum):
    """What happens to an attribute. Items of a kept sequence are each treated by their own codes."""

    KEEP = "keep"
    REMOVE = "remove"
    EMPTY = "empty"
    REPLACE = "replace"
    UID = "uid"
    DATE = "date"


class Option(StrEnum):
    """Options of PS3.15 E.3 that a profile may choose; the names are the table's columns.

    The two options on dates are not here: a project's `date_mode` chooses them.
    """

    RETAIN_PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
    RETAIN_DEVICE_IDENTITY = "retain_device_identity"
    RETAIN_INSTITUTION_IDENTITY = "retain_institution_identity"
    RETAIN_UIDS = "retain_uids"


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with options, and a project's overrides by tag."""

    name: str = "FIONA Basic"
    options: frozenset[Option] = frozenset()
    overrides: tuple[tuple[int, Code], ...] = ()
    edition: str = EDITION

    def code(self, tag: int, declared_vr: str, dates: DateMode) -> Code:
        """The action for an attribute that stands in a file with `declared_vr` ('' in implicit VR)."""
        return _code(self, tag, declared_vr, dates)


def default_profile() -> Profile:
    """The gateway's profile where a project has none of its own: Basic, without options but the dates'."""
    return Profile()


@lru_cache(maxsize=65536)
def _code(profile: Profile, tag: int, declared_vr: str, dates: DateMode) -> Code:
    known = standard_vr(tag)
    if _removed_by_structure(tag):
        return Code.REMOVE
    row = annex_e().get(tag)
    if known is None and row is None:
        return Code.REMOVE
    vr = effective_vr(tag, declared_vr)
    override = dict(profile.overrides).get(tag)
    if override is not None:
        code = override
    elif row is not None:
        code = _listed(profile, row, vr, dates)
    else:
        code = _unlisted(tag, vr, dates)
    return Code.REMOVE if code is not Code.REMOVE and not _agree(vr, known) else code


def effective_vr(tag: int, declared: str) -> str:
    """The VR to treat an element by: the declared one, else the dictionary's (`US or SS` where it depends)."""
    return declared if declared and declared != "UN" else (standard_vr(tag) or "UN")


def is_removed_group(tag: int) -> bool:
    """Whether the tag's group never stands in a copy's data set: private, command, directory, curve, overlay,
    and what comes behind the pixels (padding, signatures)."""
    group = tag >> 16
    return (
        bool(group & 1)
        or group < 0x0008
        or (group >> 8 in {0x50, 0x60, 0x7F} and group != 0x7FE0)
        or group > 0x7FE0
    )


def _removed_by_structure(tag: int) -> bool:
    # (XXXX,0000) group lengths are retired and would be wrong; whole overlay planes go, because
    # Overlay Data is X and a plane without data is not valid
    return is_removed_group(tag) or not tag & 0xFFFF


def _listed(profile: Profile, row: AnnexERow, vr: str, dates: DateMode) -> Code:
    if any(row.options.get(option.value) == "K" for option in profile.options):
        return Code.KEEP
    if "retain_modified_dates" in row.options:
        code = _date_code(vr, dates)
        if code is not None:
            return code
    return _basic(row, vr)


def _date_code(vr: str, dates: DateMode) -> Code | None:
    """KEEP or DATE; None where the project's date mode leaves the attribute to the Basic Profile."""
    if dates == "keep":
        return Code.KEEP
    if dates == "year":
        return Code.DATE if vr in {"DA", "DT"} else None
    if dates in {"per_project", "per_participant"}:
        if vr in {"DA", "DT", "TM"}:
            return Code.DATE
        if vr == "SH":  # TimezoneOffsetFromUTC: the times that stay need it
            return Code.KEEP
    return None


# Sequences with action D whose items are cleaned one by one rather than exchanged
_ENTERED = frozenset(
    {"ContentSequence", "GraphicAnnotationSequence", "VerifyingObserverSequence", "FlowIdentifierSequence"}
)
# X/Z/D that are empty rather than dummies: type 2 or 3 in every IOD with a handler
_EMPTIED = frozenset({"OperatorsName", "ContentCreatorName", "StationName", "InstitutionName"})


def _basic(row: AnnexERow, vr: str) -> Code:
    """One action out of `X/Z/D`: the one that keeps type 1 and 2 attributes valid in every IOD (D over Z over X)."""
    choices = row.basic.split("/")
    if vr == "SQ":
        return _basic_sequence(row, choices)
    if "D" in choices:
        return Code.EMPTY if row.keyword in _EMPTIED else Code.REPLACE
    if "Z" in choices:
        return Code.EMPTY
    return Code.UID if choices == ["U"] else Code.REMOVE


def _basic_sequence(row: AnnexERow, choices: list[str]) -> Code:
    if "U*" in choices or row.keyword in _ENTERED:
        return Code.KEEP
    if "Z" in choices:
        return Code.EMPTY
    return Code.REMOVE if "X" in choices else Code.REPLACE


_BY_VR = {
    "PN": Code.EMPTY,
    "DA": Code.DATE,
    "DT": Code.DATE,
    "TM": Code.DATE,
    "UI": Code.UID,
    **dict.fromkeys(
        ("LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "AS", "UN", "OB", "OB or OW"), Code.REMOVE
    ),
}


def _unlisted(tag: int, vr: str, dates: DateMode) -> Code:
    """Attributes that the standard has and table E.1-1 does not list: text and bytes only by the positive list."""
    action = unlisted().get(tag)
    if action is not None:
        return Code(action)
    code = _BY_VR.get(vr, _BY_VR.get(standard_vr(tag) or "UN", Code.KEEP))
    if code is Code.DATE:
        return _date_code(vr, dates) or Code.EMPTY
    return code


_ALIKE = (
    frozenset({"CS", "LO", "LT", "SH", "ST", "UC", "UT"}),
    frozenset({"US", "SS", "UL", "SL", "UV", "SV", "IS", "DS", "FL", "FD"}),
    frozenset({"OB", "OW", "OF", "OD", "OL", "OV"}),
    frozenset({"DA", "DT", "TM"}),
)


def _agree(vr: str, known: str | None) -> bool:
    """Whether an element in `vr` may be what the dictionary says: a number that comes as free text is not."""
    if known is None:
        return True
    allowed = known.split(" or ")
    return vr == known or vr in allowed or any(vr in kind and set(allowed) & kind for kind in _ALIKE)
