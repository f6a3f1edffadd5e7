"""Names that a naming rule allows, counted and numbered, so that a free one is found whenever there is one.

FIONA drew names from the rule up to 20 times and gave up (gen-id, fiona-behaviour 3.3). Here the rule is a space of
known size: names are drawn at random, and when most are taken the rest is gone through. What cannot be counted
(unbounded repetition, a dot, references back) is refused when the project is configured.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from fiona_dagster.domain.errors import Permanent

LONGEST = 64
"""Characters of a DICOM PatientID (LO, PS3.5 6.2)."""
DRAWS, STEPS = 200, 100_000
_WORD = string.ascii_letters + string.digits
_CLASSES = {c.CATEGORY_DIGIT: string.digits, c.CATEGORY_WORD: _WORD}
_PASSED_OVER = {c.AT, c.ASSERT, c.ASSERT_NOT}  # they make no characters: each name is matched with the rule


class NotCountable(ValueError):
    """Why names cannot be drawn from a rule; the message completes `the rule ...`."""


@dataclass(frozen=True)
class _Characters:
    choices: str

    @property
    def size(self) -> int:
        return len(self.choices)

    def name(self, index: int) -> str:
        return self.choices[index]


@dataclass(frozen=True)
class _Row:
    parts: tuple[_Node, ...]

    @cached_property
    def size(self) -> int:
        size = 1
        for part in self.parts:
            size *= part.size
        return size

    def name(self, index: int) -> str:
        found = []
        for part in reversed(self.parts):
            index, digit = divmod(index, part.size)
            found.append(part.name(digit))
        return "".join(reversed(found))


@dataclass(frozen=True)
class _Choice:
    options: tuple[_Node, ...]

    @cached_property
    def size(self) -> int:
        return sum(one.size for one in self.options)

    def name(self, index: int) -> str:
        for one in self.options:
            if index < one.size:
                return one.name(index)
            index -= one.size
        raise IndexError(index)


_Node = _Characters | _Row | _Choice


@dataclass(frozen=True)
class NameSpace:
    """The names of a naming rule: `size` of them, numbered from 0; with alternatives a name may have two numbers."""

    pattern: str
    _root: _Node

    @property
    def size(self) -> int:
        return self._root.size

    def name(self, index: int) -> str:
        """The name with this number, 0 to `size` - 1; what does not match the whole rule is no name of it."""
        return self._root.name(index)


def name_space(pattern: str) -> NameSpace:
    """The names that `pattern` allows.

    Raises:
        NotCountable: the pattern does not bound its names, or uses what names cannot be made from.
        re.error: it is no regular expression.
    """
    parsed = _parser.parse(pattern)
    _, high = parsed.getwidth()
    if high >= c.MAXREPEAT:
        raise NotCountable("repeats something without a limit: write {1,4} where it has + or *")
    if high > LONGEST:
        raise NotCountable(f"allows names of {high} characters, a PatientID has at most {LONGEST}")
    space = NameSpace(pattern, _row(parsed))
    if space.size == 0 or high == 0:
        raise NotCountable("allows no name")
    return space


def free_name(
    space: NameSpace,
    taken: Collection[str],
    accepts: Callable[[str], bool],
    draw: Callable[[int], int],
) -> str:
    """A name that is not among `taken`, upper and lower case being the same (REDCap's records are).

    Args:
        space: of the project.
        taken: names that are in use.
        accepts: further conditions, the match with the whole rule among them.
        draw: a random number from 0 to its argument, exclusive.

    Raises:
        Permanent: all names are taken.
    """
    used = {one.casefold() for one in taken}

    def is_free(name: str) -> bool:
        return name.casefold() not in used and accepts(name)

    for _ in range(DRAWS):
        name = space.name(draw(space.size))
        if is_free(name):
            return name
    start = draw(space.size)
    for step in range(min(space.size, STEPS)):
        name = space.name((start + step) % space.size)
        if is_free(name):
            return name
    raise Permanent(
        f"the naming rule has room for {space.size} names, and no free one was found: widen project_patient_naming"
    )


def _row(parsed: Any) -> _Row:
    return _Row(tuple(_node(code, value) for code, value in parsed if code not in _PASSED_OVER))


def _node(code: Any, value: Any) -> _Node:
    if code in _CHARACTERS:
        return _Characters(_CHARACTERS[code](value))
    if code is c.BRANCH:
        return _Choice(tuple(_row(one) for one in value[1]))
    if code is c.SUBPATTERN:
        return _row(value[-1])
    if code in {c.MAX_REPEAT, c.MIN_REPEAT}:
        low, high, inner = value
        repeated = _row(inner)
        return _Choice(tuple(_Row((repeated,) * times) for times in range(low, high + 1)))
    if code is c.ANY:
        raise NotCountable("has a dot, which says nothing of the characters of a name")
    raise NotCountable("uses what names cannot be made from (a reference or a condition)")


def _members(items: Sequence[Any]) -> str:
    """The characters of a set; of one that says what is not in it, the letters and digits that are."""
    found: dict[str, None] = {}
    for code, value in items:
        if code is c.LITERAL:
            found[chr(value)] = None
        elif code is c.RANGE:
            found |= dict.fromkeys(map(chr, range(value[0], min(value[1], value[0] + 255) + 1)))
        elif code is c.CATEGORY and value in _CLASSES:
            found |= dict.fromkeys(_CLASSES[value])
        elif code is not c.NEGATE:
            raise NotCountable("has a class of characters that names are not made of")
    if items and items[0][0] is c.NEGATE:
        return "".join(one for one in _WORD if one not in found)
    return "".join(found)


_CHARACTERS: dict[Any, Callable[[Any], str]] = {
    c.LITERAL: chr,
    c.IN: _members,
    c.NOT_LITERAL: lambda value: _members([(c.NEGATE, None), (c.LITERAL, value)]),
}
