"""What reception needs of a data set, from the bytes of its values (PS3.5 sections 6.1 and 6.2)."""

from __future__ import annotations

import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes

from fiona_dagster.domain.reception import InstanceHeader

_UIDS_AND_CODES = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x00080020: "study_date",
    0x00080030: "study_time",
    0x00080060: "modality",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_TEXTS = {
    0x00080050: "accession_number",
    0x00080070: "manufacturer",
    0x00080080: "institution_name",
    0x00081030: "study_description",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
}
_SPECIFIC_CHARACTER_SET = 0x00080005
WANTED = frozenset({*_UIDS_AND_CODES, *_TEXTS, _SPECIFIC_CHARACTER_SET})
"""Tags of the attributes whose values are read."""
LONGEST_VALUE = 65_536
"""Bytes of a value that is read."""
_LONGEST_CHARACTER_SET = 256
_REPEATED = 256
"""Texts shorter than this stand in one image as in the next, and are decoded once."""


def instance_header(values: dict[int, bytes]) -> InstanceHeader:
    """The attributes that were found, as text without padding and control characters."""
    found = {name: _uid_or_code(name, values[tag]) for tag, name in _UIDS_AND_CODES.items() if tag in values}
    encodings = _encodings(values.get(_SPECIFIC_CHARACTER_SET, b"")[:_LONGEST_CHARACTER_SET])
    for tag, name in _TEXTS.items():
        if tag in values:
            value = values[tag]
            found[name] = (
                _text(value, encodings) if len(value) < _REPEATED else _text.__wrapped__(value, encodings)
            )
    return InstanceHeader(**found)


def _uid_or_code(name: str, value: bytes) -> str:
    """A UID keeps what does not belong in it, so that nothing is filed under another one than it has."""
    text = value.decode("ascii", "replace")
    return text.strip("\0 ") if name.endswith("_uid") else _printable(text)


@lru_cache(maxsize=64)
def _encodings(value: bytes) -> tuple[str, ...]:
    names = [_printable(name) for name in value.decode("ascii", "replace").split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they print the value
        try:
            return tuple(convert_encodings(names))
        except (LookupError, ValueError):
            return ("latin_1",)


@lru_cache(maxsize=256)
def _text(value: bytes, encodings: tuple[str, ...]) -> str:
    return _printable(_decoded(value, encodings))


def _decoded(value: bytes, encodings: tuple[str, ...]) -> str:
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(value, list(encodings), {ord("^"), ord("="), ord("\\")})
        except (LookupError, ValueError):
            return value.decode("latin_1")


def _printable(text: str) -> str:
    """Without padding and control characters, which some databases refuse."""
    text = text.strip("\0 ")
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isprintable())
    return text.strip()
