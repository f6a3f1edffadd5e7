"""Text in any Specific Character Set becomes text in UTF-8 (ISO_IR 192), the only one that copies are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from fiona_dagster.domain.deid.character_sets import (
    DEFAULT_ENCODING,
    LATIN,
    decode_extended,
    encodings_named,
)
from fiona_dagster.domain.deid.elements import DataSet

OUTPUT_CHARACTER_SET = "ISO_IR 192"
BY_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set governs (PS3.5 6.1.2.3)."""
SPECIFIC_CHARACTER_SET = 0x00080005
SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})
"""VRs in which a backslash is text."""
TEXT = BY_CHARACTER_SET | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_DELIMITERS = {0x0D, 0x0A, 0x09, 0x0C}
_BETWEEN_VALUES = _DELIMITERS | {0x5C}
_ESCAPES = re.compile(r"\x1b(?:\$[()]?[A-Z@]|[()-][A-Z])")
"""Escape sequences that the decoder leaves: pydicom's does with that of ISO 2022 IR 58."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


def encodings_of(dataset: DataSet, inherited: Sequence[str]) -> Sequence[str]:
    """Python encodings that govern `dataset`: its own Specific Character Set, else its parent's."""
    if SPECIFIC_CHARACTER_SET not in dataset.places:
        return inherited
    return encodings_named(dataset.value(SPECIFIC_CHARACTER_SET))


def decode(value: bytes, vr: str, encodings: Sequence[str]) -> str | None:
    """`value` as text, None where it is not text in its character set.

    Padding at the end is gone. A character set that lies is common: valid UTF-8 is taken as that where the declared
    set is wrong, and where none or a Latin one is declared, in which every byte is some letter.
    """
    if value.isascii() and b"\x1b" not in value:
        text = value.decode("ascii").rstrip(" \0")
        return text if text.isprintable() else _CONTROLS.sub("", text)
    used = encodings if vr in BY_CHARACTER_SET else [DEFAULT_ENCODING]
    try:
        if b"\x1b" not in value:
            as_utf8 = _as_utf8(value) if used[0] in LATIN else None
            if as_utf8 is not None:
                return as_utf8
            return _CONTROLS.sub("", value.decode(used[0])).rstrip(" \0")
        return _with_extensions(value, vr, used)
    except (UnicodeError, LookupError):
        return _as_utf8(value)


def _with_extensions(value: bytes, vr: str, encodings: Sequence[str]) -> str | None:
    """Text with escape sequences (PS3.5 6.1.2.5); None where no set that has any was declared."""
    if len(encodings) == 1 and encodings[0] in LATIN:
        return None
    delimiters = {0x5E, 0x3D} | _BETWEEN_VALUES if vr == "PN" else _BETWEEN_VALUES
    text = decode_extended(value, encodings, delimiters if vr not in SINGLE_VALUED else _DELIMITERS)
    if "�" in text:
        return _as_utf8(value)
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).rstrip(" \0")


def readings(value: bytes, vr: str, encodings: Sequence[str]) -> list[str]:
    """`value` in every plausible character set: the declared one, UTF-8 where it is valid, else Latin-1.

    Latin-1 is plausible for what is no text in its own set, and beside other sets of one byte a character. Text that
    was taken for Latin-1 on its way and encoded twice is read as it was before, too.
    """
    declared, as_utf8 = decode(value, vr, encodings), _as_utf8(value)
    found = [text for text in (declared, as_utf8, _once_encoded(as_utf8)) if text is not None]
    single_byte = declared is not None and len(declared) == len(value.rstrip(b" \0")) and b"\x1b" not in value
    if as_utf8 is None and (declared is None or single_byte):
        found.append(_CONTROLS.sub("", value.decode("latin-1")).rstrip(" \0"))
    return list(dict.fromkeys(found))


def _once_encoded(text: str | None) -> str | None:
    try:
        return None if text is None else _as_utf8(text.encode("latin-1"))
    except UnicodeEncodeError:
        return None


def _as_utf8(value: bytes) -> str | None:
    try:
        return _CONTROLS.sub("", value.decode("utf-8")).rstrip(" \0")
    except UnicodeDecodeError:
        return None


def encode(text: str) -> bytes:
    """`text` in the character set of copies, not padded."""
    return text.encode("utf-8")


def split(text: str, vr: str) -> list[str]:
    """The values of a text element."""
    return [text] if vr in SINGLE_VALUED else text.split("\\")


def first_text(dataset: DataSet, tag: int) -> str:
    """First value of a text element as it stands in the file, stripped; '' where it is absent or not text."""
    return _ascii_values(dataset.value(tag))[0]


def all_text(dataset: DataSet, tag: int) -> list[str]:
    """Values of an element of ASCII text, stripped; none where it is absent, empty or not text."""
    if tag not in dataset:
        return []
    return list(_ascii_values(dataset.value(tag)))


@lru_cache(maxsize=4096)
def _ascii_values(value: bytes) -> tuple[str, ...]:
    return tuple(part.strip(" \0") for part in (decode(value, "UI", ()) or "").split("\\"))
