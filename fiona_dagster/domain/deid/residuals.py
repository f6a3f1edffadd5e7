"""Contextual residual search: no value that was taken out of a study may stand anywhere in its copies.

`ResidualSearch` looks in a copy for what `originals` gathered, folded to small letters without accents.
Short numbers and words of the standard's own vocabulary are left out where they would only raise false alarms; each
exception stands below with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from fiona_dagster.domain.deid.byte_search import ByteSearch
from fiona_dagster.domain.deid.dictionary import is_registered, standard_names
from fiona_dagster.domain.deid.identifier_forms import IDENTITY_DIGITS
from fiona_dagster.domain.deid.identifier_patterns import identifiers_in, is_identity_number
from fiona_dagster.domain.deid.notation import (
    WORD,
    compact,
    dates_in,
    fold,
    mantissa,
    significant,
    whole_number,
)
from fiona_dagster.domain.deid.originals import TELEPHONE_DIGITS, OriginalValues
from fiona_dagster.domain.deid.walk import Found
from fiona_dagster.domain.identifiers import is_valid_uid

SHORTEST_COMPACT = 8
SHORTEST_PART = 6
"""Letters of a name that is looked for inside of other words, too; Marie is in marietta, and Berg in many."""
SHORTEST_NUMBER = 7
"""Shorter numbers are counters, settings and sizes: they equal an identifier by chance."""
LONGEST_CHANCE = 10
"""Digits behind a decimal point are many: only numbers of ten digits and more are looked for across it."""
_UID = re.compile(r"(?<![\d.])\d{1,39}(?:\.\d{1,39}){3,31}(?![\d.])")
_ELEVEN_DIGITS = re.compile(r"(?<!\d)\d{6}[ .-]?\d{5}(?!\d)")
_TECHNICAL = frozenset(
    {
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "LongCodeValue",
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
    }
)
_MAKE = frozenset({"Manufacturer", "ManufacturerModelName"})
_MANUFACTURERS = frozenset(
    {"siemens", "philips", "general", "electric", "toshiba", "canon", "hitachi", "fujifilm", "agfa", "kodak"}
)

_NO_ATTRIBUTE = Found((0,), "UT", "UT", b"", ("utf8",))


@cache
def vocabulary() -> frozenset[str]:
    """Words that the standard itself uses, and manufacturers: a patient called Head is no leak in BodyPartExamined."""
    return frozenset(WORD.findall("\n".join(standard_names()).casefold())) | _MANUFACTURERS


class ResidualSearch:
    """Looks for original values in the elements of copies.

    `written` are the values that de-identification itself writes: an element that is exactly one of them is no leak.
    `dates` and `uids` switch off what the profile retains.
    """

    def __init__(
        self, values: OriginalValues, written: Iterable[str], *, dates: bool = True, uids: bool = True
    ) -> None:
        self._written = frozenset(written)
        self._dates = values.dates if dates else set()
        self._uids = values.uids if uids else set()
        equipment = (values.devices | values.phrases) - values.retained
        terms = values.names | values.identifiers | equipment
        self._equipment = equipment - values.names - values.identifiers
        self._terms = _pattern(terms)
        self._full_names = _full_name_pattern(values.full_names)
        self._parts = _part_pattern(values)
        self._numbers = {
            number
            for t in values.identifiers | (values.devices - values.retained) | values.telephones
            if (number := significant(compact(t))).isdigit() and _is_telling(number)
        }
        self._day_numbers = {f"{day:%Y%m%d}" for day in self._dates}
        self._compact = {c for t in terms - values.names if len(c := compact(t)) >= SHORTEST_COMPACT}
        self._compact |= {t for t in values.telephones if len(t) == TELEPHONE_DIGITS}
        whole = {mark.join(name) for name in values.full_names for mark in (" ", "^", "")}
        self._bytes = ByteSearch(
            terms | whole | {c for c in self._compact if not c.isdigit()},
            uids=self._uids,
            dates=self._dates,
            numbers=self._numbers | {t for t in values.telephones if len(t) == TELEPHONE_DIGITS},
        )
        self._clear: set[tuple[int, str, bytes, tuple[str, ...]]] = set()

    def leaks(self, found: Found) -> bool:
        """Whether an original value stands in the element of a copy."""
        key = (found.tag, found.vr, found.value, tuple(found.encodings))
        if not found.value or key in self._clear:
            return False
        leaking = self._leaks(found)
        if not leaking and len(self._clear) < 200_000:
            self._clear.add(key)
        return leaking

    def in_text(self, text: str) -> bool:
        """Whether an original value stands in a text that belongs to no attribute."""
        return self._in_text(text, _NO_ATTRIBUTE)

    def in_bytes(self, value: bytes) -> bool:
        """Whether an original value stands in bytes that belong to no attribute."""
        return self._bytes.finds(value)

    def _leaks(self, found: Found) -> bool:
        vr = found.vr
        if vr == "UI":
            return any(self._in_uid(text, found) for text in found.texts())
        if vr in {"DS", "IS"}:
            return self._in_numbers(found.texts())
        if vr in {"DA", "DT", "TM"}:
            return False  # compared value by value in `verification`: a moved date may equal another original one
        if vr in {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}:
            return any(self._in_text(text, found) for text in found.readings() if text not in self._written)
        if (
            vr in {"US", "SS", "UL", "SL", "FL", "FD", "AT", "SV", "UV"}
            and len(found.value) < SHORTEST_COMPACT
        ):
            return False
        return self._bytes.finds(found.value)

    def _in_uid(self, text: str, found: Found) -> bool:
        """A UID is searched component by component: a new one is a long number, in which any digits may follow."""
        if is_registered(text):
            return False
        if is_valid_uid(text):
            return text in self._uids or any(significant(part) in self._numbers for part in text.split("."))
        return text in self._uids or self._in_text(text, found)

    def _in_text(self, text: str, found: Found) -> bool:
        folded = " ".join(fold(text).split())
        keyword = found.keyword.rpartition(".")[2]
        if not folded or _has_identity(folded):
            return bool(folded)
        allowed = vocabulary() if found.vr == "CS" or keyword in _TECHNICAL else frozenset()
        if keyword in _MAKE:  # scanners are often called by their model, and makers are institutions, too
            allowed |= self._equipment
        if any(match[0] not in allowed for match in self._terms.finditer(folded)) or self._in_names(
            folded, allowed
        ):
            return True
        if any(uid in self._uids for uid in _UID.findall(folded)):
            return True
        if self._dates & dates_in(folded):
            return True
        if keyword in _MAKE:
            return False
        joined = compact(folded)
        return len(joined) >= SHORTEST_COMPACT and any(term in joined for term in self._compact)

    def _in_names(self, folded: str, allowed: frozenset[str]) -> bool:
        """Whole names, joined or not, and long parts of names inside of words that are no vocabulary."""
        if any(not allowed.issuperset(WORD.findall(m[0])) for m in self._full_names.finditer(folded)):
            return True
        if self._parts.search(folded) is None:
            return False
        return any(self._parts.search(word) and word not in vocabulary() for word in WORD.findall(folded))

    def _in_numbers(self, texts: list[str]) -> bool:
        """Numbers are compared by their digits, however they are written, and also two neighbours as one."""
        if any(is_identity_number(text) for text in texts if len(text) >= IDENTITY_DIGITS):
            return True
        if not self._numbers and not self._day_numbers:
            return False
        wholes = [whole_number(text) for text in texts]
        if any(whole in self._numbers or whole in self._day_numbers for whole in wholes if whole):
            return True
        if any(
            significant(digits) in self._numbers
            for text in texts
            if len(digits := mantissa(text)) >= LONGEST_CHANCE
        ):
            return True
        return any(
            significant(one + other) in self._numbers
            for one, other in pairwise(wholes)
            if len(one) + len(other) >= LONGEST_CHANCE
        )


def _has_identity(folded: str) -> bool:
    """Whether an identity number or an e-mail address stands in a text, whoever's it is."""
    if "@" in folded and any(span.kind == "e-mail" for span in identifiers_in(folded)):
        return True
    return any(is_identity_number(match[0]) for match in _ELEVEN_DIGITS.finditer(folded))


