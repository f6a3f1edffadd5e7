"""The words in which a De-identification Profile speaks: actions, options of PS3.15 E.3, date modes."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from fiona_dagster.domain.deid.dictionary import standard_vr

DateMode = Literal["keep", "per_project", "per_participant", "remove", "year"]
"""What a project does to dates: the two Retain Longitudinal Temporal Information options, or neither."""

TEXT_VRS = frozenset({"CS", "LO", "LT", "SH", "ST", "UC", "UT"})
"""VRs whose values can be cleaned as free text."""
TECHNICAL_VRS = TEXT_VRS | {"UR"}
"""VRs whose values stay only as technical text, where no option or override keeps them."""


class Code(StrEnum):
    """What happens to an attribute. Items of a kept sequence are each treated by their own codes."""

    KEEP = "keep"
    CLEAN = "clean"
    """Free text stays as far as it is known not to identify (PS3.15 action C)."""
    REMOVE = "remove"
    EMPTY = "empty"
    REPLACE = "replace"
    UID = "uid"
    DATE = "date"
    TECHNICAL = "technical"
    """Technical text and code strings stay as far as they are known to name nobody; no override can choose it."""
    CSA = "csa"
    """A Siemens CSA header: rewritten with its safe elements; private elements only."""


class Option(StrEnum):
    """Options of PS3.15 E.3 that a profile may choose; the names are the table's columns where it has one.

    The two options on dates are not here: a project's `date_mode` chooses them.
    """

    CLEAN_PIXEL_DATA = "clean_pixel_data"
    CLEAN_RECOGNIZABLE_VISUAL_FEATURES = "clean_recognizable_visual_features"
    CLEAN_GRAPHICS = "clean_graphics"
    CLEAN_STRUCTURED_CONTENT = "clean_structured_content"
    CLEAN_DESCRIPTORS = "clean_descriptors"
    RETAIN_PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
    RETAIN_DEVICE_IDENTITY = "retain_device_identity"
    RETAIN_INSTITUTION_IDENTITY = "retain_institution_identity"
    RETAIN_UIDS = "retain_uids"
    RETAIN_SAFE_PRIVATE = "retain_safe_private"


def effective_vr(tag: int, declared: str) -> str:
    """The VR to treat an element by: the declared one, else the dictionary's (`US or SS` where it depends)."""
    return declared if declared and declared != "UN" else (standard_vr(tag) or "UN")


def is_removed_group(tag: int) -> bool:
    """Whether the tag's group never stands in a copy's data set: private, command, directory, curve, overlay,
    and what comes behind the pixels (padding, signatures)."""
    group = tag >> 16
    return (
        bool(group & 1)
        or group < 0x0008
        or (group >> 8 in {0x50, 0x60, 0x7F} and group != 0x7FE0)
        or group > 0x7FE0
    )
