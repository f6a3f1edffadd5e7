"""What identifies by its form, wherever it stands in a text: numbers, addresses, dates, names behind a title.

Forms are those of Norway first; blanks are matched possessively, so that a long run of them is not divided in every
possible way. A pattern rather finds too much than too little: what it finds is taken out, or holds
a document. Who writes a name without a title is found by `free_text` and the residual search, not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from operator import mul
from typing import Final

from fiona_dagster.domain.deid.notation import dates_in

_FIRST_WEIGHTS: Final = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
_SECOND_WEIGHTS: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
IDENTITY_DIGITS: Final = 11
DUF_DIGITS: Final = 12
LONG_RUN: Final = 7
"""Digits, also with single marks between them, that are too many for a counter or a setting."""

_MONTH = (
    r"(?:jan(?:uary?|uar)?|feb(?:ruary?|ruar)?|mar(?:ch|s)?|mars|m[äa]rz|apr(?:il)?|may|ma[ij]|jun[ei]?|jul[iy]?"
    r"|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[csz](?:ember)?)"
)
_FULL_MONTH = (
    r"(?:january?|januar|february?|februar|march|mars|märz|april|may|ma[ij]|jun[ei]|jul[iy]|august|september"
    r"|o[ck]tober|november|de[sz]ember|december)"
)
_YEAR = r"(?:1[89]|20)\d{2}"
_CLOCK = r"(?:[01]?\d|2[0-4])[:.][0-5]\d(?:[:.][0-5]\d(?:[.,]\d{1,6})?)?"
_COMPACT_TIME = r"(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?"
_TIME = (
    rf"(?:(?:\s*+,?\s*+(?:kl(?:okken|\.)?|at|um|à|a las)\s*+|[ T_-]){_CLOCK}\s*+(?:[ap]\.?m\.?|Z|[+-]\d\d:?\d\d)?"
    rf"|[T_ -]?{_COMPACT_TIME}(?!\d))?"
)
_DATE_FORMS = (
    rf"(?<!\d){_YEAR}(?P<s>[-./ ])\d{{1,2}}(?P=s)\d{{1,2}}(?!\d){_TIME}",
    rf"(?<![\d.])\d{{1,2}}(?P<t>[-./ ])\d{{1,2}}(?P=t)(?:{_YEAR}|\d{{2}})(?![\d]|\.\d){_TIME}",
    rf"(?<![\d.])\d{{1,2}}[-./]\d{{1,2}}[-./](?:{_YEAR}|\d{{2}})(?![\d]|\.\d){_TIME}",
    r"(?<![\d.])\d{1,2}\. \d{1,2}\. ?(?:\d{4}|\d{2})(?!\d)" + _TIME,
    rf"(?<![\d.])(?:0?[1-9]|1[0-2])[/.-]{_YEAR}(?![\d.])",
    rf"(?<![\d.]){_YEAR}[/-](?:0[1-9]|1[0-2])(?![\d.])",
    rf"(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:T?{_COMPACT_TIME})?(?!\d)",
    r"(?<!\w)['’]\d{2}(?![^\W_])",
    r"(?<![^\W_])(?:født|fødd|f\.|born|dob|geb\.?|fdato|fødselsdato|birth ?date)\s*+:?\s*+\d{6,8}(?!\d)",
)
_DATES_WITH_MONTHS = (
    rf"(?<![^\W_])\d{{1,2}}(?:\.|st|nd|rd|th)?[ -]*(?:of )?{_MONTH}\.?,?[ -]*(?:{_YEAR}|'?\d{{2}})(?!\d){_TIME}",
    rf"(?<![^\W_])\d{{1,2}}(?:\.|st|nd|rd|th)?[ -]*(?:of )?{_FULL_MONTH}(?![^\W_]){_TIME}",
    rf"(?<![^\W_])\d{{1,2}}\. ?{_MONTH}\.?(?![^\W_]){_TIME}",
    rf"(?<![^\W_]){_MONTH}\.?[ -]*\d{{1,2}}(?:st|nd|rd|th)?,?[ -]+(?:{_YEAR}|'\d{{2}})(?!\d){_TIME}",
    rf"(?<![^\W_]){_FULL_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?![^\W_]|[.,]\d){_TIME}",
    rf"(?<![^\W_]){_MONTH}\.?[ ,-]*{_YEAR}(?!\d)",
    rf"(?<!\d){_YEAR}[- ]?{_MONTH}(?:[- ]?\d{{1,2}})?(?![^\W_])",
)
_BEGINS_MONTH = r"jan|feb|m[aä][rijy]|apr|ju[nl]|aug|sep|o[ck]t|nov|de[csz]"
"""How every month begins: where none does, the forms above are not tried."""
_BARE_TIME = (
    r"(?<![^\W_])kl(?:okken|\.)\s*+(?:[01]?\d|2[0-4])(?:[:.]?[0-5]\d)?(?!\d)",
    r"(?<![\d:.])(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,6})?)?(?![\d:])(?:\s?[ap]\.?m\.?)?",
)

_AT = r"\s?(?:@|\(at\)|\[at\]|\(a\)|\(alfakrøll\))\s?"
_MAIL = rf"(?<![\w.+%'-])[\w.+%'-]{{1,64}}{_AT}[^\W\d][\w-]{{0,62}}(?:\.[\w-]{{1,63}}){{0,6}}"
_URL = (
    r"(?:(?:https?|ftps?|sftp|file|dicom|ldaps?|smb|s3)://|mailto:|www\.)[^\s<>\"]+"
    r"|(?<![\w.@])(?:[a-z0-9-]{2,63}\.){0,4}[a-z][a-z0-9-]{2,62}\.(?:com|org|net|edu|gov|info|no|eu)(?:/[^\s<>\"]*)?(?![\w.-])"
)
_IP4 = r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?::\d{1,5}|/\d{1,2})?(?!\.?\d)"
_IP6 = (
    r"(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}(?![\w:])",
    r"(?<![\w:])(?:[0-9a-f]{1,4}:)+(?::[0-9a-f]{1,4})+(?![\w:])",
)
_MAC = r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])"
_UID = r"(?<![\d.])\d+(?:\.\d+){3,}(?![\d])"

_CALL = r"(?<![^\W_])(?:tlf|tel|tele?fon|telephone|mobil|mob|phone|fax|faks|calling|ring)"
_TELEPHONE = (
    r"(?<![\d+])(?:\(?(?:\+|00)\d{1,3}\)?[ .-]?)(?:\(0\)[ .-]?)?\(?\d{1,4}\)?(?:[ .\-/]?\d{2,5}){1,5}(?!\d)",
    r"(?<![\d.,])[2-9]\d(?: \d\d){3}(?![\d]|[.,]\d)|(?<![\d.,])[2-9]\d{2}[ .-]\d{2}[ .-]\d{3}(?![\d]|[.,]\d)",
    r"(?<![\d.])\(?[2-9]\d{2}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)",
    _CALL + r"(?:nr)?\b\.?\s*+:?\s*+\+?\d(?:[ .()/-]{0,2}\d){3,14}(?!\d)",
)
_IN_YEARS = r"(?:år(?:ig|s)?|åring|years?|yrs?|yo|y\.?/?o\.?|ans|jahre?|jährig\w*|años|anos)"
_YEARS = rf"(?:[ -](?:year|yr)s?[ -]old|[ -]?{_IN_YEARS})(?![^\W_])"
_AGE = (
    rf"(?<![\d.,])(?:9\d|1[0-4]\d){_YEARS}",
    r"(?<!\d)(?:09\d|1[0-4]\d)Y(?![^\W_])",
    r"(?<![^\W_])(?:age|aged|alder|alter)\s*+[:=]?\s*+(?:9\d|1[0-4]\d)(?![\d]|[.,]\d)",
)


def _one_of(words: str) -> str:
    """Any of the words, which are divided by blanks; `_` is a blank inside of one."""
    return "(?:" + "|".join(re.escape(word).replace("_", r"\s") for word in words.split()) + ")"


_CAPITAL = r"(?!(?:MR|CT|US|XR|DX|CR|PET|RTG|NM|XA)(?![^\W_]))[A-ZÆØÅÄÖÜÉÁÍÓÚŠŽ]"
_STREET_END = _one_of(
    "gate gata gaten vei veien vegen veg allé alleen alléen plassen bakken svingen stien tunet terrasse toppen kroken"
    " ringen torget torg brygge kaia kaien løkka faret åsen marka stubben lia haugen gutua gjerdet jordet straße"
    " strasse straat gatan vägen vej"
)
_NO_STREET = f"(?!{_one_of('navi conju irri aggre interro surro propa miti dele')}gate)"
_BEFORE = rf"(?:{_CAPITAL}[^\W\d_]*\.?\s){{0,2}}"
_OLDER = "(?:" + _one_of("Store Lille Nedre Øvre Gamle Nye Nordre Søndre") + r"\s)?"
_ROAD = _one_of(
    "Street St. St Road Rd. Rd Avenue Ave. Ave Lane Ln. Drive Way Court Boulevard Blvd. Blvd Square Sq."
)
_WAY = _one_of("gate gt. gt vei veg plass allé vn. terrasse")
_HOUSE = r"\s++(?:nr\.?\s*+)?\d{1,4}\s?[A-Za-z]?(?![^\W_])"
_PLACE = r"\d{4,5}\s++[^\W\d_]+(?:\s[A-ZÆØÅ][^\W\d_]*)?"
_COUNTRY = r"(?:NO?|S|DK|SE)-"
_POSTCODE = rf"(?:,?\s++(?:{_COUNTRY})?{_PLACE})?"
_POSTAL = (
    rf"(?<![^\W_]){_OLDER}(?i:{_NO_STREET}[^\W\d_]{{2,40}}{_STREET_END}){_HOUSE}{_POSTCODE}",
    rf"(?<![^\W_]){_BEFORE}(?:{_CAPITAL}[^\W\d_]*s|{_CAPITAL}\.)\s(?i:{_WAY}){_HOUSE}{_POSTCODE}",
    rf"(?<![^\W_])\d{{1,5}}\s(?:[A-Z][^\W\d_]+\s){{1,3}}{_ROAD}(?![^\W_])",
    r"(?<![^\W_])(?i:postboks|pb\.|p\.?\s?o\.?\s?box|boks)\s*+\d{1,5}" + _POSTCODE,
    r"(?:(?<=[,;\n]\s)|(?<=[,;\n]))\d{4}\s[A-ZÆØÅ][a-zæøå]{2,}(?![^\W_])|^\d{4}\s[A-ZÆØÅ][a-zæøå]{2,}$",
    rf"(?<![^\W_])0\d{{3}}\s[A-ZÆØÅ]{{2,}}(?![^\W_])|(?<![^\W_]){_COUNTRY}\d{{4,5}}(?:\s[A-ZÆØÅ][^\W\d_]+)?",
)

_PERSON = _CAPITAL + r"[^\W\d_]*\.?(?:['’-][^\W\d_]+)*"
_PARTICLES = rf"(?:{_one_of('van von de der den la du di da af av')}\s)*"
_NAME = rf"(?P<name>{_PERSON}(?:(?:,\s?|\s|\^){_PARTICLES}{_PERSON}){{0,3}})"
_TITLE = _one_of(
    "Dr. dr. DR. Dr dr Prof. prof. PROF. Professor professor Mr. mr. MR. Mr Mrs. Mrs Ms. Mme. Mlle. Miss Fru Herr Frau"
    " Hr. Fr. Sr. Sra. Dra."
)
"""`DR` and `MR` without a dot are modalities."""
_PROFESSION = _one_of(
    "overlege assistentlege turnuslege fastlege lege kirurg radiolog radiograf sykepleier bioingeniør jordmor"
    " stråleterapeut fysioterapeut radiologist radiographer technologist technician physician surgeon nurse doctor"
    " oberarzt"
)
_LABEL = _one_of(
    "pasient pasienten pasientens_navn pasientnavn patient patients patienten patient_name patient's_name pas. pas pt."
    " navn etternavn fornavn last_name first_name surname mor far mother father pårørende henvisende henvist"
    " henviser rekvirent referring operatør operator tech attn att sign. kontakt"
)
_DOER = _one_of(
    "henvist_av henvist_fra rekvirert_av referred_by requested_by performed_by reported_by dictated_by signed_by"
    " utført_av beskrevet_av signert_av signert ref. pasient pasienten navn operatør"
)
_TITLES = (
    rf"(?<![^\W_]){_TITLE}(?=[\s^])\s*+\^?{_NAME}",
    rf"(?<![^\W_])(?i:{_PROFESSION})(?:\s*+:)?\s++{_NAME}",
    rf"(?<![^\W_])(?i:{_LABEL}|{_DOER}|(?<!protocol )(?<!sequence )(?<!series )(?<!file )name)\s*+[:=]\s*+{_NAME}",
    rf"(?<![^\W_])(?i:{_DOER})\s++{_NAME}",
    rf"(?<![^\W_])(?i:v/|ved/|c/o|ref\.?:)\s?(?:(?i:lege|overlege|dr\.?)\s)?{_NAME}",
)
_WHOLE = r"(?=\d+(?![^\W_]))"
"""The next digits are a number by themselves, not the size in `3mm`."""
_DIGITS = (
    rf"(?<!\d)\d(?:(?:[ .\-–/_]{_WHOLE})?\d){{{LONG_RUN - 1},}}(?!\d)",
    rf"(?<!\d)\d(?:(?:[ .\-–/_()]{{1,3}}{_WHOLE})?\d){{{LONG_RUN},}}(?!\d)",
)
_ACCESSION = r"(?<![^\W_])[A-Za-z]{1,12}[-_]?\d{6,}(?![^\W_])"

_ELEVEN: Final = rf"(?<!\d)(?=(\d(?:[ .,\-–/_]{{0,3}}\d){{{IDENTITY_DIGITS - 1}}})(?!\d))"
_TWELVE: Final = rf"(?<!\d)(?:19|20)\d\d(?:[ .,\-–/_]?\d){{{DUF_DIGITS - 4}}}(?!\d)"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a text that identifies: `text[start:end]`, and as what."""

    start: int
    end: int
    kind: str


