"""Names of persons (PS3.5 6.2.1.2) as they may be written in running text: word by word, and as a whole."""

from __future__ import annotations

from fiona_dagster.domain.deid.notation import WORD, spellings

SHORTEST_NAME = 3
SHORTEST_FULL_NAME = 4
"""Letters of a whole name that is looked for although each of its words is too short."""


def name_words(text: str) -> set[str]:
    """Words of a name, folded, that tell by themselves."""
    return {word for spelling in spellings(text) for word in WORD.findall(spelling) if _is_name(word)}


def full_names(text: str) -> set[tuple[str, ...]]:
    """Whole names in both orders, as folded words: family and given name, with and without the middle name."""
    found: set[tuple[str, ...]] = set()
    for spelling in spellings(text):
        for group in spelling.split("="):
            family, given, middle = ([*map(WORD.findall, group.split("^")), [], [], []])[:3]
            if not given and not middle:  # names without ^ may begin or end with the family name
                orders = [family, [*family[1:], *family[:1]], [*family[-1:], *family[:-1]]]
            else:
                orders = [
                    [*family, *given],
                    [*given, *family],
                    [*family, *given, *middle],
                    [*given, *middle, *family],
                ]
            found |= {tuple(order) for order in orders if len(order) > 1 and _is_full(order)}
    return found


def _is_name(word: str) -> bool:
    return len(word) >= SHORTEST_NAME or (len(word) == 2 and not word.isascii())


def _is_full(words: list[str]) -> bool:
    joined = "".join(words)
    return len(joined) >= SHORTEST_FULL_NAME or not joined.isascii()
