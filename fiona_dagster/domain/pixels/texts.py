"""Which text that was read in pixels may stay, and which resembles an identifier although it was read wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.notation import WORD, compact, fold
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.residuals import ResidualSearch, vocabulary
from fiona_dagster.domain.pixels.boxes import Box
from fiona_dagster.domain.pixels.policy import PixelPolicy

SURE = 0.9
"""Confidence from which a text is believed to be harmless; what was read less surely is masked."""
_MIDDLE = 0.25
"""Of its thickness, on each side: without it, what is left of a box is where its line was found. A line's box is at
least twice as thick as that."""
_ALL_OF_IT = 0.95
_THICKER = 2.0
"""Times the thickness of a box from which another one is not the same line found at another scale."""
_LARGEST = 64
"""Pixels of thickness from which a text does not stay: between its strokes small text may stand that no look finds."""
_SHORTEST_ALONE = 3
"""Of an identifier that is known where it stands by itself."""
_SHORTEST_INSIDE = 4
"""Of a name; one more of a number."""
_SHORTEST_RESEMBLING, _SHORTEST_RESEMBLING_INSIDE = 5, 7
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
        self._terms = sorted(
            {_alike(one) for one in terms - own if len(one) >= _SHORTEST_INSIDE + one.isdigit()}
        )
        self._own = own
        self._alone = {compact(fold(one)) for one in values.identifiers if len(one) >= _SHORTEST_ALONE}

    def identifies(self, text: str) -> bool:
        """Whether an identifier of the study stands in a text, also where some signs of it were read wrongly."""
        if self._search.in_text(text):
            return True
        pieces = (
            {compact(one) for one in fold(text).split()}
            | set(WORD.findall(fold(text)))
            | {compact(fold(text))}
        )
        if not self._alone.isdisjoint(pieces):
            return True
        return any(_resembles(_alike(one), self._terms) for one in pieces - self._own if one)

    def stays(self, box: Box) -> bool:
        """Whether the project lets a text stay where it is: it is read for sure, and harmless by its choice."""
        if not box.text.strip() or box.confidence < SURE or self.identifies(box.text):
            return False
        if min(box.width, box.height) >= _LARGEST:
            return False
        if self._policy.mask == "identifiers":
            return not any(True for _ in identifiers_in(box.text))
        return is_harmless(box.text, self._policy.allowed)

    def to_mask(self, boxes: Sequence[Box]) -> list[Box]:
        """Those of an object's boxes that do not stay.

        A line is found by several looks, each with a box of its own. One that was not read, or read in part, stays with
        what was read for sure at its place; what was read otherwise there does not.
        """
        staying = [box for box in boxes if self.stays(box)]
        kept = set(staying)
        places = np.array([_place(box) for box in staying]).reshape(-1, 7)
        found = []
        for box in boxes:
            if box in kept:
                continue
            first, last, left, top, right, bottom, thickness = _place(box)
            near = (
                (places[:, 0] <= first) & (last <= places[:, 1])
                & (places[:, 2] < right) & (left < places[:, 4])
                & (places[:, 3] < bottom) & (top < places[:, 5])
                & (places[:, 6] <= _THICKER * thickness)
            )  # fmt: skip
            if not self._is_another_look(box, [staying[number] for number in np.flatnonzero(near)]):
                found.append(box)
        return found

    def _is_another_look(self, box: Box, staying: Sequence[Box]) -> bool:
        """Whether boxes that stay cover the middle of one and say what it says."""
        inset = int(_MIDDLE * min(box.width, box.height))
        left, top = box.left + inset, box.top + inset
        covered = np.zeros((box.height - 2 * inset, box.width - 2 * inset), dtype=bool)
        for one in staying:
            rows = slice(max(0, one.top - top), max(0, one.bottom - top))
            covered[rows, max(0, one.left - left) : max(0, one.right - left)] = True
        if covered.mean() < _ALL_OF_IT or self.identifies(box.text):
            return False
        said = _signs(box.text)
        others = [_signs(one.text) for one in staying]
        return any(said in one or _within(said, one, len(one) // 4) for one in others)


def _place(box: Box) -> tuple[int, ...]:
    thickness = min(box.width, box.height)
    return (box.first_frame, box.last_frame, box.left, box.top, box.right, box.bottom, thickness)


def _signs(text: str) -> str:
    return _alike(compact(fold(text)))


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
    """Whether a text is one of the terms, one sign in five to eight or two in more being wrong, or one stands inside of
    it, as words that were read without what is between them: the short ones with every sign right."""
    for term in terms:
        if term in text:
            return True
        wrong = 2 if len(term) >= _SHORTEST_WITH_TWO else 1
        if len(term) >= _SHORTEST_RESEMBLING and _within(text, term, wrong):
            return True
        if len(term) >= _SHORTEST_RESEMBLING_INSIDE and _stands_in(text, term, wrong):
            return True
    return False


def _stands_in(text: str, term: str, most: int) -> bool:
    """Whether some part of a text has an edit distance of `most` or less to a term."""
    row = list(range(len(term) + 1))
    for sign in text:
        before, row[0] = row[0], 0
        for place, its in enumerate(term, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (sign != its))
        if row[-1] <= most:
            return True
    return False


def _within(one: str, other: str, most: int) -> bool:
    """Whether the edit distance of two texts is `most` or less."""
    if abs(len(one) - len(other)) > most:
        return False
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
