"""Kept technical text: makes, models, versions, kernels, codes and their meanings, code strings.

Nobody should write a person's name into such an attribute, and somebody does. A value stays as it is where all of it
is known: a term that the standard publishes, words of the vocabularies, tokens of letters and digits that no name has.
Whatever else stands there is cleaned as free text is, or goes as a whole where a part of it would mean something else
(code strings, code values, coding schemes, addresses). It depends on the attribute and the value alone.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.harmless_tokens import is_harmless
from fiona_dagster.domain.deid.identifier_patterns import identifiers_in
from fiona_dagster.domain.deid.named_profiles import body_parts
from fiona_dagster.domain.deid.notation import fold, spellings
from fiona_dagster.domain.deid.table import columns, forget_tables, has_line, rows
from fiona_dagster.domain.deid.vocabulary import packaged

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.free_text import FreeText

MAKE: Final = frozenset(
    {
        "AlgorithmName", "AlgorithmSource", "AlgorithmVersion", "ApplicationManufacturer", "ApplicationName",
        "CodingSchemeDesignator", "CodingSchemeName", "CodingSchemeRegistry",
        "ApplicationSetupManufacturer", "ApplicationVersion", "CSSFontName", "DetectorManufacturerModelName",
        "DetectorManufacturerName", "DimensionIndexPrivateCreator", "FontName", "FunctionalGroupPrivateCreator",
        "IOLManufacturer", "ImplantName", "Manufacturer", "ManufacturerModelName", "ManufacturerModelVersion",
        "ManufacturerRelatedModelGroup", "PulseSequenceName", "ReceiveCoilManufacturerName", "ReceiveCoilName",
        "SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceManufacturerModelName",
        "SecondaryCaptureDeviceSoftwareVersions", "SegmentAlgorithmName", "SelectorAttributePrivateCreator",
        "SelectorSequencePointerPrivateCreator", "SequenceName", "SoftwareVersions", "SourceApplicatorManufacturer",
        "ThreatDetectionAlgorithmAndVersion", "TransducerData", "TransmitCoilManufacturerName", "TransmitCoilName",
        "WedgeManufacturerName",
    }
)  # fmt: skip
"""Attributes in which makers, products and versions stand; those words are known in no other."""
_VERSIONS: Final = frozenset(
    {
        "AlgorithmVersion", "ApplicationVersion", "CodingSchemeVersion", "ManufacturerModelVersion",
        "SecondaryCaptureDeviceSoftwareVersions", "SoftwareVersions", "ThreatDetectionAlgorithmAndVersion",
    }
)  # fmt: skip
_DATED: Final = frozenset({"date", "time", "ip_address", "uid", "url", "accession"})
"""Forms that versions have, too: when software was built, and 5.3.0.3. The dates of a study are found by the search."""
_WITH_MAKES: Final = frozenset({"ip_address", "url"})
_WHOLE: Final = frozenset(
    {
        "CodeValue", "CodingSchemeDesignator", "CodingSchemeRegistry", "CodingSchemeURL", "ExtendedCodeValue",
        "LongCodeValue", "MIMETypeOfEncapsulatedDocument", "ListOfMIMETypes", "MappingResourceName", "URNCodeValue",
    }
)  # fmt: skip
_CODES_TABLE: Final = "published_codes.csv"
_CODE_VALUES: Final = frozenset({"CodeValue", "ExtendedCodeValue", "LongCodeValue"})
_MEANINGS: Final = frozenset({"CodeMeaning", "ExtendedCodeMeaning"})
_CLOSED: Final = frozenset(
    {
        "DimensionOrganizationType", "GraphicType", "Modality", "PhotometricInterpretation", "RelationshipType",
        "ValueType",
    }
)  # fmt: skip
"""Enumerated Values of Type 1 without which nobody can read the instance: an unknown one is held."""
_CODE_FORMS: Final = re.compile(
    r"[0-9]{1,6}"  # DCM, MDC
    r"|[0-9]{1,7}-[0-9]|LP[0-9]{1,7}-[0-9]|LA[0-9]{1,6}-[0-9]"  # LOINC
    r"|[A-Z][0-9A-Z]-[0-9A-F]{2,6}|[A-Z]-[0-9A-FX]{3,8}"  # SNOMED RT
    r"|RP?ID[0-9]{1,6}|C[0-9]{4,7}|[DMCQ][0-9]{6}"  # RadLex, NCIt, UMLS, MeSH
    r"|[A-Z][0-9]{2}(?:\.[0-9A-Z]{1,4})?|[0-9]{4}/[0-9]"  # ICD-10, ICD-O
    r"|[0-9]{2}\.[0-9X]{1,4}|5\.(?:[0-9]{1,2}\.){1,2}[0-9](?:-[0-9]{1,2}){1,3}"  # ACR, SCP-ECG
)
_MIXED: Final = re.compile(r"(?=[A-Za-z]*[0-9])(?:[A-Za-z]{0,2}[0-9]{1,6})+[A-Za-z]{0,2}")
"""Letters and digits in turn, never more than two letters beside each other: VB17A, 7ae0873, B30f."""
_LONGEST_MIXED: Final = 16
_ORIENTATION: Final = re.compile(
    r"(?!.*(?:[AP].*[AP]|[RL].*[RL]|[FH].*[FH]))[APRLFH]{1,3}|LE|RT|[DVMLO]|CR|CD|PA|PL"
)
_DECIMAL: Final = re.compile(r"(?<![\d.])\d{1,3}\.\d{3,8}(?![\d.])")
_VERSION: Final = re.compile(r"(?<![\d.])(?![2-9]\d(?:\.\d\d){3}(?![\d.]))\d{1,4}(?:\.\d{1,5}){2,5}(?![\d.])")
"""Numbers with three dots and more that are no telephone number in pairs."""
_NAMED_VERSION: Final = re.compile(r"(?<![^\W_])[A-Za-z0-9]{1,6}:(\d{1,3}\.\d)")
_MARKED: Final = re.compile(r"[^\w\s!-/:-@\[-`{-~°±–—·•…≤≥«»\u0300-\u036f]|[\x00-\x08\x0b\x0e-\x1f\x7f]")
"""What is neither a word nor a mark."""
_TOKEN: Final = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")
_PIECE: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SCTID: Final = re.compile(r"[1-9][0-9]{2,14}(?:0[0-2]|1[0-2])[0-9]")


def unknown(tag: int, vr: str, text: str) -> bool:
    """Whether something in one value of an attribute is not known to be harmless."""
    return bool(text) and cleaned(tag, vr, text) != text


@lru_cache(maxsize=16_384)
def cleaned(tag: int, vr: str, text: str) -> str:
    """What may stay of one value (without padding); '' where nothing may. Cleaned again it does not change."""
    keyword = keyword_of(tag)
    plain = text.strip()
    if not plain or _is_known(keyword, vr, plain):
        return text
    if vr in {"CS", "UR"} or keyword in _WHOLE:
        return ""
    return _free_text(keyword in MAKE).clean(text)


def replacement(tag: int) -> str | None:
    """What a code string becomes of which nothing is known: a dummy, '' or None by the strictest Type (PS3.5 7.4)
    that PS3.3 gives the attribute anywhere; `is_closed` tells where a dummy would not do.
    """
    kind = _types().get(keyword_of(tag), "3")[0]
    return {"1": "REMOVED", "2": ""}.get(kind)


def is_closed(tag: int) -> bool:
    """Whether an instance cannot be read without a right value of this attribute."""
    return keyword_of(tag) in _CLOSED


def _is_known(keyword: str, vr: str, text: str) -> bool:
    terms = _terms()
    if text in terms.get(keyword, ()) or (keyword == "BodyPartExamined" and text in body_parts()):
        return True
    if vr == "CS":
        known = text in terms.get("*", ()) or (
            keyword == "PatientOrientation" and bool(_ORIENTATION.fullmatch(text))
        )
    else:
        known = keyword in _CODE_VALUES and _is_code(text)
    return (
        known
        or _is_harmless(keyword, text)
        or (keyword in _MEANINGS and has_line(_CODES_TABLE, "CodeMeaning", text))
    )


def _is_code(text: str) -> bool:
    """Whether a Code Value is one of PS3.16, or has the form of a standard scheme's."""
    if _SCTID.fullmatch(text):
        return _verhoeff(text)
    return bool(_CODE_FORMS.fullmatch(text)) or has_line(_CODES_TABLE, "CodeValue", text)


