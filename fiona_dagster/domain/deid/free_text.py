"""Clean Descriptors, Clean Structured Content and Clean Graphics (PS3.15 E.3.5, E.3.4, E.3.3): free text of a study.

A word stays if it is on the vocabulary, a token with digits if it has one of the forms of `harmless_tokens`; all
other words, whatever identifies by its form (`identifier_patterns`) and the names of the study go. A word that is
also a name, a single letter and a bare number go with a removed neighbour: `Head, Peter` and `Solbakken 5` leave
nothing; so do two words beside each other that are both names, too (`Iris Head`). Where something went, `...` stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Final, NamedTuple

from fiona_dagster.domain.deid.harmless_tokens import NUMBER, harmless, is_bare, is_small, is_year
from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.notation import WORD, compact, fold, spellings, visible
from fiona_dagster.domain.deid.vocabulary import packaged

MARK: Final = "..."
SHORTEST_PART: Final = 6
"""Letters of a name that is looked for inside of other words, too, as the residual search does."""
SHORTEST_IDENTIFIER: Final = 3
REMEMBERED: Final = 50_000
"""Values whose result is kept: a study says the same in each of its instances."""
LONGEST: Final = 32_768
"""Characters of a value that are read; nothing stays of a longer one."""
MOST_ROUNDS: Final = 20
"""Times that a value is cleaned before nothing stays of it, because it does not settle."""
_LETTERS: Final = frozenset("lraphfsixyzctwd")
"""Single letters that stay: directions, axes, parts of the spine (C, T, L, S) and with (w)."""
_NUMBERED: Final = re.compile(
    "sub|patient(?:en)?|pasient(?:en)?|paciente|pas|pt|subject|participant|person|individ|id|identity|case|accession|acc|mrn"
    "|room|rom|ward|bed|seng|sengepost|user|operator"
)
"""Words whose number names one person or place."""
_SETTING: Final = re.compile(
    "t[erid]|b|bvals?|bvalue|bw|fov|hu|[wl]|c|w[wlc]|window|level|matrix|range|to|freq|mb|time|delay|dose"
)
"""Words whose number is a setting, also where it could be a year."""
_UNIT: Final = re.compile("[mc]m|m?s|ms?ec|us|min|k?hz|hu|m[lg]|mas|kvp?|mbq|mgy|bits|px|pixels|points")
_TOKEN: Final = re.compile(r"\x00+|[^\W_](?:[^\W_]|[\u0300-\u036f])*")
_PIECE: Final = re.compile(r"[A-Z]?[a-zæøåäöüéèß]+|[A-ZÆØÅÄÖÜÉ]+(?![a-zæøåäöüéèß])|[0-9]+")
_SEPARATORS: Final = frozenset("!\"#$%&'()*+,-./:;<=>?[\\]^_`{|}~@ \t\r\n\f°±–—·•…≤≥«»")
_CLOSE: Final = frozenset(" ,.^_'-/&")
"""Marks that bind two words to one expression."""
_PAIRING: Final = frozenset(" ,^-")
_PARTICLE: Final = re.compile("de|del|la|le|di|da|du|den|der|per|van|von")
_INITIALS: Final = re.compile(r"(?<![^\W_])[^\W\d_]\.(?:\s?-?[^\W\d_]\.)+")


class KnownNames(NamedTuple):
    """Names of the people of a study, folded, as `OriginalValues` has them.

    `identifiers` are whatever else of the study must not stay: numbers, stations, institutions, in any grouping.
    """

    words: frozenset[str] = frozenset()
    full_names: frozenset[tuple[str, ...]] = frozenset()
    identifiers: frozenset[str] = frozenset()


class _Fate(Enum):
    STAYS = "stays"
    ALONE = "stays where no removed word is beside it"
    NUMBER = "bare number"
    GOES = "goes"


_YIELDING: Final = frozenset({_Fate.ALONE, _Fate.NUMBER})
"""Fates of what goes with a removed neighbour."""


@dataclass(slots=True)
class _Token:
    start: int
    end: int
    text: str
    fate: _Fate
    folded: frozenset[str] = field(default_factory=frozenset)


class FreeText:
    """Cleans single values of text attributes for one study.

    `known` are its names; `extra` are words that a site keeps besides the vocabulary (letters only).

    Raises:
        ConfigurationError: If an extra word is not letters alone.
    """

    def __init__(self, known: KnownNames | None = None, extra: frozenset[str] = frozenset()) -> None:
        known = known or KnownNames()
        vocabulary = packaged().with_extra(extra)
        self._vocabulary = vocabulary
        self._names = known.words
        self._parts = tuple(sorted(name for name in known.words if len(name) >= SHORTEST_PART))
        self._joined = frozenset("".join(name) for name in known.full_names) | frozenset(
            joined for text in known.identifiers if len(joined := compact(fold(text))) >= SHORTEST_IDENTIFIER
        )
        self._begins = frozenset(joined[:end] for joined in self._joined for end in range(1, len(joined) + 1))
        self._memory: dict[str, str] = {}

    def clean(self, text: str) -> str:
        """`text` with what is not known to be harmless removed; '' where nothing of it is left.

        Never longer than `text`; cleaning a result again changes nothing.
        """
        found = self._memory.get(text)
        if found is None:
            found = self._settled(text) if len(text) <= LONGEST else ""
            if len(self._memory) >= REMEMBERED:
                self._memory.clear()
            self._memory[text] = found
        return found

    def _settled(self, text: str) -> str:
        """Cleaned until nothing changes: what a removal brings together may identify anew."""
        for _ in range(MOST_ROUNDS):
            before, text = text, self._once(text)
            if text == before:
                return text
        return ""

    def _once(self, text: str) -> str:
        plain = visible(text)
        blanked = list(plain)
        spans = [(span.start, span.end) for span in identifiers_in(plain)]
        spans += [match.span() for match in _INITIALS.finditer(plain)]
        for start, end in spans:
            blanked[start:end] = "\0" * (end - start)
        tokens = self._tokens("".join(blanked))
        self._remove_names(tokens)
        _remove_numbers(tokens)
        _remove_pairs(tokens, plain)
        _remove_neighbours(tokens, plain)
        return _assembled(tokens, plain)

    def _tokens(self, text: str) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while position < len(text):
            token = self._token(text, position)
            if token is None:
                position += 1
            else:
                tokens.append(token)
                position = token.end
        return tokens

    def _token(self, text: str, start: int) -> _Token | None:
        """The token that begins at `start`; None for a separator."""
        begins_word = start == 0 or not (text[start - 1].isalnum())
        if begins_word and (match := harmless().match(text, start)):
            fate = _Fate.NUMBER if is_bare(match[0]) else _Fate.STAYS
            return _Token(start, match.end(), match[0], fate, frozenset(spellings(match[0])))
        if begins_word and (match := NUMBER.match(text, start)):
            fate = _Fate.NUMBER if is_small(match[0]) else _Fate.GOES
            return _Token(start, match.end(), match[0], fate, frozenset({match[0]}))
        if match := _TOKEN.match(text, start):
            folded = frozenset(spellings(match[0]))
            return _Token(start, match.end(), match[0], self._fate(match[0], folded), folded)
        if text[start] in _SEPARATORS:
            return None
        return _Token(start, start + 1, text[start], _Fate.GOES)

    def _fate(self, word: str, folded: frozenset[str]) -> _Fate:
        if len(word) == 1:
            return _Fate.ALONE if word.lower() in _LETTERS else _Fate.GOES
        if self._vocabulary.knows(word, folded):
            return _Fate.STAYS if folded.isdisjoint(self._vocabulary.also_names) else _Fate.ALONE
        return _Fate.STAYS if self._is_compound(word) else _Fate.GOES

    def _is_compound(self, word: str) -> bool:
        """Whether words of the vocabulary, told apart by capitals, and a short number make up the whole."""
        pieces = _PIECE.findall(word)
        if len(pieces) < 2 or "".join(pieces) != word:
            return False
        words = [piece for piece in pieces if not piece.isdigit()]
        letters = list(map(fold, words))
        numbers = [piece for piece in pieces if piece.isdigit()]
        return (
            bool(letters)
            and all(len(word) > 1 and self._vocabulary.knows(word, frozenset({fold(word)})) for word in words)
            and self._vocabulary.also_names.isdisjoint(letters)
            and sum(map(len, numbers)) <= 4
            and not (numbers and _any(_NUMBERED, letters))
        )

    def _remove_names(self, tokens: list[_Token]) -> None:
        if not self._names and not self._joined:
            return
        for index, token in enumerate(tokens):
            if self._names_somebody(token):
                token.fate = _Fate.GOES
            for part in tokens[index : self._end_of_name(tokens, index)]:
                part.fate = _Fate.GOES

    def _end_of_name(self, tokens: list[_Token], index: int) -> int:
        """Where the longest joined name or identifier ends that begins with a token; `index` where none does."""
        joined, name_end = {""}, index
        for end in range(index, len(tokens)):
            pieces = set(map(compact, tokens[end].folded))
            joined = {more for begin in joined for piece in pieces if (more := begin + piece) in self._begins}
            if not joined:
                break
            if not joined.isdisjoint(self._joined):
                name_end = end + 1
        return name_end

    def _names_somebody(self, token: _Token) -> bool:
        if any(part in folded for part in self._parts for folded in token.folded):
            return True
        words = {word for folded in token.folded for word in WORD.findall(folded)}
        words |= {fold(piece) for piece in _PIECE.findall(token.text)}
        return not words.isdisjoint(self._names)


def _any(pattern: re.Pattern[str], words: Iterable[str]) -> bool:
    return any(pattern.fullmatch(word) for word in words)


def _remove_numbers(tokens: list[_Token]) -> None:
    """Numbers of patients and rooms, and years."""
    for index, token in enumerate(tokens):
        if token.fate is not _Fate.NUMBER:
            continue
        before = tokens[index - 1].folded if index else frozenset[str]()
        after = tokens[index + 1].folded if index + 1 < len(tokens) else frozenset[str]()
        is_setting = _any(_SETTING, before) or _any(_UNIT, after)
        if _any(_NUMBERED, before) or (is_year(token.text) and not is_setting):
            token.fate = _Fate.GOES


def _remove_pairs(tokens: list[_Token], text: str) -> None:
    """Two words side by side that are both names, too: Iris Head, Hand, Mann."""
    pairs = [
        (one, other)
        for one, other in pairwise(tokens)
        if one.fate is other.fate is _Fate.ALONE
        and min(len(one.text), len(other.text)) > 1
        and _PAIRING.issuperset(text[one.end : other.start])
        and not (_any(_PARTICLE, one.folded) or _any(_PARTICLE, other.folded))
    ]
    for pair in pairs:
        for token in pair:
            token.fate = _Fate.GOES


def _remove_neighbours(tokens: list[_Token], text: str) -> None:
    """What stands beside a removed word and may belong to it: from left to right, then back."""
    gaps = [text[one.end : other.start] for one, other in pairwise(tokens)]
    close = [len(gap) <= 3 and _CLOSE.issuperset(gap) for gap in gaps]
    for index, bound in enumerate(close, 1):
        if bound and tokens[index - 1].fate is _Fate.GOES and tokens[index].fate in _YIELDING:
            tokens[index].fate = _Fate.GOES
    for index in range(len(close) - 1, -1, -1):
        one, gone = tokens[index], tokens[index + 1].fate is _Fate.GOES
        if (
            gone
            and close[index]
            and one.fate in _YIELDING
            and (one.fate is _Fate.ALONE or len(one.text) >= 3)
        ):
            one.fate = _Fate.GOES


def _assembled(tokens: list[_Token], text: str) -> str:
    """What stays, with a mark for each stretch that went; separators stay where they stood."""
    if all(token.fate is _Fate.GOES for token in tokens):
        return ""
    parts: list[str] = []
    position = 0
    index = 0
    while index < len(tokens):
        token = tokens[index]
        parts.append(text[position : token.start])
        last = index
        if token.fate is _Fate.GOES:
            while last + 1 < len(tokens) and tokens[last + 1].fate is _Fate.GOES:
                last += 1
            parts.append(MARK[: tokens[last].end - token.start])
        else:
            parts.append(token.text)
        position = tokens[last].end
        index = last + 1
    parts.append(text[position:])
    return "".join(parts).strip()
