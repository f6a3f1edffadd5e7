"""What can happen to the value of one element. Every action can describe itself; none lets a value pass unread.

An action takes a `Field` and returns the new value, encoded and unpadded, or None to remove the element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.text import BY_CHARACTER_SET, TEXT, decode, encode, split

DUMMY_TEXT = "REMOVED"
DUMMIES = {
    "PN": "Removed",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "AS": "000D",
    "DS": "0",
    "IS": "0",
    "UR": "urn:removed",
}
"""Dummy values (action D) of VRs in which DUMMY_TEXT would not be valid."""
_FORMS = {0x00080201: re.compile(rb"[+-]\d{4}[ \0]*")}  # TimezoneOffsetFromUTC
"""Forms that kept values of an attribute must have; others are emptied."""
_NUMBER = re.compile(rb"^[0-9+\-.eE \\]*\0*$")
_CODES = re.compile(rb"[A-Z0-9_ ]{0,16}(?:\\[A-Z0-9_ ]{0,16})*[ \0]*")
_CODE = re.compile(r"[A-Z0-9_ ]{0,16}")
"""Values of CS (PS3.5 6.2)."""
_ESCAPE = b"\x1b"
_CONTROLS = re.compile(rb"[\x00-\x1a\x1c-\x1f\x7f]")
_CONTROLS_OF_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_MORE_CONTROLS = re.compile("[\x80-\x9f]")
_WITH_LINES = frozenset({"LT", "ST", "UT"})
"""VRs in which TAB, LF, FF and CR may stand (PS3.5 6.1.3); ESC may where a character set is switched."""


class Field(NamedTuple):
    """The value of one element as it stands in the file, with the encodings that govern it."""

    tag: int
    vr: str
    value: bytes
    encodings: Sequence[str]

    def text(self) -> str | None:
        """The value as text, None where it is not text in its character set."""
        return decode(self.value, self.vr, self.encodings)


class Action(Protocol):
    """Something that can happen to a value."""

    def __call__(self, field: Field) -> bytes | None: ...

    def describe(self) -> str: ...


class Keep:
    """Text is written in UTF-8; what is not text, a number or a code where it should be is emptied."""

    def __call__(self, field: Field) -> bytes | None:
        if field.vr in {"DS", "IS"}:
            return field.value if _NUMBER.match(field.value) else b""
        form = _FORMS.get(field.tag)
        if form is not None and not form.fullmatch(field.value):
            return b""
        if field.vr not in TEXT:
            return field.value
        if field.vr == "CS" and _CODES.fullmatch(field.value):
            return field.value
        if _has_controls(field):
            return b""
        return encode(_codes(field.text() or "")) if field.vr == "CS" else _recoded(field)

    def describe(self) -> str:
        return "kept"


def keeps_bytes(action: Action, tag: int) -> bool:
    """Whether an action leaves binary numbers of an attribute as they are, whatever they are."""
    return action.__class__ is Keep and tag not in _FORMS


def _has_controls(field: Field) -> bool:
    """Whether a text has control characters that its VR does not allow: text of another encoding, which hides it."""
    pattern = _CONTROLS_OF_TEXT if field.vr in _WITH_LINES else _CONTROLS
    if pattern.search(field.value.rstrip(b" \0")):
        return True
    return _ESCAPE in field.value and field.vr not in BY_CHARACTER_SET


def _recoded(field: Field) -> bytes:
    if field.value.isascii() and _ESCAPE not in field.value:
        return field.value
    text = field.text()
    return b"" if text is None or _MORE_CONTROLS.search(text) else encode(text)


def _codes(text: str) -> str:
    """Values of CS; those that are none, also not in capitals, stay only as words of the vocabulary (`T-SPINE`)."""
    return "\\".join(one if _CODE.fullmatch(one) else _code_of(one.strip()) for one in text.split("\\"))


@lru_cache(maxsize=1024)
def _code_of(text: str) -> str:
    from fiona_dagster.domain.deid.free_text import FreeText

    if not text.isascii():
        return ""
    capitals = text.upper()
    return capitals if FreeText().clean(capitals) == capitals else ""


class Remove:
    """The element goes."""

    def __call__(self, field: Field) -> bytes | None:
        return None

    def describe(self) -> str:
        return "removed"


class Empty:
    """The element stays without a value."""

    def __call__(self, field: Field) -> bytes | None:
        return b""

    def describe(self) -> str:
        return "emptied"


class Replace:
    """A dummy of the VR; what was empty stays empty, and what has no dummy is removed."""

    def __call__(self, field: Field) -> bytes | None:
        if not field.value.strip(b" \0"):
            return b""
        if field.vr in DUMMIES:
            return encode(DUMMIES[field.vr])
        return encode(DUMMY_TEXT) if field.vr in TEXT else None

    def describe(self) -> str:
        return f"replaced by a dummy value ({DUMMY_TEXT}, 19000101)"


class MapUid(NamedTuple):
    """Every value through the project's map of UIDs."""

    mapper: Callable[..., str]
    """Takes the UID and the tag of its attribute (`uids.UidMap`)."""
    meaning: str = "replaced by the project's keyed UID; registered UIDs stay"

    def __call__(self, field: Field) -> bytes | None:
        text = field.text()
        if text is None:
            return b""
        return encode("\\".join(self.mapper(one, field.tag) for one in split(text, "UI")))

    def describe(self) -> str:
        return self.meaning


class ShiftDate(NamedTuple):
    """Every value moved; what cannot be parsed is emptied."""

    shift: DateShift

    def __call__(self, field: Field) -> bytes | None:
        text = field.text()
        if text is None:
            return b""
        return encode("\\".join(self.shift.value(field.vr, one) for one in split(text, field.vr)))

    def describe(self) -> str:
        return "cut down to the year" if self.shift.year_only else "moved by the participant's number of days"


class Pseudonym(NamedTuple):
    """A value made from the one that stands there; what was empty stays empty."""

    made_from: Callable[[str], str]
    meaning: str

    def __call__(self, field: Field) -> bytes | None:
        text = (field.text() or "").strip()
        return encode(self.made_from(text)) if text else b""

    def describe(self) -> str:
        return f"replaced by {self.meaning}"
