"""The words that free text may keep: `tables/vocabulary.csv`, and what a site adds."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from fiona_dagster.domain.deid.notation import spellings
from fiona_dagster.domain.deid.table import table_bytes
from fiona_dagster.domain.errors import ConfigurationError

TABLE = "vocabulary.csv"
SHORTEST_EXTRA = 2
LONGEST_EXTRA = 40
SHORTEST_UNACCENTED = 4


class Vocabulary(NamedTuple):
    """Folded words. `also_names` are those that are names of people or places, too: Head, Dixon, Iris.

    `accented` are the words that have more than the letters A to Z, in small letters as they are written.
    """

    words: frozenset[str]
    also_names: frozenset[str]
    accented: frozenset[str] = frozenset()

    def knows(self, word: str, folded: frozenset[str]) -> bool:
        """Whether `word` (and its spellings `folded`) is on the vocabulary.

        Case and accents do not count, but for short words: Ås is a place, `as` is a word.
        """
        if len(word) < SHORTEST_UNACCENTED and not word.isascii():
            return unicodedata.normalize("NFC", word).lower() in self.accented
        return not folded.isdisjoint(self.words)

    def with_extra(self, extra: frozenset[str]) -> Vocabulary:
        """The vocabulary and the words that a site adds.

        Raises:
            ConfigurationError: If an added word is not letters alone.
        """
        if not extra:
            return self
        checked = [_checked(word) for word in sorted(extra)]
        return Vocabulary(self.words | _folded(checked), self.also_names, self.accented | _accented(checked))


@cache
def packaged() -> Vocabulary:
    """The packaged vocabulary, read once."""
    lines = table_bytes(TABLE).decode("utf-8").splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("#")][1:]
    words = [word for word, _, _ in rows]
    return Vocabulary(_folded(words), _folded(word for word, _, also in rows if also), _accented(words))


def _folded(words: Iterable[str]) -> frozenset[str]:
    plain: list[str] = []
    others: list[str] = []
    for word in words:
        (plain if word.isascii() else others).append(word)
    return frozenset(map(str.lower, plain)).union(*map(spellings, others))


def _accented(words: Iterable[str]) -> frozenset[str]:
    return frozenset(unicodedata.normalize("NFC", word).lower() for word in words if not word.isascii())


def _checked(word: str) -> str:
    if word.isalpha() and SHORTEST_EXTRA <= len(word) <= LONGEST_EXTRA:
        return word
    raise ConfigurationError(
        f"the list of words to keep in free text has an entry of {len(word)} characters that is no single word"
        f" of {SHORTEST_EXTRA} to {LONGEST_EXTRA} letters; write one word an entry, without digits, blanks or hyphens"
    )
