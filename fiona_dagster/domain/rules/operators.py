"""The nine operators over what an image or a series says. A missing attribute is `()`.

An attribute is seen as a tuple of `Seen`, one for each place where it was found (several only behind a sequence);
a test passes if one of them passes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from pydicom import Dataset

from fiona_dagster.domain.attribute_values import Image, element_value, members, text_of
from fiona_dagster.domain.rules.model import Attribute, Literal, Operator, Step, Test


class Seen(NamedTuple):
    """A value as rules compare it: its printed form and its members.

    `printed`: a string of the series JSON, in which `contains` looks for a part, not for a member.
    """

    text: str
    members: tuple[str, ...]
    printed: bool = False


Found = tuple[Seen, ...]

_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.GREATER: operator.gt,
}


def seen(value: Any | None) -> Found:
    """One value of an attribute."""
    if value is None:
        return ()
    # blanks around a value carry no meaning (PS3.5 table 6.2-1), yet some devices write them between the backslashes
    return (Seen(text_of(value), tuple(text_of(one).strip(" ") for one in members(value))),)


def find(image: Image, attribute: Attribute) -> Found:
    """What an image says under `attribute`; behind a sequence without an index, once for every item."""
    return tuple(one for value in _values(image, attribute.steps) for one in seen(value))


def passes(test: Test, found: Found, operand: Found = ()) -> bool:
    """Whether a test holds. `operand`: what its other side says where that is not a literal."""
    return _holds(test, found, operand) is not test.negated


def _holds(test: Test, found: Found, operand: Found) -> bool:
    if test.operator is Operator.EXIST:
        return any(one.members for one in found)
    if test.operator is Operator.NOT_EXIST:
        return not any(one.members for one in found)
    if isinstance(test.operand, Literal):
        return _holds_literal(test, found, test.operand)
    return any(_holds_between(test, one, other) for one in found for other in operand)


def _holds_literal(test: Test, found: Found, literal: Literal) -> bool:
    if test.pattern is not None:
        texts = [one.text for one in found] or [""]
        return any(test.pattern.search(text) for text in texts)
    if test.operator is Operator.CONTAINS:
        return any(_contains(one, literal.text) for one in found)
    if literal.numbers is None:
        return any(_same(one, literal.text) is (test.operator is Operator.EQUAL) for one in found)
    return any(_holds_numbers(test, _numbers(one.members), literal.numbers) for one in found)


def _holds_between(test: Test, one: Seen, other: Seen) -> bool:
    """Compare two attributes. The other side is text to be found, never a pattern."""
    if test.operator is Operator.REGEXP:
        return other.text in one.text
    if test.operator is Operator.CONTAINS:
        return _contains(one, other.text)
    left, right = _numbers(one.members), _numbers(other.members)
    if test.operator in (Operator.EQUAL, Operator.NOT_EQUAL) and (left is None or right is None):
        return _same(one, other.text) is (test.operator is Operator.EQUAL)
    return right is not None and _holds_numbers(test, left, right)


def _same(one: Seen, text: str) -> bool:
    return text == one.text or (text,) == one.members


def _contains(one: Seen, wanted: str) -> bool:
    if one.printed or len(one.members) == 1:
        return wanted in one.text
    return wanted in one.members


def _holds_numbers(test: Test, left: tuple[float, ...] | None, right: tuple[float, ...]) -> bool:
    """Numbers side by side; as many on both sides, or nothing holds."""
    if not left or len(left) != len(right):
        return False
    pairs = list(zip(left, right, strict=True))
    if test.operator is Operator.APPROX:
        return all(abs(a - b) <= test.level for a, b in pairs)
    if test.operator is Operator.NOT_EQUAL:
        return any(a != b for a, b in pairs)
    return all(_COMPARE[test.operator](a, b) for a, b in pairs)


def _numbers(texts: tuple[str, ...]) -> tuple[float, ...] | None:
    """The members as numbers, or None where one is no finite number."""
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def _values(image: Image, steps: tuple[Step, ...]) -> list[Any]:
    step, rest = steps[0], steps[1:]
    value = element_value(image, step.tag)
    if value is None:
        return []
    chosen = _chosen(value, step.index)
    if not rest:
        return chosen
    items = [item for one in chosen for item in members(one) if isinstance(item, Dataset)]
    return [found for item in items for found in _values(item, rest)]


def _chosen(value: Any, index: int | None) -> list[Any]:
    if index is None:
        return [value]
    parts = members(value)
    return [parts[index]] if -len(parts) <= index < len(parts) else []