_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "url": (_URL,),
    "e-mail": (_MAIL,),
    "ip_address": (_IP4, *_IP6),
    "mac_address": (_MAC,),
    "uid": (_UID,),
    "date": _DATE_FORMS,
    "date with a month": _DATES_WITH_MONTHS,
    "telephone": _TELEPHONE,
    "age_over_89": _AGE,
    "postal_address": _POSTAL,
    "time": _BARE_TIME,
    "digits": _DIGITS,
    "accession": (_ACCESSION,),
    "name": _TITLES,
    "identity_number": (_ELEVEN,),
    "duf_number": (_TWELVE,),
}
_CASE_COUNTS: Final = {"postal_address": re.MULTILINE, "name": re.NOFLAG}
"""Flags of the kinds in which capitals tell something."""
_WITHOUT_DIGITS: Final = ("url", "e-mail")
_MONTH_BEGINS: Final = re.compile(_BEGINS_MONTH, re.IGNORECASE)
_WHOLE_MATCHES: Final = tuple(
    kind for kind in _FORMS if kind not in {"name", "identity_number", "date with a month"}
)


@cache
def _patterns(kind: str) -> tuple[re.Pattern[str], ...]:
    """The forms of a kind; compiled when they are first needed, as that takes a while."""
    return tuple(re.compile(form, _CASE_COUNTS.get(kind, re.IGNORECASE)) for form in _FORMS[kind])


