"""The elements of a data set, found in its bytes: nothing is decoded, nothing is copied before it is wanted.

One pass notes where each element lies (PS3.5 chapter 7). Every byte of a level belongs to one of its elements or the
level is refused as damaged, so that nothing can hide between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 — struct names its exception like a function

from fiona_dagster.domain.deid.encoding import LONG_VRS, Syntax
from fiona_dagster.domain.errors import Permanent

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and integer Pixel Data: at the first level they stay in the file."""
TWICE = "an element stands twice on one level: which of the two is meant, nobody knows; ask the sender for it again"
DEEPEST = 64
"""Levels of sequences that are followed; the standard's own objects have seven."""
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS, _PIXEL_GROUP = 0xFFFE, 0x7FE0
_REMEMBERED_POSITIONS = 64
"""Places at which one stretch is known: the values before it differ in length by a few bytes."""
_SHORT = ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
              "TM", "UI", "UL", "US")  # fmt: skip
SHORT_VRS = {vr.encode(): vr for vr in _SHORT}
"""VRs with a length of 16 bit in explicit encodings (PS3.5 table 7.1-2), as they stand there."""
_NO_VR = frozenset({b"  ", b"??"})
_LONG = {vr.encode(): vr for vr in sorted(LONG_VRS)}

Place = tuple[int, int, int, str]
"""Where an element lies: its first byte, that of its value, the one behind it, and the VR it declares ('' for none).

The value of a sequence of undefined length ends behind its delimiter.
"""


