"""Where to look for text in pixels: decided by what an object says of itself, before any pixel is decoded.

A CT or MR image costs some look-ups in its header. What one image of a series raises is asked of the whole series by
`adapters.pixel_masking`, and the reason is written down with each copy.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.table import SopClassRow, rows
from fiona_dagster.domain.deid.text import all_text, first_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiona_dagster.domain.deid.elements import DataSet
    from fiona_dagster.domain.pixels.policy import PixelPolicy
    from fiona_dagster.domain.pixels.templates import Rectangle

CHECK_BURNED_IN_INFO = "CHECKBURNEDINFO"
"""FIONA's class of series whose pixels are rewritten; a site defines it in classifyRules.json."""
_SHADOW = "(shadow) "
"""How FIONA's own copies of rewritten series begin: they are not rewritten again."""
MAY_CARRY_TEXT, SAYS_YES = "pixels may carry", "BurnedInAnnotation is YES"
"""What the reasons begin with, and one of them."""
_PREFIX = f"{MAY_CARRY_TEXT} burned-in text: "
_BURNED_IN_ANNOTATION = 0x00280301
_PHOTOMETRIC_INTERPRETATION, _IMAGE_TYPE = 0x00280004, 0x00080008
_NAMES = {0x00080008: "ImageType", 0x00080060: "Modality", 0x00080064: "ConversionType"}
_DEVICE = {"Manufacturer": 0x00080070, "ManufacturerModelName": 0x00081090}
_MODALITY = 0x00080060
_LOOKED_AT = {"Modality": _MODALITY, "ImageType": 0x00080008}
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_REGIONS = 0x00186011
_REGION_BORDERS = (0x00186018, 0x0018601A, 0x0018601C, 0x0018601E)
"""RegionLocationMinX0, MinY0, MaxX1, MaxY1: the corners, inclusive (PS3.3 C.8.5.5)."""


def pixel_text_reason(  # noqa: PLR0911 — one sentence a rule, in their order
    dataset: DataSet, row: SopClassRow, policy: PixelPolicy, classified: str = ""
) -> str:
    """Why the pixels may carry burned-in text, or ''.

    Burned In Annotation decides where it speaks; else the object type, the photometric interpretation of objects
    that are grey by nature (colour is a copy of a screen), and the values listed in `burned_in.csv`. What the project
    has masked is looked at also where `where_to_look.csv` says so, which would be too many to hold, and where an
    object type that mostly carries text says NO. Images that the project excludes keep their pixels, but for overlays.
    `classified` is what `classified_reason` says.
    """
    if overlay_bits(dataset):
        return _PREFIX + "an overlay lies in unused bits of the pixel data"
    if keeps_pixels(dataset, policy):
        return ""
    annotation = first_text(dataset, _BURNED_IN_ANNOTATION).upper()
    if annotation == "YES":
        return _PREFIX + SAYS_YES
    if row.pixel_text == "slide":
        return "" if flavor(dataset) == "VOLUME" else _PREFIX + "an image of a slide that is no VOLUME"
    if row.pixel_text == "none" or (annotation == "NO" and not policy.masks_any):
        return ""
    masked = policy.masks_any and policy.masks(row.kind, first_text(dataset, _MODALITY))
    believed = annotation == "NO" and not (masked and row.pixel_text == "possible")
    why = "" if believed else _listed(dataset, row)
    if not why and classified:
        return classified
    if not why and masked:
        why = _device(dataset) or ("" if believed else _looked_at(dataset))
    return _PREFIX + why if why else ""


def keeps_pixels(dataset: DataSet, policy: PixelPolicy) -> bool:
    """Whether the project excludes an image from masking, whatever other images of its series say."""
    return bool(excluded_by(dataset, policy))


def excluded_by(dataset: DataSet, policy: PixelPolicy) -> str:
    """Keyword of the attribute by which the project excludes an image from masking; '' where it does not."""
    tags = (one.tag for one in policy.exclusions if one.matches(all_text(dataset, one.tag)))
    return next(map(keyword_of, tags), "")


