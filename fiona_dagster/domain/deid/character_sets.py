"""Specific Character Set (PS3.3 C.12.1.1.2) as Python's codecs. Text with code extensions is left to pydicom.

Importing pydicom takes half a second: it is imported for a value with escape sequences, and for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

DEFAULT_ENCODING = "iso8859"
"""The default repertoire; bytes that it does not have are read as Latin-1."""
LATIN = frozenset({DEFAULT_ENCODING, "latin_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_15"})
"""The default repertoire and the Latin sets: they decode any bytes."""
_SINGLE_BYTE = {
    "6": DEFAULT_ENCODING,
    "13": "shift_jis",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso_ir_126",
    "127": "iso_ir_127",
    "138": "iso_ir_138",
    "144": "iso_ir_144",
    "148": "iso_ir_148",
    "166": "iso_ir_166",
    "203": "iso8859_15",
}
"""By number in ISO's registry. Those that have a code extension are named as pydicom names them."""
_STAND_ALONE = {"ISOIR192": "utf_8", "UTF8": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
_TERMS = {
    "": DEFAULT_ENCODING,
    **{f"ISOIR{number}": codec for number, codec in _SINGLE_BYTE.items()},
    **{f"ISO2022IR{number}": codec for number, codec in _SINGLE_BYTE.items()},
    "ISO2022IR58": "iso_ir_58",
    "ISO2022IR87": "iso2022_jp",
    "ISO2022IR149": "euc_kr",
    "ISO2022IR159": "iso2022_jp_2",
    "ISO2022GBK": "gbk",
    "ISO202258": "gb2312",
    "LATIN1": "latin_1",
    "ISO88591": "latin_1",
}
"""Defined terms and misspellings, without case, blanks and marks: `ISO-IR 100` and `ISO_IR_100` are ISO_IR 100."""
_MARKS = re.compile(r"[^0-9A-Z]")


@lru_cache(maxsize=256)
def encodings_named(value: bytes) -> tuple[str, ...]:
    """Python codecs for a value of Specific Character Set; the default repertoire for what nobody knows.

    A set that cannot be extended (UTF-8, GB18030, GBK) is alone, or does not count behind another.
    """
    parts = [part.strip(" \0") for part in value.decode("latin-1").split("\\")]
    terms = [_MARKS.sub("", part.upper()) for part in parts]
    if terms[0] in _STAND_ALONE:
        return (_STAND_ALONE[terms[0]],)
    return tuple(
        _TERMS.get(term) or _codec(part)
        for term, part in zip(terms, parts, strict=True)
        if term not in _STAND_ALONE
    )


_ASCII = (b"+AEE-~{VP~} " + bytes(range(0x20, 0x7F)), b"xn--mnchen-3ya")
"""Read otherwise by codecs such as UTF-7, HZ and IDNA, in which other letters are written with these."""


def _codec(term: str) -> str:
    """A codec of Python's that somebody wrote as a term, else the default: also for one that hides ASCII letters."""
    try:
        harmless = all(text.decode(term) == text.decode("ascii") for text in _ASCII)
    except (LookupError, ValueError):
        return DEFAULT_ENCODING
    return term if harmless else DEFAULT_ENCODING


def decode_extended(value: bytes, encodings: Sequence[str], delimiters: set[int]) -> str:
    """Text with escape sequences (PS3.5 6.1.2.4, 6.1.2.5); `delimiters` end what an escape sequence began.

    Raises:
        UnicodeError, LookupError: it is not text in these character sets.
    """
    from pydicom.charset import decode_bytes

    return decode_bytes(value, encodings, delimiters)
