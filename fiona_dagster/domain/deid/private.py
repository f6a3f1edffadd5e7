"""Private attributes that the Retain Safe Private Option (PS3.15 E.3.10) lets stay, and whose they are.

A private attribute is known by its private creator and its tag with the block number taken out: (0019,xx0C) of
`SIEMENS MR HEADER` is 0x0019000C. Two tables say what stays: the standard's table E.3.10-1, generated, and our
additions, by hand, each with its reason and the form that its text must have; where both have an attribute, ours is
narrower and counts. What is in neither is removed, as is everything without a creator. What a sender says of its own
attributes in Private Data Element Characteristics Sequence (0008,0300) is not believed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, lru_cache
from typing import Literal, NamedTuple

from fiona_dagster.domain.deid.table import rows

SAFE_EDITION = "2026d"
"""Edition of PS3.15 that table E.3.10-1 is from."""

Action = Literal["keep", "date", "uid", "clean", "csa"]

SHORTEST_TEXT = 5
_NOT_PRIVATE_GROUPS = frozenset({0x0001, 0x0003, 0x0005, 0x0007, 0xFFFF})
"""Odd groups that PS3.5 7.8.1 reserves."""
_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "AT": 4, "FD": 8, "SV": 8, "UV": 8}
_NUMBERS = frozenset(_SIZES) | {"DS", "IS"}
_TEXTS = frozenset({"CS", "SH", "LO", "ST", "LT", "UC", "UT"})
_BYTES = frozenset({"OB", "OW", "UN"})
_NUMBER = re.compile(
    r"(?!(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4,6})?(\.\d*)?$)"
    r"[-+]?(\d{1,10}(\.\d*)?|\.\d+)([Ee][-+]?\d{1,3})?"
)
"""A number that is neither a date nor as long as an identity number."""
_CODE = re.compile(r"[A-Z0-9 _]{0,16}")
_PRINTABLE = re.compile(rb"[\x20-\x7e]+[\x00 ]*")
_RUN = re.compile(
    rb"(?:[\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
    rb"|(?<=[A-Za-z])[\xc0-\xff](?=[A-Za-z])){%d,}" % SHORTEST_TEXT
)
_WIDE_RUN = re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00|[\x00-\x7f]\x01){%d,}" % SHORTEST_TEXT)
_WIDE_RUN_BIG = re.compile(
    rb"(?<![\x20-\x7e\xa0-\xff])(?:\x00[\x20-\x7e\xa0-\xff]|\x01[\x00-\x7f]){%d,}" % SHORTEST_TEXT
)
"""Big endian, as in colour profiles; what stands behind a letter is the other half of a little endian one."""
_GZIP = b"\x1f\x8b\x08"
_MOST_INFLATED = 16 * 1024 * 1024
_MOST_MEMBERS = 8


class SafeRow(NamedTuple):
    """A private attribute that may stay. `vr` is how bytes without a known VR (UN) are to be read.

    `pattern` is the form that each value must have in full; '' leaves the form to the VR. A sequence that is kept is
    entered: its items are cleaned attribute by attribute.
    """

    creator: str
    tag: int
    vr: str
    vm: str
    action: Action
    pattern: str
    meaning: str
    source: str


def safe_private(creator: str, tag: int) -> SafeRow | None:
    """What is known of a private attribute that may stay; None: remove it.

    Blanks around the creator do not count, nor does its case: archives that take it for a code string write
    `PHILIPS IMAGING DD 001`, and no two creators on the list differ in case alone.

    Args:
        creator: value of the private creator element of the block.
        tag: with the block number set to 00, as `canonical` makes it.
    """
    return _safe_list().get((_folded(creator), tag))


def safe_creators() -> frozenset[str]:
    """Private creators that the list knows, in the list's own spelling."""
    return frozenset(row.creator for row in _safe_list().values())


def fits(row: SafeRow, declared_vr: str, value: bytes) -> bool:
    """Whether a value is what the list says: numbers for numbers, a code for a code, text in its form.

    A value that does not fit is removed, whatever the list says of its attribute: names hide in UN. Text under
    `clean` fits here, and is the cleaner's affair; so are UIDs and dates theirs, and headers `csa.clean_csa`'s.
    """
    if not _agrees(row.vr, declared_vr):
        return False
    vr = row.vr if declared_vr == "UN" else declared_vr
    if vr in _SIZES:
        return len(value) % _SIZES[vr] == 0 and not (len(value) >= 8 and _PRINTABLE.fullmatch(value))
    if vr not in _TEXTS and vr not in _NUMBERS:
        return True
    if row.action != "keep":
        return True
    try:
        texts = value.decode("ascii").rstrip(" \0").split("\\")
    except UnicodeDecodeError:
        return False
    form = _form(row.pattern) if row.pattern else _NUMBER if vr in _NUMBERS else _CODE
    return all(form.fullmatch(text) for text in (part.strip() for part in texts) if text)


def canonical(tag: int) -> int:
    """A private tag with the block number set to 00: 0x0019100C is 0x0019000C."""
    return tag & 0xFFFF00FF


