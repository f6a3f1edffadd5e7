"""What a profile says of every attribute of one object type, asked once per element.

Order: structure (private, group lengths, curves, overlays) -> overrides -> the project's dates -> options of table
E.1-1 -> its Basic Profile, by the Type that PS3.3 gives the attribute in this IOD -> the positive list of unlisted
text -> the VR of an attribute that the standard knows -> removal.
"""

from __future__ import annotations

from collections.abc import Mapping

from fiona_dagster.domain.deid.codes import (
    TECHNICAL_VRS,
    TEXT_VRS,
    Code,
    DateMode,
    Option,
    effective_vr,
    is_removed_group,
)
from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.iods import demanded, folded
from fiona_dagster.domain.deid.private import safe_private
from fiona_dagster.domain.deid.table import AnnexERow, annex_e, unlisted

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
        self._demanded = demanded(sop_class_uid)
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
        """The action for a private element: removed, but for listed ones under Retain Safe Private (E.3.10).

        Args:
            creator: the value of its Private Creator Data Element.
            tag: with 00 in place of the block number (`00191008` is asked as `00190008`).
            declared_vr: the VR in the file, '' in implicit VR.
        """
        row = safe_private(creator, tag) if Option.RETAIN_SAFE_PRIVATE in self.options else None
        if row is None:
            return Code.REMOVE
        if row.action == "date":
            return _date_code(row.vr, self.dates) or Code.REMOVE
        if row.action == "uid" and Option.RETAIN_UIDS in self.options:
            return Code.KEEP
        if row.pattern:  # a form that the value must have in full leaves no room for anything else
            return Code(row.action)
        return _technical(Code(row.action), declared_vr if declared_vr not in {"", "UN"} else row.vr)

    def _code(self, tag: int, declared_vr: str, parents: tuple[int, ...]) -> Code:
        known = standard_vr(tag)
        if _removed_by_structure(tag):
            return Code.REMOVE
        row = annex_e().get(tag)
        if known is None and row is None:
            return Code.REMOVE
        vr = effective_vr(tag, declared_vr)
        override = self._overrides.get(tag)
        if override is Code.DATE:
            code = _date_code(vr, self.dates) or Code.EMPTY
        elif override is not None:
            code = override
        elif self._is_cleaned_content(tag, parents):
            code = Code.CLEAN
        elif row is not None:
            code = self._listed(row, vr, tag, parents)
        else:
            code = _unlisted(tag, vr, self.dates)
        return Code.REMOVE if code is not Code.REMOVE and not _agree(vr, known) else code

    def _is_cleaned_content(self, tag: int, parents: tuple[int, ...]) -> bool:
        """Text of content items and annotations, where the option for what it stands in is chosen (E.3.4, E.3.3)."""
        option, around = _CLEANED_CONTENT.get(tag, (None, frozenset()))
        return option in self.options and not around.isdisjoint(parents)

    def _listed(self, row: AnnexERow, vr: str, tag: int, parents: tuple[int, ...]) -> Code:
        if "retain_modified_dates" in row.options:
            code = _date_code(vr, self.dates)
            if code is not None:
                return code
            if vr in _TEMPORAL:
                return self._basic(
                    row, vr, tag, parents
                )  # whatever another option keeps: dates are the project's
        chosen = {row.options.get(option.value) for option in self.options}
        if "K" in chosen:
            return Code.KEEP
        if "C" in chosen and vr in _CLEANED:
            return _CLEANED[vr]
        return self._basic(row, vr, tag, parents)

    def _basic(self, row: AnnexERow, vr: str, tag: int, parents: tuple[int, ...]) -> Code:
        if row.basic == "U":
            return Code.UID
        choices = row.basic.split("/")
        if "U*" in choices:
            return Code.KEEP  # references stay, and name the copies
        action = self._chosen(row, choices, vr, (*parents, tag))
        if action == "D" and vr == "UI":
            return Code.UID  # the only dummy of a UID is another one
        if action == "D":
            return Code.KEEP if vr == "SQ" and row.keyword in _ENTERED else Code.REPLACE
        return Code.EMPTY if action == "Z" else Code.REMOVE

    def _chosen(self, row: AnnexERow, choices: list[str], vr: str, path: tuple[int, ...]) -> str:
        """X, Z or D, of those that the row offers: the one that the attribute's Type asks for (PS3.15 E.1)."""
        if self._demanded is None:
            kind = "?"
            order = "ZXD" if vr == "SQ" or row.keyword in _EMPTIED else "DZX"
        else:
            kind = self._demanded.get(folded(path), "3")[0]
            order = _BY_TYPE[kind]
        action = next(one for one in order if one in choices)
        return "D" if kind == "1" and action == "Z" else action  # Z may be a dummy, too


_BY_TYPE = {"1": "DZX", "2": "ZDX", "3": "XZD"}
_TEMPORAL = frozenset({"DA", "DT", "TM"})
_CLEANED = {**dict.fromkeys(TEXT_VRS, Code.CLEAN), "SQ": Code.KEEP}
"""Action C by VR: text is cleaned, items of sequences are. An AE title or bytes that are cleaned are nothing."""
_CLEANED_CONTENT = {
    0x0040A160: (  # Text Value
        Option.CLEAN_STRUCTURED_CONTENT,
        frozenset({0x0040A730, 0x00400555, 0x00400610}),  # Content, Acquisition Context, Specimen Preparation
    ),
    0x00700006: (
        Option.CLEAN_GRAPHICS,
        frozenset({0x00700001}),
    ),  # Unformatted Text Value, Graphic Annotation
}


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


_ENTERED = frozenset(
    {
        "ContentSequence",
        "FlowIdentifierSequence",
        "GraphicAnnotationSequence",
        "OperatorIdentificationSequence",
        "ReferencedPerformedProcedureStepSequence",
        "VerifyingObserverSequence",
        "WaveformAnnotationSequence",
    }
)
"""Sequences whose dummy is themselves, cleaned item by item; others are codes, and get a dummy code."""
_EMPTIED = frozenset({"OperatorsName", "ContentCreatorName", "StationName", "InstitutionName"})
"""Where the IOD is not known, X/Z/D that are empty rather than dummies: they are Type 2 or 3 nearly everywhere."""


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
        return _technical(Code(action), vr)
    code = _BY_VR.get(vr, _BY_VR.get(standard_vr(tag) or "UN", Code.KEEP))
    if code is Code.DATE:
        return _date_code(vr, dates) or Code.EMPTY
    return _technical(code, vr)


def _technical(code: Code, vr: str) -> Code:
    """What nobody chose to keep as it is stays as far as it names nobody."""
    return Code.TECHNICAL if code is Code.KEEP and vr in TECHNICAL_VRS else code


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
