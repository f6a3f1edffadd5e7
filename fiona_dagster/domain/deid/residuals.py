"""Contextual residual search: no value that was taken out of a study may stand anywhere in its copies.

`OriginalValues` gathers what identifies from the originals, `ResidualSearch` looks for it in a copy, folded to small
letters without accents. Short numbers and words of the standard's own vocabulary are left out where they would only
raise false alarms; each exception stands below with its reason.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.table import identifying, is_registered, standard_names
from fiona_dagster.domain.deid.walk import Found, walk
from fiona_dagster.domain.identifiers import is_valid_uid

SHORTEST_NAME = 3
SHORTEST_IDENTIFIER = 5
SHORTEST_IN_BYTES = 5
"""A term of four letters is found by chance in one of 700 tables of 400 kB; of five in one of 90,000."""
SHORTEST_COMPACT = 8
SHORTEST_NUMBER = 7
"""Shorter numbers are counters, settings and sizes: they equal an identifier by chance."""
LONGEST_CHANCE = 10
"""Digits behind a decimal point are many: only numbers of ten digits and more are looked for across it."""
LONGEST_EXPONENT = 20
TELEPHONE_DIGITS = 8
"""A number is known by its last digits: country and area codes come and go."""
_FOLDED = str.maketrans({"ø": "o", "æ": "ae", "đ": "d", "ł": "l", "ð": "d", "þ": "th", "œ": "oe", "ı": "i"})
_SPELT_OUT = str.maketrans({"ø": "oe", "ö": "oe", "å": "aa", "ä": "ae", "ü": "ue"})
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
_NUMERAL = re.compile(
    r"[+-]?(?P<whole>\d*)(?:\.(?P<fraction>\d*))?(?:[eE](?P<exponent>[+-]?\d{1,4}))?", re.ASCII
)
_WORD = re.compile(r"[^\W\d_]+")
_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?![\d.])")
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


def fold(text: str) -> str:
    """Small letters without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_FOLDED)


def _spellings(text: str) -> set[str]:
    """`text` folded, and with Nordic and German letters written out."""
    return {fold(text), fold(unicodedata.normalize("NFC", text.casefold()).translate(_SPELT_OUT))}


