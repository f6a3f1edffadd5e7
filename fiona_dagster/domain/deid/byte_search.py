"""Original values inside of bytes that are no text: colour profiles, look-up tables, samples, vendors' headers.

Of tables of numbers some text turns up by chance, so that only what is long enough, or has a form that chance does not
make, counts. Bytes are folded as a whole, and numbers taken out of them, by what Python does at once: tables are long.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Set
from functools import cache
from typing import NamedTuple

from fiona_dagster.domain.deid.identifier_patterns import is_identity_number
from fiona_dagster.domain.deid.notation import compact, dates_in, fold, significant
from fiona_dagster.domain.deid.private import text_in_bytes

SHORTEST_IN_BYTES = 5
"""A term of four letters is found by chance in one of 700 tables of 400 kB; of five in one of 90,000."""
SHORTEST_DIGITS = 8
"""Of a number that is looked for inside of bytes."""
_UID = re.compile(r"(?<!\d)\d{1,39}(?:\.\d{1,39}){3,31}")
_DATE = re.compile(
    r"(?<![\d.])(?:\d{8}(?:\d{4}|\d{6})?|\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4})(?!\d)"
)
"""Dates whose year has four digits and whose marks are the same: three numbers beside each other are none."""
_ELEVEN_DIGITS = re.compile(r"(?<![\d.,])\d{6}[ -]?\d{5}(?![.,]?\d)")
"""An identity number; as many digits behind a decimal point are a measurement."""
_NUMBER = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){7,15}(?![.,]?\d)")
_MAIL = re.compile(
    rb"@(?<=[a-z0-9._%+-]{3}@)[a-z0-9-]{3,63}(?:\.[a-z0-9-]{1,63}){0,4}\.[a-z]{2,24}(?![a-z0-9])"
)
_BLANK = b"_"
_OF_NUMBERS = bytes(c if c in b"0123456789.,-/" else 0x5F if c == 0x20 else 0x20 for c in range(256))
"""Keeps what numbers are written with; a blank that may stand inside of one becomes `_BLANK`, all else a blank."""
_KINDS = bytes(0x30 if not c else 0x61 if 0x20 <= c < 0x7F or c >= 0xA0 else 0x78 for c in range(256))
_WIDE = b"a0a0a0a0a"
"""Five letters of UTF-16 in either byte order, as `_KINDS` has them."""
_GZIP = b"\x1f\x8b\x08"
_IN_UTF_8 = re.compile(rb"[\xc3-\xc5\xcc\xcd][\x80-\xbf]")
"""Accented letters of Latin script, and accents by themselves."""


class ByteSearch:
    """Looks for the values of a study, identity numbers and e-mail addresses in bytes."""

    def __init__(
        self, terms: Iterable[str], *, uids: Set[str], dates: Set[dt.date], numbers: Set[str]
    ) -> None:
        """All terms are folded; `numbers` are digits alone, and shorter ones than `SHORTEST_DIGITS` do not count."""
        known = set(terms)
        self._plain = _encoded({term for term in known if term.isascii()}, "utf-8", "utf-16-le")
        others = {term for term in known if not term.isascii()}
        others |= {term.upper() for term in others} | {term.title() for term in others}
        self._others = _encoded(others, "utf-8", "utf-16-le", "utf-16-be")
        self._uids, self._dates = uids, dates
        self._numbers = frozenset(number for number in numbers if len(number) >= SHORTEST_DIGITS)

    def finds(self, value: bytes) -> bool:
        """Whether something that identifies stands in `value`."""
        small = value.lower()
        if any(term in value for term in self._others) or self._in_bytes(small, _folded(small)):
            return True
        if _GZIP not in value and _WIDE not in value.translate(_KINDS):
            return False
        text = fold("\n".join(text_in_bytes(value))).encode()
        return any(term in text for term in self._others) or self._in_bytes(text, text)

    def _in_bytes(self, small: bytes, folded: bytes) -> bool:
        return (
            any(term in folded for term in self._plain)
            or _MAIL.search(small) is not None
            or any(map(self._is_known, _numbers_in(small)))
        )

    def _is_known(self, number: str) -> bool:
        """Whether a number, or several with marks between them, is one that identifies."""
        if number.count(".") > 2 and not self._uids.isdisjoint(_UID.findall(number)):
            return True
        if any(is_identity_number(match[0]) for match in _ELEVEN_DIGITS.finditer(number)):
            return True
        if any(self._dates & dates_in(match[0]) for match in _DATE.finditer(number)):
            return True
        found = (compact(match[0]) for match in _NUMBER.finditer(number))
        return any(
            significant(digits) in self._numbers or digits[-SHORTEST_DIGITS:] in self._numbers
            for digits in found
        )


def _numbers_in(text: bytes) -> Iterator[str]:
    """What of `text` consists of digits and the marks between them, each once, if it is long enough to identify."""
    for token in set(text.translate(_OF_NUMBERS).split()):
        if len(token) >= SHORTEST_DIGITS and not _is_decimal(token):
            yield token.replace(_BLANK, b" ").decode()


def _is_decimal(token: bytes) -> bool:
    """Whether a token is one decimal number, of which vendors' headers have thousands."""
    whole, _, fraction = token.partition(b".")
    return len(whole) < SHORTEST_DIGITS and fraction.isdigit()


def _encoded(terms: Set[str], *codes: str) -> frozenset[bytes]:
    """Terms as they stand in bytes; two ideographs are longer there than they look."""
    made = {
        term.encode(code)
        for term in terms
        for code in codes
        if len(term) >= SHORTEST_IN_BYTES or not term.isascii()
    }
    return frozenset(one for one in made if len(one) >= SHORTEST_IN_BYTES)


def _folded(small: bytes) -> bytes:
    """Text of ASCII, Latin-1 and UTF-8 without accents, wherever it stands in `small`, which has no capitals."""
    if small.isascii():
        return small
    letters = _letters()
    text = _IN_UTF_8.sub(lambda match: letters.pairs.get(match[0], match[0]), small)
    for one, plain in letters.longer:
        text = text.replace(one, plain)
    return text.translate(letters.singles)


class _Letters(NamedTuple):
    """What accented letters are without accents: `pairs` of UTF-8, of Latin-1 `singles` and those that become two."""

    pairs: dict[bytes, bytes]
    longer: list[tuple[bytes, bytes]]
    singles: bytes


@cache
def _letters() -> _Letters:
    pairs = {
        chr(code).encode(): fold(chr(code)).encode() for code in (*range(0xC0, 0x180), *range(0x300, 0x370))
    }
    latin = {code: fold(chr(code)).encode() for code in range(0xC0, 0x100)}
    return _Letters(
        {pair: plain for pair, plain in pairs.items() if plain.isascii()},
        [(bytes([code]), plain) for code, plain in latin.items() if len(plain) > 1 and plain.isascii()],
        bytes(
            latin[code][0] if code in latin and len(latin[code]) == 1 and latin[code].isascii() else code
            for code in range(256)
        ),
    )
