"""What the profile says of one element of a copy, asked from the other side than the engine does: may this stand here?

Shared with the engine are the rules and the cleaners, never its actions.
"""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.actions import DUMMIES, DUMMY_TEXT
from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.elements import PIXEL_TAGS
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.private import canonical, fits, safe_private
from fiona_dagster.domain.deid.profile import Code, Option, Rules
from fiona_dagster.domain.deid.text import TEXT
from fiona_dagster.domain.deid.uids import is_acceptable_uid
from fiona_dagster.domain.deid.walk import Found
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.pixels.masked_attributes import DERIVATION_DESCRIPTION, DERIVATIONS
from fiona_dagster.domain.project import Project

IDENTITY_TAGS = frozenset({0x00080018, 0x0020000D, 0x0020000E})
"""UIDs by which an instance is known, as opposed to those by which it refers to others."""
_KEPT = frozenset({Code.KEEP, Code.CLEAN})
_ENTERED = _KEPT | {Code.REPLACE}
"""Actions after which a sequence may have items."""
_WRITTEN_BY_US = frozenset(
    {
        0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013,
        0x00080005, 0x00080050, 0x00080080, 0x00080090, 0x00100010, 0x00100020,
        0x00120010, 0x00120020, 0x00120021, 0x00120030, 0x00120031, 0x00120040,
        0x00120050, 0x00120051, 0x00120062, 0x00120063, 0x00120064,
        0x00200010, 0x00280303, 0x00401002, 0x00402001,
    }
)  # fmt: skip
"""First-level elements that the gateway writes itself; the residual search sees to their values."""


def profile_problem(found: Found, rules: Rules, cleaned: Callable[[str], str] | None = None) -> str | None:
    """Why an element may not stand in a copy by the profile, or None: the opposite question to the engine's.

    `cleaned` is the cleaner of free text: what was cleaned does not change when it is cleaned again.
    """
    if len(found.path) == 1 and (found.tag in _WRITTEN_BY_US or found.tag in PIXEL_TAGS):
        return None
    if found.path == (DERIVATION_DESCRIPTION,) and list(found.texts()) in [[one] for one in DERIVATIONS]:
        return None
    if len(found.path) == 1 and found.tag >> 16 in {0x0002, 0x0012}:
        return f"{found.keyword} is there"
    if found.tag in {0x00100010, 0x00100020, 0x00080050}:
        return None  # made anew at every depth; the residual search sees to the values
    problem = ""
    code = _code(found, rules, len(found.path) - 1, found.declared_vr)
    wrongly_entered = any(
        _code(found, rules, depth, "SQ") not in _ENTERED for depth in range(len(found.path) - 1)
    )
    if code is Code.REMOVE or wrongly_entered:
        problem = "is there"
    elif code is Code.EMPTY and found.value.strip(b" \0"):
        problem = "is not empty"
    elif found.creator and not _fits(found):
        problem = "is not what the safe list says"
    elif code is Code.CLEAN and cleaned is not None and _is_unclean(_read(found), cleaned):
        problem = "is not cleaned"
    elif code is Code.TECHNICAL and _is_unknown(_read(found)):
        problem = "is not technical text"
    elif code is Code.REPLACE and any(t not in {"", DUMMY_TEXT, *DUMMIES.values()} for t in found.texts()):
        problem = "is not a dummy"
    return f"{found.keyword} {problem}" if problem else None


def _is_unclean(found: Found, cleaned: Callable[[str], str]) -> bool:
    return found.vr in TEXT and any(cleaned(text) != text for text in found.texts() if text != DUMMY_TEXT)


def _is_unknown(found: Found) -> bool:
    return any(technical.unknown(found.tag, found.vr, text) for text in found.texts() if text != DUMMY_TEXT)


def _read(found: Found) -> Found:
    """An element to be read by the VR that it has: of a private one in implicit VR the safe list knows it."""
    row = safe_private(found.creator, canonical(found.tag)) if found.creator else None
    return found if row is None or found.declared_vr not in {"", "UN"} else found._replace(vr=row.vr)


def _fits(found: Found) -> bool:
    row = safe_private(found.creator, canonical(found.tag))
    return row is not None and fits(row, found.declared_vr or "UN", found.value)


def _code(found: Found, rules: Rules, depth: int, vr: str) -> Code:
    """What the profile says of the element at a depth of a path."""
    tag = found.path[depth]
    if not tag >> 16 & 1:
        return rules.code(tag, vr, found.path[:depth])
    if not tag >> 8 & 0xFF:  # a Private Creator: it may stay where the profile keeps private elements at all
        return Code.KEEP if Option.RETAIN_SAFE_PRIVATE in rules.options else Code.REMOVE
    return rules.private(found.creators[depth] if found.creators else "", tag & 0xFFFF00FF, vr)


def stays(found: Found, rules: Rules) -> bool:
    """Whether the profile lets an original's value stay as it is, so that it identifies nobody by its own word."""
    last = len(found.path) - 1
    code = _code(found, rules, last, found.declared_vr)
    kept = code is Code.KEEP or (code is Code.TECHNICAL and not _is_unknown(_read(found)))
    return kept and all(_code(found, rules, depth, "SQ") in _KEPT for depth in range(last))


def expected_dates(values: OriginalValues, shift: DateShift) -> set[str]:
    """All date values that a copy may have."""
    moved = {shift.value(vr, text) for vr, text in values.date_texts}
    return moved | {"", DUMMIES["DA"], DUMMIES["DT"]}


def uid_problems(found: Found, project: Project | None = None) -> list[str]:
    """UIDs of an element that are not valid (PS3.5 9.1), nor as the project's scheme makes them."""

    def good(uid: str) -> bool:
        return is_valid_uid(uid) if project is None else is_acceptable_uid(uid, project)

    return [found.keyword for text in found.texts() if text and not good(text)]


def reference_uids(found: Found, rules: Rules) -> list[str]:
    """UIDs by which an element of an original refers to other instances, where the profile lets it stay."""
    if found.vr != "UI" or (len(found.path) == 1 and found.tag in IDENTITY_TAGS):
        return []
    last = len(found.path) - 1
    if _code(found, rules, last, found.declared_vr) not in {Code.UID, Code.KEEP}:
        return []
    if any(_code(found, rules, depth, "SQ") not in _KEPT for depth in range(last)):
        return []
    return [text for text in found.texts() if text and not is_registered(text)]