def classified_reason(classify_types: Sequence[str], series_description: str) -> str:
    """Why FIONA rewrote the pixels of a series: a class that the site's rules give it; '' where they do not."""
    if CHECK_BURNED_IN_INFO not in classify_types or series_description.startswith(_SHADOW):
        return ""
    return _PREFIX + f"classified as {CHECK_BURNED_IN_INFO}"


def is_of_the_image_alone(reason: str) -> bool:
    """Whether a reason says nothing of the other images of a series: a scout in a series of slices."""
    return reason in {_PREFIX + why for _, why in _where_to_look().get("ImageType", ())}


def flavor(dataset: DataSet) -> str:
    """Value 3 of Image Type: what the image of a slide shows."""
    values = all_text(dataset, _IMAGE_TYPE)
    return values[2].upper() if len(values) > 2 else ""


def overlay_bits(dataset: DataSet) -> int:
    """The bits of a sample in which retired embedded overlays lie: planes without Overlay Data (PS3.3 C.9.2).

    A plane that does not say which bit is its own counts as the highest one, so that it is never missed.
    """
    found = 0
    for group in _OVERLAY_GROUPS:
        if group << 16 | 0x0100 in dataset and group << 16 | 0x3000 not in dataset:
            position = _number(dataset, group << 16 | 0x0102)
            allocated = _number(dataset, 0x00280100) or 16
            found |= 1 << (position if 0 < position < allocated else allocated - 1)
    return found


def ultrasound_regions(dataset: DataSet) -> tuple[Rectangle, ...]:
    """The image areas that an ultrasound object names (SequenceOfUltrasoundRegions), as left, top, width, height.

    Raises:
        Permanent: the sequence is damaged.
    """
    if _REGIONS not in dataset:
        return ()
    found = []
    for item in dataset.items(_REGIONS):
        left, top, right, bottom = (_number(item, tag) for tag in _REGION_BORDERS)
        if right > left and bottom > top:
            found.append((left, top, right - left + 1, bottom - top + 1))
    return tuple(found)


def _listed(dataset: DataSet, row: SopClassRow) -> str:
    if row.pixel_text == "possible":
        return row.keyword
    for tag, name in _NAMES.items():
        for value in all_text(dataset, tag):
            if value.upper() in _telling()[name]:
                return f"{name} is {value.upper()}"
    if _is_colour(dataset):
        return "colour image of a modality without colour"
    values = all_text(dataset, _IMAGE_TYPE)
    if row.pixel_text == "secondary" and len(values) > 1 and values[1].upper() == "SECONDARY":
        return "secondary image"
    return ""


def _device(dataset: DataSet) -> str:
    """A device that is known to write into its images, whatever they say."""
    for attribute, tag in _DEVICE.items():
        for value in all_text(dataset, tag):
            for pattern, why in _where_to_look().get(attribute, ()):
                if re.match(pattern, value, re.IGNORECASE):
                    return why
    return ""


def _looked_at(dataset: DataSet) -> str:
    for attribute in ("Modality", "ImageType"):
        values = {value.upper() for value in all_text(dataset, _LOOKED_AT[attribute])}
        for one, why in _where_to_look().get(attribute, ()):
            if one in values:
                return why
    return ""


def _is_colour(dataset: DataSet) -> bool:
    interpretation = first_text(dataset, _PHOTOMETRIC_INTERPRETATION).upper()
    return interpretation.startswith(("RGB", "YBR", "ARGB", "CMYK", "HSV"))


def _number(dataset: DataSet, tag: int) -> int:
    return int.from_bytes(dataset.value(tag), "little" if dataset.syntax.little else "big")


@cache
def _telling() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {name: set() for name in _NAMES.values()}
    for row in rows("burned_in.csv"):
        found[row["attribute"]].add(row["value"])
    return {name: frozenset(values) for name, values in found.items()}


@cache
def _where_to_look() -> dict[str, list[tuple[str, str]]]:
    """Values by attribute, each with its reason."""
    text = Path(__file__).with_name("where_to_look.csv").read_text(encoding="utf-8")
    found: dict[str, list[tuple[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["attribute"], []).append((row["value"], row["reason"]))
    return found
