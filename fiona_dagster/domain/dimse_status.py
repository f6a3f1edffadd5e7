"""The DIMSE Statuses that we return, by name (PS3.4 annex B.2.3 and PS3.7 annex C)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """C-STORE and general DIMSE Statuses."""

    SUCCESS = 0x0000
    REFUSED_NOT_AUTHORISED = 0x0124  # PS3.7 C.5.13
    PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.17
    DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.8
    OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3: refused, the sender keeps its copy and may try again
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900  # PS3.4 B.2.3
    CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3
    CANNOT_UNDERSTAND_NO_STUDY_UID = 0xC101  # ours, in the range 0xCxxx that PS3.4 B.2.3 leaves to us
    CANNOT_UNDERSTAND_NO_SERIES_UID = 0xC102
    CANNOT_UNDERSTAND_NO_SOP_UID = 0xC103
    CANNOT_UNDERSTAND_NOT_DICOM = 0xC104
    CANNOT_UNDERSTAND_UNSAFE_UID = 0xC105
    CANNOT_UNDERSTAND_OTHER_STUDY = 0xC106
    OBJECT_TOO_LARGE = 0xC107


REASONS: dict[Status, str] = {
    Status.REFUSED_NOT_AUTHORISED: "this caller may not store instances here",
    Status.PROCESSING_FAILURE: "the receiver failed",
    Status.DUPLICATE_SOP_INSTANCE: "the SOP Instance UID is known with other content; kept aside",
    Status.OUT_OF_RESOURCES: "the receiver has no room; send again later",
    Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS: "the data set's SOP UIDs are not those of the request",
    Status.CANNOT_UNDERSTAND: "the data set is incomplete or broken",
    Status.CANNOT_UNDERSTAND_NO_STUDY_UID: "the data set has no Study Instance UID",
    Status.CANNOT_UNDERSTAND_NO_SERIES_UID: "the data set has no Series Instance UID",
    Status.CANNOT_UNDERSTAND_NO_SOP_UID: "the data set has no SOP Instance UID",
    Status.CANNOT_UNDERSTAND_NOT_DICOM: "the content is not DICOM",
    Status.CANNOT_UNDERSTAND_UNSAFE_UID: "a UID holds other characters than digits and dots, or too many",
    Status.OBJECT_TOO_LARGE: "the data set is larger than this receiver takes",
    Status.CANNOT_UNDERSTAND_OTHER_STUDY: "the data set is of another study than the request names",
}
"""What a Status means, for the quarantine and as Error Comment (LO, at most 64 characters are sent)."""
