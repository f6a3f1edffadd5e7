"""How one thing is written in many ways: letters with and without accents, dates and numbers in any usual notation."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

WORD = re.compile(r"[^\W\d_]+")
LONGEST_EXPONENT = 20
_FOLDED = str.maketrans({"ø": "o", "æ": "ae", "đ": "d", "ł": "l", "ð": "d", "þ": "th", "œ": "oe", "ı": "i"})
_SPELT_OUT = str.maketrans({"ø": "oe", "ö": "oe", "å": "aa", "ä": "ae", "ü": "ue"})
_NUMERAL = re.compile(
    r"[+-]?(?P<whole>\d*)(?:\.(?P<fraction>\d*))?(?:[eE](?P<exponent>[+-]?\d{1,4}))?", re.ASCII
)
_DATES = (
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})(?P<s>[-./ ]?)(?P<m>\d{2})(?P=s)(?P<d>\d{2})(?!\d{1,5}(?!\d))"),
    re.compile(r"(?<!\d)(?P<d>\d{1,2})(?P<s>[-./ ])(?P<m>\d{1,2})(?P=s)(?P<y>(?:19|20)\d{2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<m>\d{1,2})(?P<s>[-./ ])(?P<d>\d{1,2})(?P=s)(?P<y>(?:19|20)\d{2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<d>\d{1,2})\.?[ -]?(?P<n>[a-z]{3})[a-z]*\.?,?[ -]?(?P<y>(?:19|20)\d{2})(?!\d)"),
    re.compile(r"(?P<n>[a-z]{3})[a-z]*\.? (?P<d>\d{1,2}),? (?P<y>(?:19|20)\d{2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<d>\d{2})(?P<m>\d{2})(?P<y>(?:19|20)\d{2})(?!\d)"),
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan",
            "feb",
            "mar mars",
            "apr",
            "may mai maj",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct okt",
            "nov",
            "dec des dez",
        ),
        1,
    )
    for name in (one[:3] for one in names.split())
}


def fold(text: str) -> str:
    """Small letters without accents, and without characters that nobody sees (zero width, direction)."""
    if text.isascii():
        return text.lower()
    seen = "".join(c for c in text if unicodedata.category(c) != "Cf")
    decomposed = unicodedata.normalize("NFKD", seen.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_FOLDED)


def spellings(text: str) -> set[str]:
    """`text` folded, and with Nordic and German letters written out."""
    if text.isascii():
        return {text.lower()}
    return {fold(text), fold(unicodedata.normalize("NFC", text.casefold()).translate(_SPELT_OUT))}


def compact(text: str) -> str:
    """Letters and digits only."""
    return "".join(c for c in text if c.isalnum())


def dates_in(text: str) -> set[dt.date]:
    """All calendar dates that can be read in `text` (folded), in any usual notation."""
    dates: set[dt.date] = set()
    if not any(c.isdigit() for c in text):
        return dates
    for pattern in _DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            month = _MONTHS.get(parts["n"], 0) if "n" in parts else int(parts["m"])
            try:
                dates.add(dt.date(int(parts["y"]), month, int(parts["d"])))
            except ValueError:
                continue
    return dates


def significant(digits: str) -> str:
    """Digits as they stand in a number: without leading zeros."""
    return digits.lstrip("0")


def whole_number(text: str) -> str:
    """Digits of a DS or IS that is a whole number, sign, fraction of zeros and exponent resolved; '' for all others."""
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return ""
    fraction = (match["fraction"] or "").rstrip("0")
    zeros = int(match["exponent"] or 0) - len(fraction)
    digits = match["whole"] + fraction
    if zeros > LONGEST_EXPONENT or (zeros < 0 and digits[zeros:].strip("0")):
        return ""
    return significant(digits[:zeros] if zeros < 0 else digits + "0" * zeros)


def mantissa(text: str) -> str:
    """Digits of a DS or IS, those of its exponent left out."""
    return "".join(c for c in text.upper().partition("E")[0] if c.isdigit())
