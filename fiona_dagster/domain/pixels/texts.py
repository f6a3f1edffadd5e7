"""Which text that was read in pixels may stay, and which resembles an identifier although it was read wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.notation import WORD, compact, fold
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.residuals import ResidualSearch, vocabulary
from fiona_dagster.domain.pixels.boxes import Box
from fiona_dagster.domain.pixels.policy import PixelPolicy

SURE = 0.9
"""Confidence from which a text is believed to be harmless; what was read less surely is masked."""
_SHORTEST_RESEMBLING = 5
_SHORTEST_WITH_TWO = 9
_TOKEN = re.compile(r"(?:[^\s=:;,()\[\]|/]|,(?=\d)|/(?=\S))+")
_NUMBER = re.compile(r"[+-]?\d{1,4}(?:[.,]\d{1,3})?")
_NUMBER_WITH_UNIT = re.compile(r"([+-]?\d{1,4}(?:[.,]\d{1,3})?)([^\d.,+-].*)")
_ALIKE = str.maketrans(
    {**dict.fromkeys("oqd", "0"), **dict.fromkeys("il|!jt", "1"), "s": "5", "b": "8", "z": "2", "g": "9"}
)
"""Signs that readers take for each other."""


class TextJudge:
    """Judges texts that were read in the pixels of one study."""

    def __init__(self, values: OriginalValues, policy: PixelPolicy, *, dates: bool = True) -> None:
        """`values` are those of all originals; `dates` is false where the project keeps its dates."""
        self._policy = policy
        self._search = ResidualSearch(values, (), dates=dates)
        own = vocabulary() | _words() | policy.allowed
        terms = {compact(fold(one)) for one in values.names} | {
            compact(fold(one)) for one in values.identifiers
        }
        self._terms = sorted({_alike(one) for one in terms - own if len(one) >= _SHORTEST_RESEMBLING})
        self._own = own

    def identifies(self, text: str) -> bool:
        """Whether an identifier of the study stands in a text, also where some signs of it were read wrongly."""
        if self._search.in_text(text):
            return True
        pieces = (
            {compact(one) for one in fold(text).split()}
            | set(WORD.findall(fold(text)))
            | {compact(fold(text))}
        )
        return any(_resembles(_alike(one), self._terms) for one in pieces - self._own if one)

    def stays(self, box: Box) -> bool:
        """Whether the project lets a text stay where it is: it is read for sure, and harmless by its choice."""
        if not box.text.strip() or box.confidence < SURE or self.identifies(box.text):
            return False
        if self._policy.mask == "identifiers":
            return not any(True for _ in identifiers_in(box.text))
        return is_harmless(box.text, self._policy.allowed)


def is_harmless(text: str, allowed: Iterable[str] = ()) -> bool:
    """Whether a text consists of words that say nothing of a person, and of numbers beside their units."""
    words, units = _words() | set(allowed), _units()
    tokens = [one.casefold().strip(".") for one in _TOKEN.findall(text)]
    for number, token in enumerate(tokens):
        following = tokens[number + 1] if number + 1 < len(tokens) else ""
        joined = _NUMBER_WITH_UNIT.fullmatch(token)
        if token in words or token in units:
            continue
        if _NUMBER.fullmatch(token) and following in units:
            continue
        if joined is not None and joined[2] in units:
            continue
        return False
    return bool(tokens)


def _resembles(text: str, terms: list[str]) -> bool:
    """Whether one of the terms stands in a text of about its length, one sign in five to nine being wrong."""
    for term in terms:
        wrong = 2 if len(term) >= _SHORTEST_WITH_TWO else 1
        if abs(len(text) - len(term)) <= wrong and _within(text, term, wrong):
            return True
    return False


def _within(one: str, other: str, most: int) -> bool:
    """Whether the edit distance of two texts is `most` or less."""
    row = list(range(len(other) + 1))
    for number, sign in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, its in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (sign != its))
        if min(row) > most:
            return False
    return row[-1] <= most


def _alike(text: str) -> str:
    return text.translate(_ALIKE)


@cache
def _words() -> frozenset[str]:
    return _table("words")


@cache
def _units() -> frozenset[str]:
    return _table("units")


def _table(key: str) -> frozenset[str]:
    import yaml

    content = yaml.safe_load(Path(__file__).with_name("harmless.yaml").read_text(encoding="utf-8"))
    return frozenset(str(one).casefold() for one in content[key])