def _compact(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


@cache
def vocabulary() -> frozenset[str]:
    """Words that the standard itself uses, and manufacturers: a patient called Head is no leak in BodyPartExamined."""
    return (
        frozenset(word for name in standard_names() for word in _WORD.findall(name.casefold()))
        | _MANUFACTURERS
    )


class OriginalValues:
    """Identifying values of a study's originals."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.identifiers: set[str] = set()
        self.devices: set[str] = set()
        self.phrases: set[str] = set()
        self.telephones: set[str] = set()
        self.dates: set[dt.date] = set()
        self.date_texts: set[tuple[str, str]] = set()
        self.uids: set[str] = set()
        self._seen: set[tuple[int, bytes]] = set()

    def gather(self, *datasets: Dataset) -> None:
        """Add what identifies in the data sets (file meta is one of them), private elements included."""
        kinds = identifying()
        for dataset in datasets:
            for found in walk(dataset):
                kind = kinds.get(found.tag, "")
                key = (found.tag, found.value)
                if (kind or found.vr in {"PN", "DA", "DT", "UI"}) and found.value and key not in self._seen:
                    self._seen.add(key)
                    self._add(found, kind)

    def _add(self, found: Found, kind: str) -> None:
        for text in found.texts():
            if found.vr == "UI":
                # a UID like "0" names nothing and stands everywhere
                if len(text) >= SHORTEST_IDENTIFIER and not is_registered(text) and _names_content(found.tag):
                    self.uids.add(text)
            elif found.vr in {"DA", "DT"}:
                self._add_date(found.vr, text)
            elif found.vr == "PN" or kind == "name":
                self.names |= {w for s in _spellings(text) for w in _WORD.findall(s) if _is_name(w)}
            elif kind in {"identifier", "device"}:
                known = self.identifiers if kind == "identifier" else self.devices
                known |= {s for s in _spellings(text) if len(s) >= SHORTEST_IDENTIFIER}
            else:
                self._add_place(text)
                if kind == "telephone":
                    self.telephones.add("".join(c for c in text if c.isdigit())[-TELEPHONE_DIGITS:])

    def _add_date(self, vr: str, text: str) -> None:
        self.date_texts.add((vr, text))
        match = re.match(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text)
        if match:
            self.dates |= _dates_in(f"{match[1]}-{match[2]}-{match[3]}")

    def _add_place(self, text: str) -> None:
        """Addresses, institutions, telephone numbers: as a whole and line by line."""
        for part in {text, *re.split(r"[\r\n,;]+", text)}:
            folded = " ".join(fold(part).split())
            if len(folded) >= SHORTEST_IDENTIFIER:
                self.phrases.add(folded)


def _names_content(tag: int) -> bool:
    """Whether a UI attribute may name something of this study: those of the file meta name programs and syntaxes."""
    return tag >> 16 != 0x0002 or tag == _MEDIA_STORAGE_SOP_INSTANCE_UID


def _is_name(word: str) -> bool:
    return len(word) >= SHORTEST_NAME or (len(word) == 2 and not word.isascii())


def _dates_in(text: str) -> set[dt.date]:
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
        terms = values.names | values.identifiers | values.devices | values.phrases
        self._equipment = (values.devices | values.phrases) - values.names - values.identifiers
        self._terms = _pattern(terms)
        self._numbers = {
            number
            for t in values.identifiers | values.devices | values.telephones
            if (number := _significant(_compact(t))).isdigit() and _is_telling(number)
        }
        self._day_numbers = {f"{day:%Y%m%d}" for day in self._dates}
        self._compact = {c for t in terms - values.names if len(c := _compact(t)) >= SHORTEST_COMPACT}
        self._compact |= {t for t in values.telephones if len(t) == TELEPHONE_DIGITS}
        self._bytes = _byte_terms(terms)
        self._clear: set[tuple[int, bytes]] = set()

    def leaks(self, found: Found) -> bool:
        """Whether an original value stands in the element of a copy."""
        if not found.value or (found.tag, found.value) in self._clear:
            return False
        leaking = self._leaks(found)
        if not leaking and len(self._clear) < 200_000:
            self._clear.add((found.tag, found.value))
        return leaking

    def _leaks(self, found: Found) -> bool:
        vr = found.vr
        if vr == "UI":
            return any(self._in_uid(text, found) for text in found.texts())
        if vr in {"DS", "IS"}:
            return self._in_numbers(found.texts())
        if vr in {"DA", "DT", "TM"}:
            return False  # compared value by value in `verification`: a moved date may equal another original one
        if vr in {"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}:
            return any(self._in_text(text, found) for text in found.texts() if text not in self._written)
        if (
            vr in {"US", "SS", "UL", "SL", "FL", "FD", "AT", "SV", "UV"}
            and len(found.value) < SHORTEST_COMPACT
        ):
            return False
        return self._in_bytes(found.value)

    def _in_uid(self, text: str, found: Found) -> bool:
        """A UID is searched component by component: a new one is a long number, in which any digits may follow."""
        if is_registered(text):
            return False
        if is_valid_uid(text):
            return text in self._uids or any(_significant(part) in self._numbers for part in text.split("."))
        return text in self._uids or self._in_text(text, found)

    def _in_text(self, text: str, found: Found) -> bool:
        folded = " ".join(fold(text).split())
        if not folded:
            return False
        keyword = found.keyword.rpartition(".")[2]
        allowed = vocabulary() if found.vr == "CS" or keyword in _TECHNICAL else frozenset()
        if keyword in _MAKE:  # scanners are often called by their model, and makers are institutions, too
            allowed |= self._equipment
        if any(match[0] not in allowed for match in self._terms.finditer(folded)):
            return True
        if any(uid in self._uids for uid in _UID.findall(folded)):
            return True
        if self._dates & _dates_in(folded):
            return True
        if keyword in _MAKE:
            return False
        compact = _compact(folded)
        return len(compact) >= SHORTEST_COMPACT and any(term in compact for term in self._compact)

    def _in_numbers(self, texts: list[str]) -> bool:
        """Numbers are compared by their digits, however they are written, and also two neighbours as one."""
        if not self._numbers and not self._day_numbers:
            return False
        wholes = [_whole_number(text) for text in texts]
        if any(whole in self._numbers or whole in self._day_numbers for whole in wholes if whole):
            return True
        if any(
            _significant(digits) in self._numbers
            for text in texts
            if len(digits := _mantissa(text)) >= LONGEST_CHANCE
        ):
            return True
        return any(
            _significant(one + other) in self._numbers
            for one, other in pairwise(wholes)
            if len(one) + len(other) >= LONGEST_CHANCE
        )

    def _in_bytes(self, value: bytes) -> bool:
        if any(match.decode() in self._uids for match in re.findall(rb"\d+(?:\.\d+){3,}", value)):
            return True
        small = value.lower()
        return any(term in small for term in self._bytes)


def _significant(digits: str) -> str:
    """Digits as they stand in a number: without leading zeros."""
    return digits.lstrip("0")


def _is_telling(number: str) -> bool:
    """Whether a number is long enough, and not so round, that a measurement hardly equals it by chance."""
    return len(number) >= SHORTEST_NUMBER and len(number.rstrip("0")) > SHORTEST_NUMBER // 2


def _whole_number(text: str) -> str:
    """Digits of a DS or IS that is a whole number, sign, fraction of zeros and exponent resolved; '' for all others."""
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return ""
    fraction = (match["fraction"] or "").rstrip("0")
    zeros = int(match["exponent"] or 0) - len(fraction)
    digits = match["whole"] + fraction
    if zeros > LONGEST_EXPONENT or (zeros < 0 and digits[zeros:].strip("0")):
        return ""
    return _significant(digits[:zeros] if zeros < 0 else digits + "0" * zeros)


def _mantissa(text: str) -> str:
    return "".join(c for c in text.upper().partition("E")[0] if c.isdigit())


def _pattern(terms: set[str]) -> re.Pattern[str]:
    """One pattern for all terms; words of alphabets stand alone, ideographs do not."""
    alone = sorted((t for t in terms if not _is_ideographic(t)), key=lambda t: (-len(t), t))
    inside = sorted(t for t in terms if _is_ideographic(t))
    choices = []
    if alone:
        choices.append(r"(?<![^\W\d_])(?:" + "|".join(_whole(t) for t in alone) + r")(?![^\W\d_])")
    choices += [re.escape(t) for t in inside]
    return re.compile("|".join(choices) or r"(?!)")


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


def _byte_terms(terms: set[str]) -> set[bytes]:
    long = {term for term in terms if len(term) >= SHORTEST_IN_BYTES}
    return {term.encode(code) for term in long for code in ("utf-8", "utf-16-le")}
