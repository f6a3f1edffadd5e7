"""filterLogic, parsed and evaluated without a server."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.embedded.redcap.logic import LogicError, parse

VALUES = {"age": "36", "name": "Ada", "born": "1815-12-10", "empty": "", "half": "0.5", "one": "1"}
NOW = "2026-03-04 05:06:07"


def holds(text: str) -> bool:
    def resolve(_event: str, name: str, code: str, _instance: str) -> str:
        return f"box {code}" if code else VALUES[name]

    return parse(text).holds(resolve, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "1", "'a'", "[age] = 36", "[age] = '36.0'", "'36' = 36", "[age] <> 37", "[age] != 37", "[age]>=36 and 1<2",
        "0 or [one]", "0 OR (0 or 1)", "not 0", "not [empty]", "[name] < 'Bob'", "'10' > '9'", "'b10' < 'b9'",
        "2 + 3 * 4 = 14", "(2 + 3) * 4 = 20", "2 ^ 3 = 8", "-[one] = -1", "- 2 + 3 = 1", "7 / 2 = 3.5",
        "1 / 0 = ''", "'a' + 1 = ''", "[box(2)] = 'box 2'", "[visit_1_arm_1][age] = 36", "[age][2] = 36",
        "if([age] > 30, 'old', 'young') = 'old'", "round(2.5) = 3", "round(1.25, 1) = 1.3", "rounddown(2.9) = 2",
        "roundup(2.1) = 3", "abs(-2) = 2", "sqrt(9) = 3", "mod(7, 4) = 3", "min(3, '', 2) = 2", "max(1, 5) = 5",
        "mean(1, 2, 3) = 2", "median(1, 9, 2) = 2", "sum(1, '', 2) = 3", "isnumber([age])", "isinteger([half]) = 0",
        "contains([name], 'DA')", "not_contain([name], 'x')", "starts_with('Ada', 'a')", "ends_with('Ada', 'DA')",
        "find('d', 'Ada') = 2", "left('Ada', 2) = 'Ad'", "right('Ada', 2) = 'da'", "mid('Ada', 2, 1) = 'd'",
        "length([name]) = 3", "trim(' a ') = 'a'", "upper('a') = 'A'", "lower('A') = 'a'",
        "replace_text('aXa', 'X', 'b') = 'aba'", "concat('a', 1) = 'a1'", "concat_ws('-', 'a', 'b') = 'a-b'",
        "year([born]) = 1815", "month([born]) = 12", "day([born]) = 10", "'today' = '2026-03-04'",
        "\"now\" = '2026-03-04 05:06'", "datediff('2026-03-01', 'today', 'd') = 3",
        "datediff('today', '2026-03-01', 'd', 'true') = -3", "datediff([empty], 'today', 'd') = ''",
    ],
)  # fmt: skip
def test_it_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text", ["0", "''", "[empty]", "[empty] = 0", "0 and 1", "[name] = 'ada'", "[age] = 'x'", "sqrt(-1)"]
)
def test_it_does_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "1 +", "[age", "[age] = ", "= 1", "age", "f(1)", "round()", "round(1,2,3)", "'open", "1 2", "[A]",
        "[age] == 1", "__import__('os')", "(" * 200 + "1" + ")" * 200, "[a][b][c][d]",
    ],
)  # fmt: skip
def test_it_is_refused(text: str) -> None:
    with pytest.raises(LogicError):
        parse(text)


def test_the_fields_that_are_read_are_known() -> None:
    assert parse("[age] > 1 and [box(1)] = '1' or [visit][age][2]").fields == ("age", "box")


@given(st.text(alphabet="[]()'\"=<>!+-*/^, abc019\n_andornotif", max_size=60))
def test_any_text_is_a_condition_or_a_logic_error(text: str) -> None:
    with suppress(LogicError):
        assert parse(text).holds(lambda *_: "1", NOW) in {True, False}