def _verhoeff(digits: str) -> bool:
    """The check digit of SNOMED CT identifiers."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        moved = int(digit)
        for _ in range(place % 8):
            moved = _VERHOEFF_MOVES[moved]
        check = _dihedral(check, moved)
    return check == 0


_VERHOEFF_MOVES: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _dihedral(one: int, other: int) -> int:
    """The product of two elements of the dihedral group of the pentagon."""
    turn = other % 5 if one < 5 else -(other % 5)
    return (one + turn) % 5 + 5 * ((one >= 5) != (other >= 5))


def _is_harmless(keyword: str, text: str) -> bool:
    """Whether all tokens of a text are, and nothing in it identifies by its form."""
    makes, versions = keyword in MAKE, keyword in _VERSIONS
    also_names = packaged().also_names
    rest = _NAMED_VERSION.sub(_without_name, text) if versions else text
    if _MARKED.search(rest):
        return False
    before = False
    for match in _TOKEN.finditer(rest):
        token = match[0]
        if not (
            _is_harmless_token(token, makes or versions)
            or (keyword in _MEANINGS and token.lower() in _meant())
        ):
            return False
        names = token.isalpha() and not also_names.isdisjoint(spellings(token))
        if names and before:
            return False
        before = names
    return not _identifies(_DECIMAL.sub("0", rest), makes=makes, versions=versions)


def _without_name(match: re.Match[str]) -> str:
    """A version without the part of the software that it is of: `GEN:1.8.3.5`."""
    return match[1]


def _identifies(text: str, *, makes: bool, versions: bool) -> bool:
    if versions:
        text = _VERSION.sub("0", text)
    allowed = _DATED if versions else _WITH_MAKES if makes else frozenset[str]()
    spans = identifiers_in(text)
    dated = [span for span in spans if versions and span.kind == "date"]
    return any(
        span.kind not in allowed and not any(one.start <= span.start and span.end <= one.end for one in dated)
        for span in spans
    )


def _is_harmless_token(token: str, makes: bool) -> bool:
    if token.isdigit():
        return token.isascii() and len(token) <= (8 if makes else 6)
    if not token.isascii():
        return packaged().knows(token, frozenset(spellings(token)))
    if len(token) == 1 or _knows(token, makes):
        return True
    if len(token) <= _LONGEST_MIXED and _MIXED.fullmatch(token):
        return True
    return _is_put_together(token, makes) or is_harmless(token)


def _is_put_together(token: str, makes: bool) -> bool:
    """Whether a token is words, numbers and single letters that differ in case: 99LOCAL, ThoraxRoutine2."""
    pieces = _PIECE.findall(token)
    return (
        "".join(pieces) == token
        and all(
            len(piece) <= 6 if piece.isdigit() else _knows(piece, makes) or len(piece) == 1
            for piece in pieces
        )
        and any(len(piece) > 2 and not piece.isdigit() for piece in pieces)
    )


def _knows(word: str, makes: bool) -> bool:
    folded = fold(word)
    return folded in packaged().words or folded in _words(makes)


@cache
def _words(makes: bool) -> frozenset[str]:
    """Words of technical text; with `makes` those of makers and products, too."""
    words = columns("technical_words.csv", "word", "where")
    return frozenset(word for word, where in words if makes or where == "any")


def are_products(words: AbstractSet[str]) -> bool:
    """Whether words (folded) are makers and products, every one of them, and none a name of people, too."""
    return bool(words) and words <= _words(makes=True) - _words(makes=False) - _also_names()


@cache
def _meant() -> frozenset[str]:
    """Words of coded concepts, which say nothing about a person where they stand in a meaning."""
    return _terms().get("CodeMeaning", frozenset())


@cache
def _also_names() -> frozenset[str]:
    return frozenset(word for word, also in columns("technical_words.csv", "word", "also_name") if also)


def forget() -> None:
    """Read the tables anew where they are needed next: for whoever makes them."""
    for remembered in (cleaned, _words, _meant, _also_names, _terms, _types, _free_text):
        remembered.cache_clear()
    forget_tables()


@cache
def _terms() -> dict[str, frozenset[str]]:
    """Terms of PS3.3 by the attribute that they are known in, `*` for every code string."""
    found: dict[str, set[str]] = {}
    for attribute, term in columns("published_terms.csv", "attribute", "term"):
        found.setdefault(attribute, set()).add(term)
    return {attribute: frozenset(terms) for attribute, terms in found.items()}


@cache
def _types() -> dict[str, str]:
    return {row["attribute"]: row["type"] for row in rows("code_string_types.csv")}


@cache
def _free_text(makes: bool) -> FreeText:
    """The cleaner of what is not known as a whole: product names that are names of people, too, go with the rest."""
    from fiona_dagster.domain.deid.free_text import FreeText  # here: most studies need none

    return FreeText(extra=_words(makes) - _also_names())
