"""The answer key: what must have become of every planted thing, in the ten action types of the MIDI-B benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tests.deid.characters import ASCII, Charset
from tests.deid.raw import Element, Item, Syntax, element_bytes, in_big_endian

Path = tuple[int, ...]
"""Tag, number of the item, tag, number of the item, ..., tag."""
PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
DEVICE, INSTITUTION = "retain_device_identity", "retain_institution_identity"
UIDS, SAFE_PRIVATE = "retain_uids", "retain_safe_private"
DESCRIPTORS, STRUCTURED, GRAPHICS = "clean_descriptors", "clean_structured_content", "clean_graphics"


class Action(StrEnum):
    """The ten action types."""

    TAG_RETAINED = "tag_retained"
    TEXT_NOTNULL = "text_notnull"
    TEXT_RETAINED = "text_retained"
    TEXT_REMOVED = "text_removed"
    DATE_SHIFTED = "date_shifted"
    UID_CHANGED = "uid_changed"
    UID_CONSISTENT = "uid_consistent"
    PATID_CONSISTENT = "patid_consistent"
    PIXELS_HIDDEN = "pixels_hidden"
    PIXELS_RETAINED = "pixels_retained"


REMOVAL = frozenset(
    {
        Action.TEXT_REMOVED,
        Action.DATE_SHIFTED,
        Action.UID_CHANGED,
        Action.PIXELS_HIDDEN,
        Action.PATID_CONSISTENT,
    }
)
"""Actions that protect somebody: 100 % or nothing. The others keep what research needs."""


@dataclass(frozen=True)
class Row:
    """One planted thing. `values` are texts as a reader sees them, `raw` bytes as they stand in the original.

    The row holds under every profile with one of the options `only` (if there are any) and none of `unless`. `within`
    asks only that the values are part of what is retained.
    """

    instance: str
    path: Path
    action: Action
    values: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    only: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()
    within: bool = False

    def applies(self, options: frozenset[str]) -> bool:
        return not (self.unless & options) and (not self.only or bool(self.only & options))

    @property
    def place(self) -> str:
        """Instance and path in words that name no value."""
        parts = [f"{n:08X}" if not i % 2 else f"[{n}]" for i, n in enumerate(self.path)]
        return f"{self.instance} {'.'.join(parts)}".replace(".[", "[")


@dataclass
class Level:
    """A data set or item that is being filled, and what is planted in it."""

    name: str
    key: list[Row]
    charset: Charset = ASCII
    path: Path = ()
    elements: list[Element] = field(default_factory=list)

    def put(self, tag: int, vr: str, value: str | bytes | list[float], **how: object) -> None:
        """An element that the key says nothing about; text is written in the character set of the level."""
        written = self.charset.encode(value, vr) if isinstance(value, str) else value
        self.elements.append(Element(tag, vr, written, **how))  # type: ignore[arg-type]

    def row(self, action: Action, tag: int, *values: str, **more: object) -> None:
        self.key.append(Row(self.name, (*self.path, tag), action, values, **more))  # type: ignore[arg-type]

    def keep(
        self, tag: int, vr: str, value: str | bytes | list[float], *, only: str = "", **how: object
    ) -> None:
        """Something that research needs and that identifies nobody."""
        self.put(tag, vr, value, **how)
        values = (
            ()
            if isinstance(value, bytes)
            else (value,)
            if isinstance(value, str)
            else tuple(map(repr, value))
        )
        raw: tuple[bytes, ...] = (value, in_big_endian(value, vr)) if isinstance(value, bytes) else ()
        if isinstance(value, list) and vr.startswith("O"):
            raw = tuple(element_bytes(Element(tag, vr, value), Syntax(big=big))[12:] for big in (False, True))
        options = frozenset({only}) if only else frozenset()
        self.row(Action.TEXT_RETAINED, tag, *values, raw=raw, only=options)
        self.row(Action.TAG_RETAINED, tag, only=options)

    def gone(
        self,
        tag: int,
        vr: str,
        value: str | bytes,
        *planted: str,
        unless: str | frozenset[str] = "",
        **how: object,
    ) -> None:
        """Something that no copy may hold; `planted` is what to look for, by default the whole text."""
        self.put(tag, vr, value, **how)
        options = frozenset({unless} - {""}) if isinstance(unless, str) else unless
        looked_for = planted or ((value,) if isinstance(value, str) else ())
        last = self.elements[-1].value
        whole = not planted and isinstance(last, bytes) and len(last) >= 6
        raw = (last, in_big_endian(last, vr)) if whole and isinstance(last, bytes) else ()
        self.row(Action.TEXT_REMOVED, tag, *looked_for, raw=raw, unless=options)

    def filled(self, tag: int, vr: str, value: str, *, unless: str = "") -> None:
        """A type 1 attribute that identifies: its value goes, a dummy stands instead."""
        self.gone(tag, vr, value, unless=unless)
        self.row(Action.TEXT_NOTNULL, tag)

    def date(self, tag: int, vr: str, value: str) -> None:
        self.put(tag, vr, value)
        self.row(Action.DATE_SHIFTED, tag, value)

    def uid(self, tag: int, value: str) -> None:
        """A UID of this study: another one instead, everywhere the same."""
        self.put(tag, "UI", value)
        self.row(Action.UID_CHANGED, tag, value, unless=frozenset({UIDS}))
        self.row(Action.UID_CONSISTENT, tag, value)

    def patient(self, tag: int, vr: str, value: str) -> None:
        """PatientID or PatientName: the participant, at every depth."""
        self.put(tag, vr, value)
        self.row(Action.PATID_CONSISTENT, tag)
        self.row(Action.TEXT_REMOVED, tag, value, raw=(self.charset.encode(value, vr),))

    def item(
        self, tag: int, *, undefined: bool = False, declared: str = "", charset: Charset | None = None
    ) -> Level:
        """A new item in a sequence, which is made by the first one."""
        existing = next((e for e in self.elements if e.tag == tag), None)
        if existing is None:
            existing = Element(tag, "SQ", [], declared=declared, undefined=undefined)
            self.elements.append(existing)
        item = Item(undefined=undefined)
        items: list[Item] = existing.value  # type: ignore[assignment]
        items.append(item)
        level = Level(
            self.name, self.key, charset or self.charset, (*self.path, tag, len(items) - 1), item.elements
        )
        if charset is not None and charset.terms:
            level.put(0x00080005, "CS", charset.terms.encode())
        return level
