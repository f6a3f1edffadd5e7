"""What a rule file says, parsed once: frozen and fully understood (see `docs/classification.md`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import keyword_for_tag

from fiona_dagster.domain import series_json


class Operator(StrEnum):
    """FIONA's nine operators, as they are written in a rule file."""

    REGEXP = "regexp"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    GREATER = ">"
    CONTAINS = "contains"
    APPROX = "approx"
    EXIST = "exist"
    NOT_EXIST = "notexist"


@dataclass(frozen=True)
class Step:
    """One attribute on the way to a value. `index` picks an item of a sequence or a value, from 0; None means all."""

    tag: int
    index: int | None = None


@dataclass(frozen=True)
class Attribute:
    """An attribute of the image; more than one step leads through sequences."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return " / ".join(_step_name(step) for step in self.steps)


@dataclass(frozen=True)
class JsonField:
    """A field of the series JSON (FIONA looks there first for a tag of one word)."""

    name: str

    @property
    def of_the_series(self) -> bool:
        """Whether all images together make the value."""
        return self.name in series_json.OF_THE_SERIES

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class TypesFound:
    """`["ClassifyType"]`: the types that the whole series has been given by other rules."""

    def __str__(self) -> str:
        return "ClassifyType"


Source = Attribute | JsonField | TypesFound


@dataclass(frozen=True)
class Literal:
    """A value written in the rule. `numbers` is None where it is not made of numbers only."""

    text: str
    numbers: tuple[float, ...] | None


@dataclass(frozen=True)
class Test:
    """One comparison. `operand` is None for `exist` and `notexist`; `pattern` is compiled for `regexp`."""

    source: Source
    operator: Operator
    operand: Literal | Attribute | JsonField | None = None
    negated: bool = False
    level: float = 1e-4
    pattern: re.Pattern[str] | None = None

    def __str__(self) -> str:
        words = {Operator.REGEXP: "matches", Operator.APPROX: f"is within {self.level:g} of"}
        if self.operator in (Operator.EXIST, Operator.NOT_EXIST):
            said = f"{self.source} {'has' if self.operator is Operator.EXIST else 'has not'} a value"
        else:
            operand = f'"{self.operand.text}"' if isinstance(self.operand, Literal) else str(self.operand)
            said = f"{self.source} {words.get(self.operator, self.operator.value)} {operand}"
        return f"not ({said})" if self.negated else said


@dataclass(frozen=True)
class Rule:
    """One object of the rule file; references are already replaced by the tests that they stand for."""

    number: int
    line: int
    type: str
    id: str
    description: str
    series_level: bool
    tests: tuple[Test, ...]

    def __str__(self) -> str:
        return f"rule {self.number}{f' (id {self.id})' if self.id else ''}"


def _step_name(step: Step) -> str:
    name = keyword_for_tag(step.tag) or f"({step.tag >> 16:04x},{step.tag & 0xFFFF:04x})"
    return name if step.index is None else f"{name}[{step.index}]"
