"""filterLogic: REDCap's condition language, parsed into a tree and evaluated for one row.

    or   := and ("or" and)*         and := cmp ("and" cmp)*        (case-insensitive)
    cmp  := sum (("="|"!="|"<>"|"<"|">"|"<="|">=") sum)?
    sum  := mul (("+"|"-") mul)*    mul := un (("*"|"/"|"^") un)*
    un   := "-" un | "not" un | number | 'str' | "str" | "(" or ")" | var | func "(" args ")"
    var  := "[field]" | "[field(code)]" | "[event_arm_1][field]" | "[…][instance]"

Nothing is ever handed to `eval`. A comparison is numeric when both sides are numbers, otherwise textual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fiona_dagster.embedded.redcap.functions import (
    FUNCTIONS,
    OF_MISSING_CODES,
    LogicError,
    Value,
    number_of,
    text_of,
    truth_of,
)

__all__ = ["Expression", "LogicError", "parse"]

Resolver = Callable[[str, str, str, str], str]
"""(event, field, checkbox code, instance) to the stored value; the empty string where there is none."""
Node = Callable[["_Scope"], Value]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+\.?\d*|\.\d+)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<variable>(?:\[[^\[\]]+\])+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign><=|>=|<>|!=|[=<>+\-*/^(),])
    )""",
    re.VERBOSE,
)
_COMPARISONS = {"=", "!=", "<>", "<", ">", "<=", ">="}
_FIELD = re.compile(r"^([a-z][a-z0-9_]*)(?:\(([^()]+)\))?$")
_DEEPEST = 100


@dataclass(frozen=True)
class _Scope:
    resolve: Resolver
    now: str
    missing_codes: frozenset[str]


@dataclass(frozen=True)
class Expression:
    """A parsed condition and the names of the fields it reads."""

    node: Node
    fields: tuple[str, ...]

    def holds(self, resolve: Resolver, now: str, missing_codes: frozenset[str] = frozenset()) -> bool:
        """Whether the condition is true for a row. `missing_codes` are the project's missing data codes.

        Raises:
            LogicError: a function was given what it cannot use.
        """
        return truth_of(self.node(_Scope(resolve, now, missing_codes)))


