"""What a profile says of every attribute of one object type, asked once per element.

Order: structure (private, group lengths, curves, overlays) -> overrides -> table E.1-1 with its options -> the
positive list of unlisted text -> the VR of an attribute that the standard knows -> removal.
"""

from __future__ import annotations

from collections.abc import Mapping

from fiona_dagster.domain.deid.codes import Code, DateMode, Option, effective_vr, is_removed_group
from fiona_dagster.domain.deid.table import AnnexERow, annex_e, standard_vr, unlisted

_REMEMBERED = 65536


class Rules:
    """A profile's answers for one SOP Class and date mode; made by `Profile.rules`."""

    def __init__(
        self,
        options: frozenset[Option],
        overrides: Mapping[int, Code],
        sop_class_uid: str,
        dates: DateMode,
    ) -> None:
        self.options, self.dates = options, dates
        self._overrides = overrides
        self._known: dict[tuple[int, str, tuple[int, ...]], Code] = {}

    def code(self, tag: int, declared_vr: str, parents: tuple[int, ...] = ()) -> Code:
        """The action for an attribute.

        Args:
            tag: of the element.
            declared_vr: the VR in the file, '' in implicit VR.
            parents: tags of the sequences around it, the outermost first.
        """
        question = (tag, declared_vr, parents)
        code = self._known.get(question)
        if code is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            code = self._known[question] = self._code(tag, declared_vr, parents)
        return code

    def private(self, creator: str, tag: int, declared_vr: str) -> Code:
        """The action for a private element.

        Args:
            creator: the value of its Private Creator Data Element.
            tag: with 00 in place of the block number (`00191008` is asked as `00190008`).
            declared_vr: the VR in the file, '' in implicit VR.
        """
        return Code.REMOVE

    def _code(self, tag: int, declared_vr: str, parents: tuple[int, ...]) -> Code:
        known = standard_vr(tag)
        if _removed_by_structure(tag):
            return Code.REMOVE
        row = annex_e().get(tag)
        if known is None and row is None:
            return Code.REMOVE
        vr = effective_vr(tag, declared_vr)
        override = self._overrides.get(tag)
        if override is not None:
            code = override
        elif row is not None:
            code = self._listed(row, vr)
        else:
            code = _unlisted(tag, vr, self.dates)
        return Code.REMOVE if code is not Code.REMOVE and not _agree(vr, known) else code

    def _listed(self, row: AnnexERow, vr: str) -> Code:
        if any(row.options.get(option.value) == "K" for option in self.options):
            return Code.KEEP
        if "retain_modified_dates" in row.options:
            code = _date_code(vr, self.dates)
            if code is not None:
                return code
        return _basic(row, vr)


def _removed_by_structure(tag: int) -> bool:
    # (XXXX,0000) group lengths are retired and would be wrong; whole overlay planes go, because
    # Overlay Data is X and a plane without data is not valid
    return is_removed_group(tag) or not tag & 0xFFFF


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
