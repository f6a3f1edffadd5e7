"""A rule file as it is written: objects with their lines, every key and value checked, references still open."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.rules.model import Attribute, JsonField, Literal, Operator, Source, Test, TypesFound
from fiona_dagster.domain.rules.tags import UnknownTagError, looks_like_tag, parse_tag

_RULE_KEYS = {"type", "id", "description", "check", "rules"}
_TEST_KEYS = {"tag", "value", "operator", "negate", "approxLevel"}
_REFERENCE_KEYS = {"rule", "notrule"}
_REMARKS = {"description", "comment"}
_NEGATE = {"yes": True, "true": True, "no": False, "false": False, "": False}
_NUMERIC = {Operator.EQUAL, Operator.NOT_EQUAL, Operator.LESS, Operator.GREATER, Operator.APPROX}
_OF_TYPES = {Operator.REGEXP, Operator.CONTAINS, Operator.EXIST, Operator.NOT_EXIST}

Report = Callable[[str], None]


class RuleProblem(ValueError):
    """Something in a rule that cannot be understood; the message says what and how to mend it."""


@dataclass(frozen=True)
class Reference:
    """`{"rule": id}` or, negated, `{"notrule": id}`."""

    id: str
    negated: bool


@dataclass(frozen=True)
class WrittenRule:
    """One object of the file. `entries` holds what could be understood."""

    number: int
    line: int
    type: str
    id: str
    description: str
    series_level: bool
    entries: tuple[Test | Reference, ...]

    def __str__(self) -> str:
        name = f', type "{self.type}"' if self.type else ""
        identity = f', id "{self.id}"' if self.id else ""
        return f"rule {self.number} (line {self.line}{name}{identity})"


def read_rules(text: str, place: str, problems: list[str]) -> list[WrittenRule]:
    """All rules of a file; what is wrong with one is added to `problems`.

    Raises:
        ConfigurationError: the text is no JSON list, so that there is nothing to go on with.
    """
    rules: list[WrittenRule] = []
    for number, (line, value) in enumerate(_objects(text, place), start=1):
        if isinstance(value, dict):
            rules.append(_rule(number, line, value, problems))
        else:
            problems.append(
                f'rule {number} (line {line}): is no object, like {{"type": ..., "rules": [...]}}'
            )
    return rules


def _objects(text: str, place: str) -> list[tuple[int, Any]]:
    """The members of the outermost list, each with the line on which it begins."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_double_keys, parse_constant=_no_constant)
    blank = re.compile(r"[\s\ufeff]*")

    def skip(position: int) -> int:
        return blank.match(text, position).end()  # type: ignore[union-attr]  # matches nothing at least

    members: list[tuple[int, Any]] = []
    try:
        position = skip(0)
        if text[position : position + 1] != "[":
            raise json.JSONDecodeError("a rule file is a list, beginning with [", text, position)
        position = skip(position + 1)
        while text[position : position + 1] != "]":
            if members:
                if text[position : position + 1] != ",":
                    raise json.JSONDecodeError("rules are separated by a comma", text, position)
                position = skip(position + 1)
            line = text.count("\n", 0, position) + 1
            value, position = decoder.raw_decode(text, position)
            members.append((line, value))
            position = skip(position)
        if text[skip(position + 1) :]:
            raise json.JSONDecodeError("something stands behind the closing ]", text, skip(position + 1))
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"line {error.lineno}, column {error.colno}: {error.msg}", place=place, remedy="mend the JSON"
        ) from error
    except (RuleProblem, RecursionError) as error:
        raise ConfigurationError(
            f"rule {len(members) + 1}: {error}", place=place, remedy="mend the JSON"
        ) from error
    return members


def _rule(number: int, line: int, value: dict[str, Any], problems: list[str]) -> WrittenRule:
    said: list[str] = []
    _check_keys(value, _RULE_KEYS | _REMARKS, said.append)
    label, identity, check = value.get("type"), value.get("id", ""), value.get("check", "")
    if not isinstance(label, str) or not label:
        said.append("has no type")
    if not isinstance(identity, str):
        said.append("its id is no text")
    if check not in ("", "SeriesLevel"):
        said.append(f'check is {check!r}; the only one is "SeriesLevel"')
    written = value.get("rules")
    if not isinstance(written, list) or not written:
        said.append('has no tests: "rules" must be a list of at least one')
        written = []
    entries: list[Test | Reference] = []
    for position, one in enumerate(written, start=1):
        try:
            entries.append(_entry(one))
        except (RuleProblem, UnknownTagError) as problem:
            said.append(f"test {position}: {problem}")
    rule = WrittenRule(
        number=number,
        line=line,
        type=label if isinstance(label, str) else "",
        id=identity if isinstance(identity, str) else "",
        description=str(value.get("description", "")),
        series_level=check == "SeriesLevel",
        entries=tuple(entries),
    )
    problems.extend(f"{rule}: {one}" for one in said)
    return rule


