"""The DIMSE Statuses that we return, by name (PS3.4 annex B.2.3 and PS3.7 annex C)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """C-STORE and general DIMSE Statuses."""

    SUCCESS = 0x0000
    REFUSED_NOT_AUTHORISED = 0x0124  # PS3.7 C.5.13
    PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.17
    OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3: refused, the sender keeps its copy and may try again
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900  # PS3.4 B.2.3
    CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3
    CANNOT_UNDERSTAND_NO_STUDY_UID = 0xC101  # ours, in the range 0xCxxx that PS3.4 B.2.3 leaves to us
    CANNOT_UNDERSTAND_NO_SERIES_UID = 0xC102
    CANNOT_UNDERSTAND_NO_SOP_UID = 0xC103
    CANNOT_UNDERSTAND_NOT_DICOM = 0xC104
    CANNOT_UNDERSTAND_UNSAFE_UID = 0xC105
