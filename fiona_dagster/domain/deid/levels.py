"""Levels of a data set, and how the attributes on them are treated: the parts that the engine is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fiona_dagster.domain.deid.actions import Action, Field, keeps_bytes
from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.elements import UNDEFINED, DataSet, Stretch
from fiona_dagster.domain.deid.encoding import (
    Element,
    Syntax,
    encode_element,
    encode_value,
    header,
    text_element,
)
from fiona_dagster.domain.deid.profile import Rules
from fiona_dagster.domain.errors import Permanent

_REMEMBERED_BYTES, _REMEMBERED_VALUES = 16_384, 256
"""Longest element and number of values of one attribute that are remembered."""
_UNDEFINED_LENGTH = b"\xff\xff\xff\xff"


class Level(NamedTuple):
    """What an element's outcome depends on beside its own bytes."""

    rules: Rules
    parents: tuple[int, ...]
    encodings: Sequence[str]
    source: Syntax
    target: Syntax
    signed: bool


Make = Callable[[DataSet, int], bytes]
_PLAIN_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "UL", "US"})
"""VRs of binary numbers with a length of 16 bit: of those that are kept every byte of the element is."""


@dataclass(slots=True)
class Treatment:
    """How an attribute is treated: `make` gives the encoded element of the copy, b'' for none.

    `as_it_stands`: what `make` would give is the element itself, where its length is even.
    """

    make: Make
    as_it_stands: bool = False
    made: dict[bytes, bytes] = field(default_factory=dict)

    def piece(self, dataset: DataSet, tag: int, begin: int, stop: int) -> bytes:
        """The encoded element, which lies from `begin` to `stop`; remembered by the bytes that it was made from."""
        if stop - begin > _REMEMBERED_BYTES:
            return self.make(dataset, tag)
        raw, made = dataset.content[begin:stop], self.made
        piece = made.get(raw)
        if piece is None:
            if len(made) >= _REMEMBERED_VALUES:
                made.clear()
            piece = made[raw] = self.make(dataset, tag)
        return piece


@dataclass(slots=True)
class Plan:
    """A level, and what was found out about its attributes: how each is treated, and what its values became."""

    level: Level
    treatments: dict[tuple[int, str], Treatment | None] = field(default_factory=dict)
    stretches: dict[Stretch, dict[int, bytes]] = field(default_factory=dict)
    private: dict[tuple[int, str, str], Treatment | None] = field(default_factory=dict)
    below: dict[tuple[int, Sequence[str], Syntax], Plan] = field(default_factory=dict)


def joined(pieces: dict[int, bytes]) -> bytes:
    """A level's elements in the order of their tags."""
    return b"".join([pieces[tag] for tag in sorted(pieces)])


def item(content: bytes, syntax: Syntax) -> bytes:
    """An item of a sequence, of defined length."""
    length = len(content).to_bytes(4, "little" if syntax.little else "big")
    return (b"\xfe\xff\x00\xe0" if syntax.little else b"\xff\xfe\xe0\x00") + length + content


def items_of(dataset: DataSet, tag: int, depth: int, *, in_un: bool) -> list[DataSet] | None:
    """The items of a sequence; None where bytes of unknown VR are no items: not understood means removed."""
    try:
        return dataset.items(tag, in_un=in_un, depth=depth)
    except Permanent:
        if in_un:
            return None
        raise


def written_vr(tag: int, declared: str, level: Level) -> str:
    """The VR to write: UN is resolved through the dictionary, `US or SS` through Pixel Representation."""
    if declared and declared != "UN":
        return declared
    if declared == "UN" and not level.source.little:
        return "UN"  # always little endian inside (PS3.5 6.2.2): resolving it would swap its numbers
    known = standard_vr(tag) or "UN"
    if known == "US or SS":
        return "SS" if level.signed else "US"
    return "OW" if " or " in known else known


def of_value(level: Level, tag: int, declared: str, vr: str, action: Action) -> Treatment:
    """An attribute whose value an action changes: `tag` with the VR that it declares, and the one to be written."""
    encodings, target = level.encodings, level.target
    as_it_stands = (
        keeps_bytes(action, tag)
        and declared == vr
        and vr in _PLAIN_NUMBERS
        and level.source == target
        and not target.implicit
    )

    def make(dataset: DataSet, tag: int) -> bytes:
        _, start, stop, _ = dataset.places[tag]
        content = dataset.content
        if content[start - 4 : start] == _UNDEFINED_LENGTH:
            return b""  # in something that is no sequence: not understood
        new = action(Field(tag, vr, content[start:stop], encodings))
        return b"" if new is None else encode_value(tag, vr, new, target)

    return Treatment(make, as_it_stands)


def of_pixels(target: Syntax) -> Treatment:
    """Pixel Data of an instance that is whole in memory: as it stands there."""

    def make(dataset: DataSet, tag: int) -> bytes:
        _, start, stop, declared = dataset.places[tag]
        length = UNDEFINED if _is_undefined(dataset, start) else stop - start
        return header(tag, declared or "OW", length, target) + dataset.content[start:stop]

    return Treatment(make)


def of_emptied_sequence(tag: int, target: Syntax) -> Treatment:
    """A sequence that loses its items."""
    empty = header(tag, "SQ", 0, target)
    return Treatment(lambda _dataset, _tag: empty)


def of_dummy_sequence(target: Syntax, *, in_un: bool) -> Treatment:
    """A sequence with one dummy code in place of its items, if it had any."""

    def make(dataset: DataSet, tag: int) -> bytes:
        found = items_of(dataset, tag, 0, in_un=in_un)
        if found is None:
            return b""
        return encode_element(Element(tag, "SQ", [_dummy_code() for _ in found[:1]]), target)

    return Treatment(make)


def _dummy_code() -> list[Element]:
    return [
        text_element(0x00080100, "SH", "REMOVED"),
        text_element(0x00080102, "SH", "99FIONA"),
        text_element(0x00080104, "LO", "Removed"),
    ]


def _is_undefined(dataset: DataSet, start: int) -> bool:
    return dataset.content[start - 4 : start] == _UNDEFINED_LENGTH
