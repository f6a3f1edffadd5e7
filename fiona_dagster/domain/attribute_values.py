"""Values of attributes as rules and the series JSON see them; reading one never raises.

Scanners write values that break their own VR, and pydicom raises on them (with the value in the message).
Such a value is treated as missing: for a rule that asks for it, it is not there in a usable form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom import Dataset, config
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence as DicomSequence

from fiona_dagster.domain.header import Header

Image = Dataset | Header
"""One instance: as pydicom reads it, or only what is wanted of it."""

UNREADABLE = (
    ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError, struct.error,
    BytesLengthException,
)  # fmt: skip
"""What pydicom is known to raise when a value does not fit its VR."""


@contextmanager
def silent_reading() -> Iterator[None]:
    """pydicom neither warns nor logs about values meanwhile: its messages print them."""
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.reading_validation_mode = before


def element_value(image: Image, tag: int) -> Any | None:
    """The value of one attribute, or None where it is absent, empty or unreadable."""
    try:
        if isinstance(image, Dataset):  # noqa: SIM108  two ways, two lines
            value = image[tag].value if tag in image else None
        else:
            value = image.value(tag)
    except UNREADABLE:
        return None
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return None
    return decoded(value)


def decoded(value: Any) -> Any:
    """Text of a private attribute that arrived as bytes (VR UN); bytes that are no text stay bytes."""
    if not isinstance(value, bytes):
        return value
    try:
        text = value.rstrip(b"\0 ").decode("utf-8")
    except UnicodeDecodeError:
        return value
    return text if text.isprintable() else value


def text_of(value: Any | None) -> str:
    """`value` as FIONA's rules see it: `''` when missing, a multi-value as `[0, 256, 256, 0]` or `['A', 'B']`.

    Items of a sequence are not printed.
    """
    if value is None or isinstance(value, Dataset | DicomSequence):
        return ""
    if isinstance(value, list | tuple):
        return str(list(value))
    return str(value)


def members(value: Any | None) -> list[Any]:
    """The values of a multi-value; a single value is a list of one, a missing one of none."""
    if value is None:
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return [value]
