"""What became of each element of an original in one or several copies of it, as words and shapes, never as values.

What happened is read from the bytes of original and copy; the profile's rules only name it. File meta information is
written anew in every copy, and Pixel Data is nobody's to change: neither is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fiona_dagster.domain.deid.actions import DUMMIES, DUMMY_TEXT
from fiona_dagster.domain.deid.admission import SOP_CLASS_UID
from fiona_dagster.domain.deid.codes import Code, DateMode, effective_vr
from fiona_dagster.domain.deid.conventions import EVENT_PREFIX
from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.elements import EMPTY, PIXEL_TAGS, DataSet
from fiona_dagster.domain.deid.encoding import LONG_VRS
from fiona_dagster.domain.deid.iods import folded
from fiona_dagster.domain.deid.private import canonical, is_creator_tag, safe_private
from fiona_dagster.domain.deid.profile import Profile, Rules
from fiona_dagster.domain.deid.shapes import value_shape
from fiona_dagster.domain.deid.text import TEXT, decode, encodings_of, first_text
from fiona_dagster.domain.deid.walk import creator_of, first_level
from fiona_dagster.domain.errors import Permanent

ACTIONS = ("kept", "cleaned", "moved", "mapped", "replaced", "emptied", "removed", "made anew", "absent")
"""What can be seen to happen to an element; a sequence is kept when it is entered. What another copy has is absent."""
LEAVES_SOMETHING = frozenset({"kept", "cleaned", "moved", "mapped"})
"""Actions after which something of the original stands in the copy."""
_CHANGED = {
    Code.KEEP: "replaced",
    Code.CLEAN: "cleaned",
    Code.TECHNICAL: "cleaned",
    Code.CSA: "cleaned",
    Code.DATE: "moved",
    Code.UID: "mapped",
    Code.REPLACE: "replaced",
}
MADE_ANEW = frozenset({0x00100010, 0x00100020, 0x00080050})
"""Attributes that are made anew at any depth."""
_OUR_ROOT = frozenset({0x00080080, 0x00080090, 0x00200010, 0x00280303})
_CHARACTER_SET, _DEIDENTIFICATION_GROUP, _ENCAPSULATED_DOCUMENT = 0x00080005, 0x0012, 0x00420011
_UTF8 = ("utf8",)
_ITEM = b"\xfe\xff\x00\xe0"
_VRS = LONG_VRS | TEXT | {"AT", "FD", "FL", "SL", "SS", "UL", "US"}
_REMEMBERED_BYTES, _REMEMBERED = 16_384, 100_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an element in a copy; `shape` of what stands there, '' where nothing does."""

    action: str
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """An element, by keywords joined by dots, and its outcome in each copy. A sequence that holds itself stands once.

    `alike`: it stands in all copies with the same bytes, or in none.
    """

    attribute: str
    vr: str
    outcomes: tuple[Outcome, ...]
    alike: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy's first level before and behind the pixels."""

    before: DataSet
    behind: DataSet = EMPTY


@dataclass(frozen=True, slots=True)
class _Place:
    """A level of the original: its rules (one a copy), the sequences around it and its character set."""

    rules: tuple[Rules, ...]
    parents: tuple[int, ...]
    names: tuple[str, ...]
    encodings: Sequence[str]


@dataclass
class Comparison:
    """Compares originals with their copies by each of `profiles`; what was compared once is remembered by its bytes."""

    profiles: tuple[Profile, ...]
    dates: DateMode
    _known: dict[tuple[object, ...], tuple[Change, ...]] = field(default_factory=dict)

    def changes(self, original: DataSet, behind: DataSet, copies: Sequence[Copy]) -> frozenset[Change]:
        """What became of an instance's elements in its copies, in the order of `profiles`; like items count once."""
        sop_class = first_text(original, SOP_CLASS_UID)
        rules = tuple(profile.rules(sop_class, self.dates) for profile in self.profiles)
        place = _Place(rules, (), (), first_level(original).encodings)
        found: set[Change] = set()
        parts = ((original, [one.before for one in copies]), (behind, [one.behind for one in copies]))
        for dataset, others in parts:
            for tag in sorted(dataset.places.keys() | {tag for one in others for tag in one.places}):
                if tag not in PIXEL_TAGS:
                    found.update(self._first_level(dataset, others, tag, place, sop_class))
        return frozenset(found)

    def _first_level(
        self, dataset: DataSet, others: list[DataSet], tag: int, place: _Place, sop_class: str
    ) -> tuple[Change, ...]:
        raws = tuple(_raw(one, tag) for one in (dataset, *others))
        creator = creator_of(dataset, tag) if tag & 0x10000 else ""
        key = (sop_class, tuple(place.encodings), dataset.syntax, tag, creator, raws)
        known = self._known.get(key)
        if known is None:
            known = tuple(dict.fromkeys(_element(dataset, others, tag, place)))
            if sum(map(len, raws)) <= _REMEMBERED_BYTES:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known


def _raw(dataset: DataSet, tag: int) -> bytes:
    found = dataset.places.get(tag)
    return b"" if found is None else dataset.content[found[0] : found[2]]


def _level(dataset: DataSet, others: list[DataSet], place: _Place) -> Iterator[Change]:
    for tag in sorted(dataset.places.keys() | {tag for one in others for tag in one.places}):
        yield from _element(dataset, others, tag, place)