def parse(text: str) -> Expression:
    """Parse a condition.

    Raises:
        LogicError: the text does not follow the grammar; the message says where.
    """
    parser = _Parser(text)
    node = parser.disjunction()
    parser.expect_end()
    return Expression(node, tuple(dict.fromkeys(parser.fields)))


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise LogicError(f"character {position + 1} is not expected")
        yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
        position = found.end()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [*_tokens(text), ("end", "", len(text))]
        self._next = 0
        self._depth = 0
        self.fields: list[str] = []

    def disjunction(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise LogicError("it is nested too deeply")
        parts = [self._conjunction()]
        while self._take("name", "or"):
            parts.append(self._conjunction())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else lambda scope: any(truth_of(part(scope)) for part in parts)

    def expect_end(self) -> None:
        if self._tokens[self._next][0] != "end":
            self._fail()

    def _conjunction(self) -> Node:
        parts = [self._comparison()]
        while self._take("name", "and"):
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else lambda scope: all(truth_of(part(scope)) for part in parts)

    def _comparison(self) -> Node:
        left = self._sum()
        kind, sign, _ = self._tokens[self._next]
        if kind != "sign" or sign not in _COMPARISONS:
            return left
        self._next += 1
        right = self._sum()
        return lambda scope: _compare(sign, left(scope), right(scope))

    def _sum(self) -> Node:
        node = self._product()
        while sign := self._take_any("+", "-"):
            node = _arithmetic(sign, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._unary()
        while sign := self._take_any("*", "/", "^"):
            node = _arithmetic(sign, node, self._unary())
        return node

    def _unary(self) -> Node:
        if self._take("sign", "-"):
            operand = self._unary()
            return _arithmetic("-", lambda _: 0.0, operand)
        if self._take("name", "not"):
            negated = self._unary()
            return lambda scope: not truth_of(negated(scope))
        kind, text, _ = self._tokens[self._next]
        self._next += 1
        match kind, text:
            case "number", _:
                node = _literal(float(text))
            case "text", _:
                node = _moment(text[1:-1])
            case "variable", _:
                node = self._variable(text)
            case "name", _:
                node = self._function(text.lower())
            case "sign", "(":
                node = self.disjunction()
                self._expect(")")
            case _:
                self._next -= 1
                node = self._fail()
        return node

    def _variable(self, text: str) -> Node:
        parts = text[1:-1].split("][")
        instance = parts.pop() if len(parts) > 1 and parts[-1].isdigit() else ""
        event = parts.pop(0) if len(parts) > 1 else ""
        event = "" if event == "event-name" else event  # the event of the row, in reports and branching logic
        found = _FIELD.match(parts[0])
        if len(parts) != 1 or found is None:
            raise LogicError(f"'{text}' is not a field")
        name, code = found[1], found[2] or ""
        self.fields.append(name)
        return lambda scope: scope.resolve(event, name, code, instance)

    def _function(self, name: str) -> Node:
        if name not in FUNCTIONS and name not in OF_MISSING_CODES:
            raise LogicError(f"'{name}' is not a function")
        self._expect("(")
        arguments: list[Node] = []
        if not self._take("sign", ")"):
            arguments.append(self.disjunction())
            while self._take("sign", ","):
                arguments.append(self.disjunction())
            self._expect(")")
        if name in OF_MISSING_CODES:
            if not arguments:
                raise LogicError(f"{name} has the wrong number of arguments")
            test = OF_MISSING_CODES[name]
            return lambda scope: test([text_of(one(scope)) for one in arguments], scope.missing_codes)
        function, fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            raise LogicError(f"{name} has the wrong number of arguments")
        return lambda scope: function(*(argument(scope) for argument in arguments))

    def _take(self, kind: str, text: str) -> bool:
        found_kind, found, _ = self._tokens[self._next]
        if found_kind == kind and found.lower() == text:
            self._next += 1
            return True
        return False

    def _take_any(self, *signs: str) -> str:
        return next((sign for sign in signs if self._take("sign", sign)), "")

    def _expect(self, sign: str) -> None:
        if not self._take("sign", sign):
            self._fail()

    def _fail(self) -> Node:
        kind, text, position = self._tokens[self._next]
        raise LogicError(
            "it ends too early" if kind == "end" else f"'{text}' at character {position + 1} is not expected"
        )


def _moment(text: str) -> Node:
    """`today` and `now` are moments, every other text is itself."""
    if text in {"today", "now"}:
        return lambda scope: scope.now[: 10 if text == "today" else 16]
    return _literal(text)


def _literal(value: Value) -> Node:
    return lambda _: value


def _compare(sign: str, left: Value, right: Value) -> bool:
    one, other = number_of(left), number_of(right)
    if one is not None and other is not None:
        return _ordered(sign, (one > other) - (one < other))
    first, second = text_of(left), text_of(right)
    return _ordered(sign, (first > second) - (first < second))


def _ordered(sign: str, order: int) -> bool:
    outcomes = {"=": order == 0, "!=": order != 0, "<>": order != 0, "<": order < 0, ">": order > 0}
    outcomes |= {"<=": order <= 0, ">=": order >= 0}
    return outcomes[sign]


def _arithmetic(sign: str, left: Node, right: Node) -> Node:
    """A blank or a text on either side makes the result blank, as in REDCap's calculations."""

    def result(scope: _Scope) -> Value:
        one, other = number_of(left(scope)), number_of(right(scope))
        if one is None or other is None or (sign == "/" and other == 0):
            return ""
        try:
            outcome = {"+": one + other, "-": one - other, "*": one * other}.get(sign)
            if outcome is None:
                outcome = one / other if sign == "/" else one**other
        except (OverflowError, ZeroDivisionError):
            return ""
        return "" if isinstance(outcome, complex) else outcome

    return result
