"""The forms in which a rule file names what it reads.

["ClassifyType"]                      the types found for the series
["NumSlices"]                         a field of the series JSON, else a DICOM keyword
["0x08", "0x70"]                      group and element
["0x08", "0x08", 2]                   one value of a multi-value, counted from 0
["SharedFunctionalGroupsSequence", "PlaneOrientationSequence", "ImageOrientationPatient"]
[["0x5200", "0x9229"], ["0x20", "0x9116"], ["0x20", "0x37"]]
                                      through sequences; an index after a sequence picks an item
"""

from __future__ import annotations

import difflib
from typing import Any

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword

from fiona_dagster.domain import series_json
from fiona_dagster.domain.rules.model import Attribute, JsonField, Source, Step, TypesFound


class UnknownTagError(ValueError):
    """A tag that names nothing; the message says what is wrong."""


def parse_tag(written: Any) -> Source:
    """What a rule's `tag` names.

    Raises:
        UnknownTagError: it is not one of the forms, or names no attribute.
    """
    if not isinstance(written, list) or not written:
        raise UnknownTagError('a tag is a list, like ["Modality"] or ["0x08", "0x60"]')
    if written == ["ClassifyType"]:
        return TypesFound()
    if len(written) == 1 and written[0] in series_json.NAMES:
        return JsonField(written[0])
    if all(isinstance(one, list) for one in written):
        return Attribute(tuple(step for one in written for step in _steps(one)))
    return Attribute(_steps(written))


def looks_like_tag(value: Any) -> bool:
    """Whether a rule's `value` is meant as a tag: a list with a name or a hexadecimal number in front."""
    if not isinstance(value, list) or not value:
        return False
    first = value[0][0] if isinstance(value[0], list) and value[0] else value[0]
    return isinstance(first, str) and (_is_hexadecimal(first) or not _is_decimal(first))


def _steps(written: list[Any]) -> tuple[Step, ...]:
    """Names, or pairs of numbers, each with an optional index behind it."""
    steps: list[Step] = []
    rest = list(written)
    while rest:
        tag, rest = _one_tag(rest)
        index = None
        if rest and not _begins_tag(rest):
            index = _number(rest.pop(0))
            if index is None:
                raise UnknownTagError("an index must be a whole number")
        steps.append(Step(tag, index))
    return tuple(steps)


def _one_tag(rest: list[Any]) -> tuple[int, list[Any]]:
    first = rest[0]
    group = _number(first)
    if group is not None:
        element = _number(rest[1]) if len(rest) > 1 else None
        if element is None:
            raise UnknownTagError('group and element stand together, like "0x08", "0x60"')
        if not (0 <= group <= 0xFFFF and 0 <= element <= 0xFFFF):
            raise UnknownTagError("group and element go from 0x0000 to 0xFFFF")
        return group << 16 | element, rest[2:]
    if not isinstance(first, str):
        raise UnknownTagError("a tag is made of names and numbers")
    tag = tag_for_keyword(first)
    if tag is None:
        raise UnknownTagError(f'"{first}" is no field of the series JSON and no DICOM keyword{_meant(first)}')
    return int(tag), rest[1:]


def _begins_tag(rest: list[Any]) -> bool:
    """Whether an attribute begins here, not an index: a name, or a hexadecimal number before another number."""
    first = rest[0]
    if _number(first) is None:
        return isinstance(first, str)
    return _is_hexadecimal(first) and len(rest) > 1 and _number(rest[1]) is not None


def _is_hexadecimal(word: Any) -> bool:
    return isinstance(word, str) and word.lower().startswith("0x") and _number(word) is not None


def _number(word: Any) -> int | None:
    if isinstance(word, bool) or not isinstance(word, str | int):
        return None
    try:
        return word if isinstance(word, int) else int(word, 0)
    except ValueError:
        return None


def _is_decimal(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _meant(name: str) -> str:
    known = (*series_json.NAMES, *(entry[4] for entry in DicomDictionary.values()))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f' (did you mean "{close[0]}"?)' if close else ""
