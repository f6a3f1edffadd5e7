"""The forms of what identifies, as regular expressions, and what each needs: names, numbers, addresses, dates.

Forms are those of Norway first; blanks are matched possessively, so that a long run of them is not divided in every
possible way.
"""

from __future__ import annotations

import re
from typing import Final

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
BEGINS_MONTH = r"jan|feb|m[aä][rijy]|apr|ju[nl]|aug|sep|o[ck]t|nov|de[csz]"
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
_TITLE_WORDS = (
    "Dr. dr. DR. Dr dr Prof. prof. PROF. Professor professor Mr. mr. MR. Mr Mrs. Mrs Ms. Mme. Mlle. Miss Fru Herr Frau"
    " Hr. Fr. Sr. Sra. Dra."
)
"""`DR` and `MR` without a dot are modalities."""
_PROFESSION_WORDS = (
    "overlege assistentlege turnuslege fastlege lege kirurg radiolog radiograf sykepleier bioingeniør jordmor"
    " stråleterapeut fysioterapeut radiologist radiographer technologist technician physician surgeon nurse doctor"
    " oberarzt"
)
_LABEL_WORDS = (
    "pasient pasienten pasientens_navn pasientnavn patient patients patienten patient_name patient's_name pas. pas pt."
    " navn etternavn fornavn last_name first_name surname mor far mother father pårørende henvisende henvist"
    " henviser rekvirent referring operatør operator tech attn att sign. kontakt"
)
_DOER_WORDS = (
    "henvist_av henvist_fra rekvirert_av referred_by requested_by performed_by reported_by dictated_by signed_by"
    " utført_av beskrevet_av signert_av signert ref. pasient pasienten navn operatør"
)
TITLES_AS_WRITTEN: Final = frozenset(_TITLE_WORDS.split())
BEFORE_NAMES: Final = frozenset(
    re.split(r"[^a-zæøå]", words)[0]
    for words in f"{_PROFESSION_WORDS} {_LABEL_WORDS} {_DOER_WORDS} name v ved c ref".split()
)
"""First words of what else stands before a name; in a text of ASCII letters without one of them nothing does."""
_TITLE, _PROFESSION, _LABEL, _DOER = map(
    _one_of, (_TITLE_WORDS, _PROFESSION_WORDS, _LABEL_WORDS, _DOER_WORDS)
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

FORMS: Final[dict[str, tuple[str, ...]]] = {
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
NEEDS: Final[dict[str, str]] = {
    "url": r":|\.[^\W\d_]|[wW]{3}\.",
    "e-mail": r"[@(\[]",
    "ip_address": r"\d\.\d+\.\d|:",
    "mac_address": r"[:-][0-9a-fA-F]{2}[:-]",
    "uid": r"\d\.\d+\.\d",
    "date": r"\d[-./ ]\d|\d\. \d|['’]\d|\d{6}",
    "telephone": r"(?:\d\D*){7}|\+|00|(?i:t[el]|mob|phone|fa[kx]|calling|ring)",
    "age_over_89": r"9\d|1[0-4]\d",
    "postal_address": r"\s\d|\d\s|-\d{4}|(?i:nr|bo|pb)",
    "time": r"\d:\d|(?i:kl)",
    "digits": rf"(?:\d\D*){{{LONG_RUN}}}",
    "accession": r"\d{6}",
    "name": r"[\s^:=/]",
    "identity_number": rf"(?:\d\D*){{{IDENTITY_DIGITS}}}",
    "duf_number": rf"(?:\d\D*){{{DUF_DIGITS}}}",
}
"""What every form of a kind has in it: where it is missing, the forms are neither tried nor compiled."""
CASE_COUNTS: Final = {"postal_address": re.MULTILINE, "name": re.NOFLAG}
"""Flags of the kinds in which capitals tell something."""
