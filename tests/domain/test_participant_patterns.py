from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.participant_patterns import NotCountable, free_name, name_space

RULES = [
    (r"BA-\d{3}", 1000),
    (r"^HEART[0-9]{2}$", 100),
    (r"(?:A|B)\d{1,2}", 220),
    (r"[A-C][^A-Z0-9a-y]", 3),
    (r"(?P<site>HUS|OUS)_\w", 124),
    (r"X?Y", 2),
    (r"[a-c]{2}|Q", 10),
]


@pytest.mark.parametrize(("rule", "size"), RULES)
def test_a_rule_has_as_many_names_as_it_allows_and_each_matches_it(rule: str, size: int) -> None:
    space = name_space(rule)
    assert space.size == size
    names = {space.name(number) for number in range(size)}
    assert len(names) == size
    assert all(re.fullmatch(rule, name) for name in names)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (r"P\d+", "without a limit"),
        (r"P\d*", "without a limit"),
        (r"P\d{2,}", "without a limit"),
        (r"P..", "a dot"),
        (r".+", "without a limit"),
        (r"(\d)\1", "a reference"),
        (r"P\s", "class of characters"),
        (r"\d{65}", "at most 64"),
        (r"", "allows no name"),
    ],
)
def test_a_rule_that_no_name_can_be_made_from_says_why(rule: str, why: str) -> None:
    with pytest.raises(NotCountable, match=why):
        name_space(rule)


@given(st.sets(st.integers(0, 99), max_size=99), st.integers())
def test_a_free_name_is_found_whenever_there_is_one(taken: set[int], seed: int) -> None:
    used = {f"p{number:02d}" for number in taken}  # REDCap's records do not tell upper from lower case
    draw = random.Random(seed).randrange
    name = free_name(name_space(r"P\d{2}"), used, lambda _: True, draw)
    assert name.casefold() not in used


def test_the_last_name_is_found_and_then_it_is_said_that_the_rule_is_full() -> None:
    space, draw = name_space(r"P\d{3}"), random.Random(1).randrange
    used = {f"P{number:03d}" for number in range(1000)}
    assert free_name(space, used - {"P417"}, lambda _: True, draw) == "P417"
    with pytest.raises(Permanent, match="room for 1000 names"):
        free_name(space, used, lambda _: True, draw)


def test_what_a_condition_forbids_is_passed_over() -> None:
    rule = r"(?!P0)P\d"
    name = free_name(
        name_space(rule),
        {f"P{n}" for n in range(2, 10)},
        lambda one: bool(re.fullmatch(rule, one)),
        lambda _: 0,
    )
    assert name == "P1"