def _is_telling(number: str) -> bool:
    """Whether a number is long enough, and not so round, that a measurement hardly equals it by chance."""
    return len(number) >= SHORTEST_NUMBER and len(number.rstrip("0")) > SHORTEST_NUMBER // 2


def _pattern(terms: set[str]) -> re.Pattern[str]:
    """One pattern for all terms; words of alphabets stand alone, ideographs do not."""
    alone = sorted((t for t in terms if not _is_ideographic(t)), key=lambda t: (-len(t), t))
    inside = sorted(t for t in terms if _is_ideographic(t))
    choices = []
    if alone:
        choices.append(r"(?<![^\W\d_])(?:" + "|".join(_whole(t) for t in alone) + r")(?![^\W\d_])")
    choices += [re.escape(t) for t in inside]
    return re.compile("|".join(choices) or r"(?!)")


def _full_name_pattern(names: set[tuple[str, ...]]) -> re.Pattern[str]:
    """Whole names that stand alone, with or without anything but letters between their words."""
    choices = [r"[\W_]*".join(map(re.escape, name)) for name in sorted(names, key=lambda n: (-len(n), n))]
    alone = [c for c in choices if not _is_ideographic(c)]
    patterns = [c for c in choices if _is_ideographic(c)]
    if alone:
        patterns.append(r"(?<![^\W\d_])(?:" + "|".join(alone) + r")(?![^\W\d_])")
    return re.compile("|".join(patterns) or r"(?!)")


def _part_pattern(values: OriginalValues) -> re.Pattern[str]:
    """Names that are long enough to be recognized inside of a word; the standard's own words are not."""
    parts = {name for name in values.names if len(name) >= SHORTEST_PART} - vocabulary()
    joined = {"".join(name) for name in values.full_names if not vocabulary().issuperset(name)}
    parts |= {name for name in joined if len(name) >= SHORTEST_COMPACT}
    return re.compile("|".join(map(re.escape, sorted(parts))) or r"(?!)")


def _whole(term: str) -> str:
    """A term that begins or ends with a digit is not part of a longer number."""
    return (
        ("(?<!\\d)" if term[0].isdigit() else "")
        + re.escape(term)
        + ("(?!\\d)" if term[-1].isdigit() else "")
    )


def _is_ideographic(text: str) -> bool:
    return any(
        "\u1100" <= c <= "\u11ff" or "\u2e80" <= c <= "\ud7ff" or "\uf900" <= c <= "\ufaff" for c in text
    )
