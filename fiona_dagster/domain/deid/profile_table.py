"""What profiles do to every attribute that is listed by name, as Markdown: for people who have to approve it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fiona_dagster.domain.deid.codes import Code, DateMode, is_removed_group
from fiona_dagster.domain.deid.dictionary import keyword_of, standard_vr
from fiona_dagster.domain.deid.iods import demanded
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.table import annex_e, sop_classes, unlisted
from fiona_dagster.domain.deid.written import is_written_by_us

Places = set[tuple[str, tuple[int, ...]]]
"""Object types, and the sequences around an attribute in them."""
_WORDS = {
    Code.REMOVE: "removed",
    Code.EMPTY: "emptied",
    Code.REPLACE: "dummy",
    Code.UID: "new UID",
    Code.CLEAN: "text cleaned",
    Code.TECHNICAL: "technical text kept",
    Code.KEEP: "kept",
}
_ORDER = (Code.REMOVE, Code.EMPTY, Code.REPLACE, Code.UID, Code.DATE, Code.CLEAN, Code.TECHNICAL, Code.KEEP)
_REST = """
Attributes that stand in no row: private elements, group lengths, overlays and curves are removed, listed private ones
under Retain Safe Private excepted; of what the standard has, PN is emptied, DA, DT and TM follow the project's dates,
UI becomes a new UID, other text and bytes are removed, numbers are kept, CS as technical text, and sequences are
entered. What the standard does not have is removed.
"""


def profile_table(profiles: Sequence[Profile], dates: DateMode, sop_class_uid: str = "") -> str:
    """A table with a row for each listed attribute and a column for each profile.

    Args:
        profiles: one or more.
        dates: what the project does to dates.
        sop_class_uid: the object type; with '' all outcomes that an attribute has in some object type are named.
    """
    lines = [
        f"Dates: `{dates}`. " + (f"Object type: {sop_class_uid}." if sop_class_uid else "All object types."),
        "",
    ]
    lines += [_heading(profile) for profile in profiles]
    lines += ["", "| tag | attribute | VR | PS3.15 | " + " | ".join(one.name for one in profiles) + " |"]
    lines.append("| --- " * (4 + len(profiles)) + "|")
    nested = _nested()
    for tag in sorted(_listed(profiles)):
        row = annex_e().get(tag)
        keyword = keyword_of(tag) or (row.keyword if row else "")
        cells = [_outcome(profile, tag, keyword, dates, sop_class_uid, nested) for profile in profiles]
        basic = row.basic if row else "–"
        vr = standard_vr(tag) or "–"
        lines.append(
            f"| {tag >> 16:04x},{tag & 0xFFFF:04x} | {keyword} | {vr} | {basic} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n" + _REST


def _heading(profile: Profile) -> str:
    options = ", ".join(sorted(profile.options)) or "none"
    return f"- **{profile.name}**, version {profile.version}; options: {options}; overrides: {len(profile.overrides)}"


def _listed(profiles: Iterable[Profile]) -> set[int]:
    overridden = {tag for profile in profiles for tag, _ in profile.overrides}
    return {tag for tag in {*annex_e(), *unlisted(), *overridden} if not is_removed_group(tag)}


def _nested() -> Mapping[int, Places]:
    """Where an attribute is demanded, by tag."""
    found: dict[int, Places] = {}
    for uid in _released_types():
        for path in demanded(uid) or ():
            found.setdefault(path[-1], set()).add((uid, path[:-1]))
    return found


def _released_types() -> list[str]:
    return [uid for uid, row in sop_classes().items() if row.handling != "hold"]


def _outcome(
    profile: Profile,
    tag: int,
    keyword: str,
    dates: DateMode,
    sop_class_uid: str,
    nested: Mapping[int, Places],
) -> str:
    if keyword and is_written_by_us(keyword):
        return "written anew"
    vr = standard_vr(tag) or ""
    types = [sop_class_uid] if sop_class_uid else _released_types() if tag in nested else [""]
    places: Places = {(uid, ()) for uid in types}
    places |= {(uid, around) for uid, around in nested.get(tag, ()) if sop_class_uid in {"", uid}}
    codes = {profile.rules(uid, dates).code(tag, vr, around) for uid, around in places}
    return " or ".join(_word(code, vr, dates) for code in _ORDER if code in codes)


def _word(code: Code, vr: str, dates: DateMode) -> str:
    if code is Code.KEEP and vr == "SQ":
        return "entered"
    if code is Code.DATE:
        if vr == "TM":
            return "kept"
        return "year only" if dates == "year" else "moved"
    return _WORDS[code]