def _element(dataset: DataSet, others: list[DataSet], tag: int, place: _Place) -> Iterator[Change]:
    source = dataset if tag in dataset else next(one for one in others if tag in one)
    declared = source.places[tag][3]
    if is_creator_tag(tag):
        return  # stays with its elements
    creator = creator_of(source, tag) if tag & 0x10000 else ""
    vr = _read_as(tag, declared, creator)
    names = folded((*place.names, attribute_name(tag, creator)))
    codes = [_code(rules, tag, declared, creator, place.parents) for rules in place.rules]
    items = _items(dataset, tag, vr, len(place.parents)) if tag in dataset else None
    if items is None and not (vr == "SQ" and tag not in dataset):
        outcomes = tuple(
            _outcome(dataset, one, tag, vr, code, place) for one, code in zip(others, codes, strict=True)
        )
    else:
        outcomes = tuple(
            _sequence_outcome(dataset, one, tag, code, place) for one, code in zip(others, codes, strict=True)
        )
    is_sequence = items is not None or vr == "SQ"
    alike = len(set(outcomes)) == 1 if is_sequence else len({_raw(one, tag) for one in others}) == 1
    yield Change(".".join(names), vr if vr in _VRS else "UN", outcomes, alike)
    if items is None:
        return
    inside = [
        _items(one, tag, "SQ", len(place.parents)) if outcome.action == "kept" else None
        for one, outcome in zip(others, outcomes, strict=True)
    ]
    for index, item in enumerate(items):
        below = _Place(place.rules, (*place.parents, tag), names, encodings_of(item, place.encodings))
        yield from _level(item, [_at(its, index) for its in inside], below)


def _at(items: list[DataSet] | None, index: int) -> DataSet:
    return items[index] if items is not None and index < len(items) else EMPTY


def _sequence_outcome(dataset: DataSet, copy: DataSet, tag: int, code: Code, place: _Place) -> Outcome:
    if tag in copy and _is_ours(tag, place.parents):
        return Outcome("made anew", "items")
    if tag not in dataset:
        return Outcome("made anew", "items") if tag in copy else Outcome("absent")
    if tag not in copy:
        return Outcome("removed")
    if not copy.value(tag):
        return Outcome("emptied" if dataset.value(tag) else "kept", "empty")
    return Outcome("replaced" if code is Code.REPLACE else "kept", "items")


def _outcome(dataset: DataSet, copy: DataSet, tag: int, vr: str, code: Code, place: _Place) -> Outcome:
    if tag not in copy:
        return Outcome("removed" if tag in dataset else "absent")
    old, new = dataset.value(tag), copy.value(tag)
    shape = value_shape(vr, new, _UTF8)
    if tag not in dataset:
        action = "made anew"
    elif _same(old, new, vr, place.encodings):
        action = "kept"
    elif not new.strip(b" \0") and vr in TEXT:
        action = "emptied"
    elif _is_ours(tag, place.parents) or new.startswith(EVENT_PREFIX.encode()):
        action = "made anew"
    elif _is_dummy(new, vr) and code is not Code.KEEP:
        action = "replaced"
    elif vr == "UI" and code is Code.KEEP:
        action = "mapped"
    else:
        action = "made anew" if tag == _ENCAPSULATED_DOCUMENT else _CHANGED.get(code, "made anew")
    return Outcome(action, shape)


def _is_dummy(new: bytes, vr: str) -> bool:
    return new.strip(b" \0") == DUMMIES.get(vr, DUMMY_TEXT).encode()


def _is_ours(tag: int, parents: tuple[int, ...]) -> bool:
    """Whether the gateway writes the element itself, whatever the profile says."""
    if tag in MADE_ANEW:
        return True
    return not parents and (tag in _OUR_ROOT or tag == _CHARACTER_SET or tag >> 16 == _DEIDENTIFICATION_GROUP)


def _same(old: bytes, new: bytes, vr: str, encodings: Sequence[str]) -> bool:
    if old.strip(b" \0") == new.strip(b" \0"):
        return True
    return vr in TEXT and decode(old, vr, encodings) == decode(new, vr, _UTF8)


def _read_as(tag: int, declared: str, creator: str) -> str:
    """The VR to read an element by: the declared one, else the dictionary's or the safe list's."""
    if not tag & 0x10000 or declared not in {"", "UN"}:
        return effective_vr(tag, declared).split(" or ")[-1]
    row = safe_private(creator, canonical(tag))
    return "UN" if row is None else row.vr


def _code(rules: Rules, tag: int, declared: str, creator: str, parents: tuple[int, ...]) -> Code:
    if not tag & 0x10000:
        return rules.code(tag, declared, parents)
    return rules.private(creator, canonical(tag), declared)


def _items(dataset: DataSet, tag: int, vr: str, depth: int) -> list[DataSet] | None:
    """Items of a sequence, or of bytes that look like one; None where there are none to be read."""
    if tag not in dataset:
        return None
    declared, value = dataset.places[tag][3], dataset.value(tag)
    if vr != "SQ" and not (vr == "UN" and value.startswith(_ITEM)):
        return None
    try:
        return dataset.items(tag, in_un=declared == "UN", depth=depth)
    except Permanent:
        return None


def attribute_name(tag: int, creator: str = "") -> str:
    """A keyword, or the tag; of a private one the block as `xx`, and its creator where the safe list has it.

    What a sender calls itself in a Private Creator that nobody knows is a value, and not told.
    """
    if not tag & 0x10000:
        return keyword_of(tag) or f"{tag:08X}"
    row = safe_private(creator, canonical(tag))
    return f"{tag >> 16:04X}xx{tag & 0xFF:02X}({row.creator if row else 'private'})"