def identifiers_in(text: str) -> list[Span]:
    """Stretches of `text` that identify by their form, from left to right; where two overlap, both are named.

    Names behind a title or a label do not include the title itself.
    """
    found = [
        Span(m.start("name"), m.end("name"), "name") for p in _patterns("name") for m in p.finditer(text)
    ]
    has_digit = any(map(str.isdigit, text))
    for kind in _WHOLE_MATCHES if has_digit else _WITHOUT_DIGITS:
        found += [Span(m.start(), m.end(), kind) for p in _patterns(kind) for m in p.finditer(text)]
    if has_digit and _MONTH_BEGINS.search(text):
        dates = (m for p in _patterns("date with a month") for m in p.finditer(text))
        found += [Span(m.start(), m.end(), "date") for m in dates]
    if has_digit:
        found += [
            Span(m.start(1), m.end(1), "identity_number")
            for p in _patterns("identity_number")
            for m in p.finditer(text)
            if is_identity_number(m[1])
        ]
        found += _eight_digits(text)
    return sorted(set(found))


def is_identity_number(text: str) -> bool:
    """Whether the 11 digits of `text` are a Norwegian identity number: both check digits, and a day that can be.

    Besides the birth number (fødselsnummer) there are the D-number (day + 40), the H-number of hospitals and the
    number of synthetic persons (month + 40, + 80 or + 65), and the FH-number (first digit 8 or 9, no date in it).
    """
    if len(text) < IDENTITY_DIGITS:
        return False
    if not (text.isascii() and text.isdigit()):
        text = "".join(c for c in text if c in "0123456789")
    if len(text) != IDENTITY_DIGITS or not (text[0] in "89" or _is_birthday(int(text[:2]), int(text[2:4]))):
        return False
    digits = [code - 48 for code in text.encode()]
    return (
        sum(map(mul, _SECOND_WEIGHTS, digits)) % 11 == 0 and sum(map(mul, _FIRST_WEIGHTS, digits)) % 11 == 0
    )


def _is_birthday(day: int, month: int) -> bool:
    return 1 <= day % 40 <= 31 and any(1 <= month - more <= 12 for more in (0, 40, 65, 80))


def _eight_digits(text: str) -> list[Span]:
    """Eight digits in a row are a date if they can be one, else a telephone number."""
    return [
        Span(m.start(), m.end(), "date" if dates_in(m[0]) else "telephone")
        for m in re.finditer(r"(?<!\d)\d{8}(?!\d)", text)
        if m[0][0] in "23456789" or dates_in(m[0])
    ]