class Short(Exception):
    """The bytes end inside an element; `position` is the first byte of that element."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class _Order:
    def __init__(self, mark: str) -> None:
        self.explicit = Struct(mark + "HH2sH").unpack_from
        self.implicit = Struct(mark + "HHL").unpack_from
        self.long = Struct(mark + "L").unpack_from


_LITTLE, _BIG = _Order("<"), _Order(">")
IMPLICIT_LITTLE = Syntax(implicit=True, little=True)


class Stretch:
    """Elements that follow each other, as they stood in one data set: `places` are those there, from `begin` on."""

    __slots__ = ("_elsewhere", "content", "places")

    def __init__(self, content: bytes, begin: int, places: dict[int, Place]) -> None:
        self.content, self.places = content, places
        self._elsewhere = {begin: places}

    def places_at(self, position: int) -> dict[int, Place]:
        """The same elements where the first byte lies at `position`; not to be changed."""
        found = self._elsewhere.get(position)
        if found is None:
            if len(self._elsewhere) >= _REMEMBERED_POSITIONS:
                self._elsewhere.clear()
            shift = position - next(iter(self.places.values()))[0]
            found = self._elsewhere[position] = {
                tag: (begin + shift, value + shift, stop + shift, vr)
                for tag, (begin, value, stop, vr) in self.places.items()
            }
        return found


Unit = int | Stretch
"""A part of a first level: the tag of one element, or several elements that were seen before."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One level: its bytes, where its elements lie, and how they are encoded.

    `units` are its parts where it was read with the help of others like it, else None.
    """

    content: bytes
    places: dict[int, Place]
    syntax: Syntax
    units: tuple[Unit, ...] | None = None

    def __contains__(self, tag: object) -> bool:
        return tag in self.places

    def value(self, tag: int) -> bytes:
        """The value as it stands there; b'' where the element is absent."""
        place = self.places.get(tag)
        return b"" if place is None else self.content[place[1] : place[2]]

    def items(self, tag: int, *, in_un: bool = False, depth: int = 0) -> list[DataSet]:
        """The items of a sequence that is there.

        Args:
            tag: the sequence's.
            in_un: whether it is declared UN, and so encoded as Implicit VR Little Endian (PS3.5 6.2.2 note 2).
            depth: levels above this one.

        Raises:
            Permanent: it is no sequence of items.
        """
        _, start, stop, _ = self.places[tag]
        return list(items(self.content, start, stop, IMPLICIT_LITTLE if in_un else self.syntax, depth))


EMPTY = DataSet(b"", {}, IMPLICIT_LITTLE)


def items(content: bytes, start: int, stop: int, syntax: Syntax, depth: int = 0) -> Iterator[DataSet]:
    """The items that lie between two positions, up to a sequence delimiter if there is one.

    Raises:
        Permanent: something else lies there, or an item does not end where it should.
    """
    if depth >= DEEPEST:
        raise Permanent(
            "sequences are nested more deeply than any object's: hold the instance for a look at it"
        )
    unpack = (_LITTLE if syntax.little else _BIG).implicit
    position = start
    try:
        while position < stop:
            group, element, length = unpack(content, position)
            tag, position = group << 16 | element, position + 8
            if tag == _SEQUENCE_END:
                if position != stop:
                    raise _damaged()
                return
            if tag != _ITEM:
                raise _damaged()
            if length == UNDEFINED:
                places, position = find_elements(
                    content, position, stop, syntax, in_item=True, depth=depth + 1
                )
            else:
                end = position + length
                if end > stop:
                    raise _damaged()
                places, position = find_elements(content, position, end, syntax, depth=depth + 1)
            yield DataSet(content, places, syntax)
    except (Short, StructError):
        raise _damaged() from None


def find_elements(  # noqa: C901, PLR0912 — the hot loop: a call per element would double its cost
    content: bytes,
    start: int,
    stop: int,
    syntax: Syntax,
    *,
    in_item: bool = False,
    root: bool = False,
    only_one: bool = False,
    has_vr: bool | None = None,
    depth: int = 0,
    places: dict[int, Place] | None = None,
) -> tuple[dict[int, Place], int]:
    """Where the elements between two positions lie, and the position behind the last.

    Args:
        content: the bytes.
        start: first byte of the first element.
        stop: byte behind the last.
        syntax: how they should be encoded; a level that declares no VRs is read as implicit all the same.
        in_item: an item delimiter ends the level, and must.
        root: the first level, which ends before Pixel Data.
        only_one: stop behind the first element.
        has_vr: whether elements of the level declare their VR; by default the first one tells.
        depth: levels above this one.
        places: to go on with after `Short`.

    Raises:
        Short: the bytes end inside an element.
        Permanent: there is something that is no element.
    """
    found: dict[int, Place] = {} if places is None else places
    order = _LITTLE if syntax.little else _BIG
    explicit, implicit, long = order.explicit, order.implicit, order.long
    if has_vr is None:
        has_vr = declares_vr(content, start, stop, syntax)
    position = begin = start
    try:
        while position < stop:
            begin = position
            vr: str | None = ""
            if has_vr:
                group, element, code, length = explicit(content, position)
                vr = SHORT_VRS.get(code)
                if vr is not None:
                    position += 8
                elif group != _DELIMITERS:
                    vr = _LONG.get(code)
                    if vr is not None:
                        (length,) = long(content, position + 8)
                        position += 12
                    else:
                        vr = _later_vr(code)
                        position += 8
            else:
                group, element, length = implicit(content, position)
                position += 8
            if group >= _PIXEL_GROUP:
                if group == _DELIMITERS:
                    if not in_item or element != _ITEM_END & 0xFFFF:
                        raise _damaged()
                    return found, begin + 8
                if root and group << 16 | element in PIXEL_TAGS:
                    return found, begin
            value = position
            if length == UNDEFINED:
                inside = IMPLICIT_LITTLE if vr == "UN" else syntax
                position = _end_of_sequence(content, position, stop, inside, depth)
            else:
                position += length
            if position > stop:
                raise Short(begin)
            tag = group << 16 | element
            if tag in found:
                raise Permanent(TWICE)
            found[tag] = (begin, value, position, vr or "")
            if only_one:
                break
    except (StructError, Short):  # where it ended inside, it is this level's element that is not whole
        raise Short(begin) from None
    if in_item:
        raise Short(begin)
    return found, position


def _later_vr(code: bytes) -> str:
    """A VR of a later edition than ours, two capital letters; UN for what writers put down that did not know it."""
    if code in _NO_VR:
        return "UN"
    if not (code.isalpha() and code.isupper()):
        raise _damaged()
    return code.decode("ascii")


def _end_of_sequence(content: bytes, position: int, stop: int, syntax: Syntax, depth: int) -> int:
    """Position behind the delimiter of a sequence (or of fragments) of undefined length."""
    if depth >= DEEPEST:
        raise Permanent(
            "sequences are nested more deeply than any object's: hold the instance for a look at it"
        )
    unpack = (_LITTLE if syntax.little else _BIG).implicit
    while True:
        group, element, length = unpack(content, position)
        tag, position = group << 16 | element, position + 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise _damaged()
        if length == UNDEFINED:
            _, position = find_elements(content, position, stop, syntax, in_item=True, depth=depth + 1)
        else:
            position += length


def declares_vr(content: bytes, start: int, stop: int, syntax: Syntax) -> bool:
    """Whether the first element of a level declares a VR; some writers encode items implicitly in explicit files."""
    if syntax.implicit:
        return False
    code = content[start + 4 : start + 6]
    if stop - start < 6 or content[start : start + 2] in {b"\xfe\xff", b"\xff\xfe"}:
        return True
    return code in SHORT_VRS or code in _LONG or (code.isalpha() and code.isupper())


def _damaged() -> Permanent:
    return Permanent(
        "the file is damaged: an element does not end where the next begins; ask the sender for it again"
    )
