"""May this instance be released at all? Object types, project rules, and text that its pixels may carry.

Object types without a tested handler are held, and so is an instance whose pixels nobody vouches for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.table import SopClassRow, is_transfer_syntax, rows, sop_classes
from fiona_dagster.domain.deid.text import all_text, first_text
from fiona_dagster.domain.project import Project

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
MODALITY = 0x00080060
_BURNED_IN_ANNOTATION = 0x00280301
_PHOTOMETRIC_INTERPRETATION, _IMAGE_TYPE = 0x00280004, 0x00080008
_NAMES = {0x00080008: "ImageType", 0x00080060: "Modality", 0x00080064: "ConversionType"}
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True)
class Verdict:
    """Why an instance is not released. `reason` holds no patient data."""

    disposition: Literal["held", "excluded"]
    reason: str


def admit(dataset: Dataset, transfer_syntax_uid: str, project: Project) -> Verdict | None:
    """None where the instance may be de-identified and released."""
    for tag, name in (
        (SOP_CLASS_UID, "SOP Class UID"),
        (SOP_INSTANCE_UID, "SOP Instance UID"),
        (STUDY_INSTANCE_UID, "Study Instance UID"),
        (SERIES_INSTANCE_UID, "Series Instance UID"),
    ):
        if not first_text(dataset, tag):
            return Verdict("held", f"the instance has no {name}")
    row = sop_classes().get(first_text(dataset, SOP_CLASS_UID))
    if row is None:
        return Verdict("held", "object type without a tested handler")
    if row.handling != "clean":
        return Verdict("held", f"object type without a tested handler: {row.keyword} ({row.reason})")
    if not is_transfer_syntax(transfer_syntax_uid):
        return Verdict("held", "transfer syntax that the standard does not know")
    excluded = _excluded(row, first_text(dataset, MODALITY), project)
    if excluded is not None:
        return excluded
    reason = pixel_text_reason(dataset, row)
    return Verdict("held", reason) if reason and not project.pixels_are_clean else None


def _excluded(row: SopClassRow, modality: str, project: Project) -> Verdict | None:
    if project.drop_presentation_states and (row.kind == "presentation_state" or modality == "PR"):
        return Verdict("excluded", "project rule: no presentation states")
    if project.drop_secondary_capture and row.kind == "secondary_capture":
        return Verdict("excluded", "project rule: no secondary captures")
    return None


def pixel_text_reason(  # noqa: PLR0911 — one sentence a rule, in their order
    dataset: Dataset, row: SopClassRow
) -> str:
    """Why the pixels may carry burned-in text, or ''.

    Burned In Annotation decides where it speaks; else the object type, the photometric interpretation of objects
    that are grey by nature (colour is a copy of a screen), and the values listed in `burned_in.csv`.
    """
    prefix = "pixels may carry burned-in text: "
    if _overlay_in_pixels(dataset):
        return prefix + "an overlay lies in unused bits of the pixel data"
    annotation = first_text(dataset, _BURNED_IN_ANNOTATION).upper()
    if annotation == "YES":
        return prefix + "BurnedInAnnotation is YES"
    if annotation == "NO" or row.pixel_text == "none":
        return ""
    if row.pixel_text == "possible":
        return prefix + row.keyword
    for tag, name in _NAMES.items():
        for value in all_text(dataset, tag):
            if value.upper() in _telling()[name]:
                return prefix + f"{name} is {value.upper()}"
    if _is_colour(dataset):
        return prefix + "colour image of a modality without colour"
    values = all_text(dataset, _IMAGE_TYPE)
    if row.pixel_text == "secondary" and len(values) > 1 and values[1].upper() == "SECONDARY":
        return prefix + "secondary image"
    return ""


def _is_colour(dataset: Dataset) -> bool:
    interpretation = first_text(dataset, _PHOTOMETRIC_INTERPRETATION).upper()
    return interpretation.startswith(("RGB", "YBR", "ARGB", "CMYK", "HSV"))


def _overlay_in_pixels(dataset: Dataset) -> bool:
    """Retired embedded overlays: a plane without Overlay Data, whose bits are those of the pixels (PS3.3 C.9.2)."""
    return any(
        group << 16 | 0x0100 in dataset and group << 16 | 0x3000 not in dataset for group in _OVERLAY_GROUPS
    )


@cache
def _telling() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {name: set() for name in _NAMES.values()}
    for row in rows("burned_in.csv"):
        found[row["attribute"]].add(row["value"])
    return {name: frozenset(values) for name, values in found.items()}