def _entry(value: Any) -> Test | Reference:
    if not isinstance(value, dict):
        raise RuleProblem("is no object")
    named = _REFERENCE_KEYS & value.keys()
    said: list[str] = []
    if named:
        _check_keys(value, _REFERENCE_KEYS | _REMARKS, said.append)
        if said or len(named) > 1:
            raise RuleProblem("; ".join([*said, 'a reference is "rule" or "notrule" alone']))
        identity = value[named.pop()]
        if not isinstance(identity, str) or not identity:
            raise RuleProblem("a reference names the id of a rule")
        return Reference(identity, "notrule" in value)
    _check_keys(value, _TEST_KEYS | _REMARKS, said.append)
    if said:
        raise RuleProblem("; ".join(said))
    if "tag" not in value:
        raise RuleProblem('has neither "tag" nor "rule" nor "notrule"')
    return _test(value)


def _test(value: dict[str, Any]) -> Test:
    operator = _operator(value.get("operator", Operator.REGEXP.value))
    source = parse_tag(value["tag"])
    if isinstance(source, TypesFound) and operator not in _OF_TYPES:
        raise RuleProblem(f'"{operator.value}" cannot compare ClassifyType; use "contains"')
    negate = value.get("negate", "")
    if str(negate).lower() not in _NEGATE:
        raise RuleProblem(f'negate is {negate!r}; write "yes" or leave it out')
    level = _number(value.get("approxLevel", 1e-4))
    if level is None or level < 0:
        raise RuleProblem("approxLevel is no number of 0 or more")
    operand: Literal | Attribute | JsonField | None = None
    if operator not in (Operator.EXIST, Operator.NOT_EXIST):
        if "value" not in value:
            raise RuleProblem(f'"{operator.value}" needs a value')
        operand = _operand(value["value"], operator)
    pattern = None
    if operator is Operator.REGEXP and isinstance(operand, Literal):
        try:
            pattern = re.compile(operand.text)
        except (re.error, RecursionError, OverflowError) as error:
            raise RuleProblem(f'"{operand.text}" is no regular expression: {error}') from error
    return Test(source, operator, operand, _NEGATE[str(negate).lower()], level, pattern)


def _operator(name: Any) -> Operator:
    try:
        return Operator(name)
    except ValueError:
        known = [one.value for one in Operator]
        close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
        meant = f' (did you mean "{close[0]}"?)' if close else ""
        raise RuleProblem(f"unknown operator {name!r}{meant}; there are {', '.join(known)}") from None


def _operand(value: Any, operator: Operator) -> Literal | Attribute | JsonField:
    if looks_like_tag(value):
        other: Source = parse_tag(value)
        if isinstance(other, TypesFound):
            raise RuleProblem("ClassifyType can stand as tag, not as value")
        return other
    numbers = _numbers(value)
    if operator in _NUMERIC:
        if numbers is not None:
            return Literal(_text(value), numbers)
        if operator in (Operator.EQUAL, Operator.NOT_EQUAL) and isinstance(value, str):
            return Literal(value, None)
        raise RuleProblem(f'"{operator.value}" compares numbers, and {value!r} is none')
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RuleProblem(f'"{operator.value}" needs a text, not {value!r}')
    return Literal(_text(value), numbers)


def _check_keys(value: dict[str, Any], known: set[str], report: Report) -> None:
    for key in value.keys() - known:
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        report(f'unknown key "{key}"' + (f' (did you mean "{close[0]}"?)' if close else ""))


def _text(value: Any) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _numbers(value: Any) -> tuple[float, ...] | None:
    if isinstance(value, list):
        numbers = tuple(_number(one) for one in value)
        return None if not numbers or None in numbers else tuple(one for one in numbers if one is not None)
    one = _number(value)
    return None if one is None else (one,)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _without_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise RuleProblem(f'the key "{name}" stands twice in one object')
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise RuleProblem(f"{name} is no JSON")
