"""Every element of a data set at every depth, with its path: how verification reads originals and copies.

It shares the finding of elements with the engine, and not its decisions: a branch that the engine forgot is not
forgotten here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fiona_dagster.domain.deid.character_sets import DEFAULT_ENCODING
from fiona_dagster.domain.deid.dictionary import keyword_of, standard_vr
from fiona_dagster.domain.deid.elements import DataSet
from fiona_dagster.domain.deid.text import decode, encodings_of, readings, split
from fiona_dagster.domain.errors import Permanent

_ITEM = b"\xfe\xff\x00\xe0"
_FIRST_BLOCK = 0x10


class Found(NamedTuple):
    """One element that is no sequence. `vr` is the dictionary's where the file has none or UN."""

    path: tuple[int, ...]
    vr: str
    declared_vr: str
    value: bytes
    encodings: Sequence[str]
    creators: tuple[str, ...] = ()
    """The Private Creator of every private element of the path, '' for the others; () where none is private."""

    @property
    def creator(self) -> str:
        """The Private Creator of a private element."""
        return self.creators[-1] if self.creators else ""

    @property
    def tag(self) -> int:
        return self.path[-1]

    @property
    def keyword(self) -> str:
        """Keywords joined by dots, tags in hexadecimal digits where there is none."""
        return ".".join(keyword_of(tag) or f"{tag:08X}" for tag in self.path)

    def texts(self) -> list[str]:
        """The values as text, stripped; bytes that are no text in their character set are read as Latin-1."""
        text = decode(self.value, self.vr, self.encodings)
        text = self.value.decode("latin-1") if text is None else text
        return [one.strip(" \0") for one in split(text, self.vr)]

    def readings(self) -> list[str]:
        """The values in every plausible character set: the declared one may be wrong, and elsewhere be right."""
        if self.value.isascii():
            return self.texts()
        read = {
            part for text in readings(self.value, self.vr, self.encodings) for part in split(text, self.vr)
        }
        return sorted(one.strip(" \0") for one in read)


Enter = Callable[[int, str], bool]


def walk(dataset: DataSet, enter: Enter | None = None) -> Iterator[Found]:
    """All elements in order, those of sequences included; file meta information is a data set of its own.

    Args:
        dataset: a first level.
        enter: whether to go into a sequence, by tag and declared VR; default all.
    """
    level = first_level(dataset)
    for tag in dataset.places:
        yield from walk_element(level, tag, enter)


class Level(NamedTuple):
    """A data set on the way down, with the sequences that lead to it."""

    dataset: DataSet
    path: tuple[int, ...]
    creators: tuple[str, ...]
    encodings: Sequence[str]


def first_level(dataset: DataSet) -> Level:
    """Where a walk begins."""
    return Level(dataset, (), (), encodings_of(dataset, (DEFAULT_ENCODING,)))


def walk_element(level: Level, tag: int, enter: Enter | None = None) -> Iterator[Found]:
    """One element of a level, and what lies in it where it is a sequence."""
    dataset = level.dataset
    declared = dataset.places[tag][3]
    vr = declared if declared not in {"", "UN"} else (standard_vr(tag) or "UN")
    if vr == "SQ" and enter is not None and not enter(tag, declared):
        return
    path = (*level.path, tag)
    creator = creator_of(dataset, tag) if tag & 0x10000 else ""
    creators = (*(level.creators or ("",) * len(level.path)), creator) if creator or level.creators else ()
    found = _items(dataset, tag, declared, vr, len(level.path)) if vr in {"SQ", "UN"} else None
    if found is None:
        yield Found(path, vr, declared, dataset.value(tag), level.encodings, creators)
        return
    for item in found:
        below = Level(item, path, creators, encodings_of(item, level.encodings))
        for inner in item.places:
            yield from walk_element(below, inner, enter)


def creator_of(dataset: DataSet, tag: int) -> str:
    """The Private Creator of a private element, '' where it has none (PS3.5 7.8.1)."""
    block = tag >> 8 & 0xFF
    if not tag >> 16 & 1 or block < _FIRST_BLOCK:
        return ""
    return dataset.value(tag & 0xFFFF0000 | block).decode("latin-1").strip(" \0")


def _items(dataset: DataSet, tag: int, declared: str, vr: str, depth: int) -> list[DataSet] | None:
    """Items of a sequence, or of bytes in UN that look like one; None where there are none to be read."""
    try:
        if declared == "UN" or vr == "UN":
            value = dataset.value(tag)
            return dataset.items(tag, in_un=True, depth=depth) if value.startswith(_ITEM) else None
        return dataset.items(tag, depth=depth)
    except Permanent:
        return None  # bytes that are no items are searched as bytes
