"""Tokens with digits that say something about an image, not about a person: sizes, weightings, vertebrae, kernels.

Everything is written out: a number without a unit has four digits at most, a letter before digits is one of a list.
Sources: PS3.3 C.8 (attributes of the modalities), UCUM units, isotopes of PS3.16 CID 18 and 4020.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_WHOLE: Final = r"[0-9]{1,4}"
_NUMBER: Final = rf"{_WHOLE}(?:[.,][0-9]{{1,4}})?"
_FACTORS: Final = rf"{_NUMBER}(?:[x×*]{_NUMBER}){{1,3}}"
_UNITS: Final = (
    r"(?:[µum]m|[mc]m[23²³]?|m[2²]?|[mc]?l|cc|[mkµu]?g|gm|mgi|m?mol|meq|msec|[mµu]?s|sec|mins?|h|hrs?|[km]?hz|tesla|m?t|kvp?"
    r"|[mkµu]v|[mk]ev|mas?|hu|deg|°|%|ppm|px|pix|bits?|[mc]?gy|m?sv|[mkg]bq|mci|fps|db|inch|inches|f|fr|ga|[23]?d|dim|y|yrs?"
    r"|mos?|wks?|w|x|st|nd|rd|th|ch|channel|dirs?|directions|slc?|slices?|vols?|avg?|ave|nex|echo(?:es)?|ph|phases?|pl"
    r"|planes?|shots?|points?|beds?|iso|isotropic|views?|vws|dt|pc|pct|fold|fx|it|post|plus|e)"
)
_HEADS: Final = (
    r"(?:te|tr|ti|td|fa|nex|nsa|etl|bw|fov|sl|th|dirs?|iso|grappa|sense|mb|sms|cs|pf|ph|ch|avg?|ave|rep|run"
    r"|ser|series|se|im"
    r"|img|images?|scan|echo|stack|slab|bed"
    r"|frame|roi|seg|segment|set|test|level|day|week|wk|visit|tp|pe|phase|vol|ss|fc|fl|fb"
    r"|kv|rev|ver|version|site|protocol|bval)"
)
_ISOTOPES: Final = (
    "1H|2H|3He|11C|13C|13N|15O|18F|19F|23Na|31P|39K|64Cu|67Ga|68Ga|81mKr|82Rb|89Zr|90Y|99mTc|111In|123I|124I|125I|129Xe"
    "|131I|133Xe|153Sm|166Ho|177Lu|186Re|188Re|192Ir|201Tl|223Ra|225Ac"
)
_END: Final = r"(?![^\W_]|[\u0300-\u036f]|[.,][0-9]{1,4}(?![^\W_]))"

_FORMS: Final = (
    r"T1rho|T1ρ|[TR][12](?:\*|(?:star|ster)?(?:[_-]?(?:w|wi|map))?)",
    r"x-?rays?",
    r"[wc]/o|s/p|r/o|h/o|f/u|[mu]/(?:iv|k)?|w/",
    r"C\+/-|C\+|\+C|C-(?=[\s)/]|$)",
    r"(?:C[1-8]|T(?:h|H)?(?:1[0-2]|[1-9])|D(?:1[0-2]|[1-9])|L[1-6]|S[1-5]|Co?[1-4])",
    r"b(?:val(?:ue)?)?[-_=]?[0-9]{1,4}(?:s/mm2|s/mm²)?",
    r"[BHIJUQDTS][rvlfcbmp]?[0-9]{2}[a-z]?",
    r"[vpribsxqmnefth][0-9]{1,2}",
    rf"{_HEADS}[0-9]{{1,4}}",
    r"[234]D1?|pat[2-9]",
    r"(?:epfid|epse|ep|fl|fm|gr|tser?|tfl|tirR?|spcR?|spcir|h|se|ci|fi|swi|tof|me)[123]d(?:[0-9]{1,3}(?:t[0-9])?)?",
    rf"{_FACTORS}(?:{_UNITS})?",
    rf"{_NUMBER}(?:{_UNITS})",
)
NUMBER: Final = re.compile(rf"{_NUMBER}{_END}")
LONGEST_DECIMAL: Final = 6
"""Digits of a number with a fraction."""
_NO_WORD: Final = re.compile("[0-9/+-]|ray", re.IGNORECASE)
_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}")


@cache
def harmless() -> re.Pattern[str]:
    """The pattern of a harmless token; compiled when it is first needed, as that takes a while."""
    return re.compile("(?:" + "|".join((_nuclides(), *_FORMS)) + ")" + _END, re.IGNORECASE)


def _nuclides() -> str:
    return "|".join(
        f"{mass}-?{element}|{element}-?{mass}"
        for mass, element in re.findall(r"([0-9]+m?)([A-Z][a-z]?)", _ISOTOPES)
    )


def is_harmless(token: str) -> bool:
    """Whether the whole of a token is harmless. All that are have a digit or a mark in them, but for xray."""
    return bool(_NO_WORD.search(token)) and any(
        _form(number).fullmatch(token) for number in range(len(_FORMS) + 1)
    )


@cache
def _form(number: int) -> re.Pattern[str]:
    """One of the forms, the nuclides as the last: to compile all takes long, and most tokens have one of the first."""
    form = _FORMS[number] if number < len(_FORMS) else _nuclides()
    return re.compile(f"(?:{form}){_END}", re.IGNORECASE)


def is_year(text: str) -> bool:
    """Whether a bare number may be a year."""
    return _YEAR.fullmatch(text) is not None


def is_small(number: str) -> bool:
    """Whether a number that `NUMBER` matches has no more digits than a setting has."""
    return sum(c.isdigit() for c in number) <= LONGEST_DECIMAL


def is_bare(token: str) -> bool:
    """Whether a token is a number with at most one letter, as of a house; field strengths and dimensions are none."""
    return re.fullmatch(r"[0-9]{1,4}[A-CE-SU-Za-ce-su-z]?", token) is not None
