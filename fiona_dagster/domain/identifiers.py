"""The names by which things are known, as types of their own so that they cannot be mixed up."""

from __future__ import annotations

import re
from typing import NewType

StudyInstanceUID = NewType("StudyInstanceUID", str)
SeriesInstanceUID = NewType("SeriesInstanceUID", str)
SOPInstanceUID = NewType("SOPInstanceUID", str)

StudyKey = NewType("StudyKey", str)
"""`YYYYMMDD-<12 hex>`: date of arrival and a random part. The only name of a study in Dagster and in logs."""

UID_MAXIMUM_LENGTH = 64
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_STUDY_KEY = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_DIGITS_AND_DOTS = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def modality_code(value: str) -> str:
    """A Modality that may be shown: a Code String (PS3.5 6.2) as it is, nothing where there is none, else OT."""
    stripped = value.strip(" \0")
    return stripped if not stripped or _CODE.fullmatch(stripped) else "OT"


def is_valid_uid(value: str) -> bool:
    """Whether `value` is a UID by PS3.5 section 9.1: at most 64 characters, no leading zeros."""
    return len(value) <= UID_MAXIMUM_LENGTH and bool(_UID.fullmatch(value))


def is_study_key(value: str) -> bool:
    """Whether `value` has the form of a ledger key."""
    return bool(_STUDY_KEY.fullmatch(value))


def is_safe_uid_path(value: str) -> bool:
    """Whether `value` may become part of a path: digits and dots only, no traversal.

    Laxer than `is_valid_uid`: scanners send UIDs with leading zeros, and losing their images helps nobody.
    """
    return len(value) <= UID_MAXIMUM_LENGTH and _DIGITS_AND_DOTS.fullmatch(value) is not None