def is_creator_tag(tag: int) -> bool:
    """Whether a tag is that of a private creator element, (gggg,0010-00FF) of a private group (PS3.5 7.8.1)."""
    return 0x10 <= tag & 0xFFFF <= 0xFF and _is_private_group(tag)


class PrivateBlocks:
    """The private creators of one data set (an item of a sequence is one of its own), in the order of its elements.

    An element without a creator before it, in a group that the standard does not give away, or in a block that two
    different creators claim, belongs to nobody. One creator may have several blocks.
    """

    __slots__ = ("_creators", "_used")

    def __init__(self) -> None:
        self._creators: dict[int, str | None] = {}
        self._used: set[int] = set()

    def seen(self, tag: int, value: bytes) -> None:
        """Take note of a private creator element. Other elements are not looked at."""
        if not is_creator_tag(tag):
            return
        creator = _creator_text(value)
        if tag in self._creators and self._creators[tag] != creator:
            creator = None
        self._creators[tag] = creator

    def creator_of(self, tag: int) -> str | None:
        """The creator of the block that a private element lies in; None where nobody or two claim it."""
        if tag & 0xFFFF < 0x1000:
            return None
        return self._creators.get(_creator_tag(tag))

    def row(self, tag: int) -> SafeRow | None:
        """The safe list's line for an element of this data set."""
        creator = self.creator_of(tag)
        return None if creator is None else safe_private(creator, canonical(tag))

    def stays(self, tag: int) -> None:
        """Take note that an element stays, and its creator with it."""
        self._used.add(_creator_tag(tag))

    def creators_that_stay(self) -> frozenset[int]:
        """Tags of the private creator elements that are needed by elements that stay; the others are removed."""
        return frozenset(self._used & self._creators.keys())


def creators_needed(tags: Iterable[int]) -> frozenset[int]:
    """Tags of the private creator elements that the private elements `tags` need."""
    return frozenset(_creator_tag(tag) for tag in tags if _is_private_group(tag) and tag & 0xFFFF >= 0x1000)


def text_in_bytes(value: bytes) -> list[str]:
    """Text of five characters or more inside of bytes: ASCII, UTF-8, Latin-1 and UTF-16, also within gzip.

    In tables of numbers some turns up by chance. Each text is named once, in the order of the bytes.
    """
    found: dict[str, None] = {}
    for part in (value, *_inflated(value)):
        for match in _RUN.finditer(part):
            found[_decoded(match[0])] = None
        for match in _WIDE_RUN.finditer(part):
            found[match[0].decode("utf-16-le")] = None
        for match in _WIDE_RUN_BIG.finditer(part):
            found[match[0].decode("utf-16-be")] = None
    return list(found)


@cache
def _safe_list() -> dict[tuple[str, int], SafeRow]:
    made: dict[tuple[str, int], SafeRow] = {}
    for name in (f"safe_private_{SAFE_EDITION}.csv", "safe_private_additions.csv"):
        for row in rows(name):
            action: Action
            match row["action"]:
                case "keep" | "date" | "uid" | "clean" | "csa" as action:
                    pass
                case _:
                    continue
            tag = int(row["tag"], 16)
            made[_folded(row["creator"]), tag] = SafeRow(
                row["creator"],
                tag,
                row["vr"],
                row["vm"],
                action,
                row["pattern"],
                row["meaning"],
                row["source"],
            )
    return made


def _agrees(listed: str, declared: str) -> bool:
    return (
        declared in {listed, "UN"}
        or (listed in _NUMBERS and declared in _NUMBERS)
        or (listed in _TEXTS and declared in _TEXTS)
        or (listed in _BYTES and declared in _BYTES)
    )


@lru_cache(maxsize=4096)
def _folded(creator: str) -> str:
    return creator.strip(" \0").upper()


@cache
def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _is_private_group(tag: int) -> bool:
    group = tag >> 16
    return group % 2 == 1 and group not in _NOT_PRIVATE_GROUPS


def _creator_tag(tag: int) -> int:
    return tag & 0xFFFF0000 | tag >> 8 & 0xFF


def _creator_text(value: bytes) -> str | None:
    """A private creator has one value of the default character repertoire (PS3.5 7.8.1)."""
    try:
        text = value.decode("ascii").strip(" \0")
    except UnicodeDecodeError:
        return None
    return text if text and "\\" not in text and text.isprintable() else None


def _decoded(run: bytes) -> str:
    try:
        return run.decode("utf-8")
    except UnicodeDecodeError:
        return run.decode("latin-1")


def _inflated(value: bytes) -> list[bytes]:
    """What gzip members inside of bytes hold, damaged ones as far as they go."""
    made: list[bytes] = []
    position = value.find(_GZIP)
    while position >= 0 and len(made) < _MOST_MEMBERS:
        with suppress(zlib.error):
            made.append(zlib.decompressobj(31).decompress(value[position:], _MOST_INFLATED))
        position = value.find(_GZIP, position + 1)
    return made
