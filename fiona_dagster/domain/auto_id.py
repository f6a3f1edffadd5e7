"""Auto-ID: a project gives its patients participants of its own making, drawn from its naming rule.

The same patient has the same participant in a project, whatever the study (populateAutoID.py, fiona-behaviour 3.3).
Patients are told apart by keyed hashes: FIONA's plain ones can be undone by trying all national identity numbers, and
are read only so that a site that moves over goes on with the participants it has given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.participant_patterns import NotCountable, name_space
from fiona_dagster.domain.registration import patient_hash

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
_YES, _NO = {"1", "yes", "true", "on"}, {"", "0", "no", "false", "off"}
PROBES = 64


def auto_id_title(row: Mapping[str, Any], name: str, place: str) -> str:
    """The called AE title whose unclaimed studies a project names; '' where it does not.

    Raises:
        ConfigurationError: auto-ID without an AE title.
    """
    asked = str(row.get("project_use_autoid") if row.get("project_use_autoid") is not None else "")
    if asked.strip().lower() in _NO:
        return ""
    title = str(row.get("project_autoid_aetitle") or "").strip()
    if asked.strip().lower() not in _YES or not _AE_TITLE.fullmatch(title):
        raise ConfigurationError(
            f"{name} gives participants by auto-ID, but project_autoid_aetitle is no AE title", place=place,
            remedy="write the called AE title whose studies they are for, 1 to 16 characters",
        )  # fmt: skip
    return title


def check_names(pattern: str, problem: Callable[[str], str | None], name: str, place: str) -> None:
    """Refuse a naming rule that auto-ID cannot draw from: now, not when the first patient comes.

    Args:
        pattern: `project_patient_naming`.
        problem: why a name may not be used in the project, or None.
        name: of the project.
        place: for messages.

    Raises:
        ConfigurationError: no name can be made.
    """
    try:
        space = name_space(pattern)
    except NotCountable as error:
        raise ConfigurationError(
            f"{name} gives participants by auto-ID, but its naming rule {error}", place=place,
            remedy=r"write a rule with a fixed number of characters, e.g. HEART-\d{4}",
        ) from error  # fmt: skip
    numbers = {space.size * step // PROBES for step in range(PROBES)}
    if all(problem(space.name(number)) for number in numbers):
        raise ConfigurationError(
            f"{name} gives participants by auto-ID, but no name that its rule makes may be used", place=place,
            remedy="names must match the whole rule, and be no date, e-mail address or identity number",
        )  # fmt: skip


def auto_id_hash(project: str, patient_id: str, key: bytes) -> str:
    """`autoid_hash`: HMAC-SHA-256 of project and PatientID with the site's key; another one in every project.

    64 hexadecimal digits; '' for an empty PatientID, by which nobody is known again.
    """
    hashed = patient_hash(patient_id, key)
    return patient_hash(f"autoid\x1f{project}\x1f{hashed}", key) if hashed else ""


def fiona_hash(patient_id: str) -> str:
    """FIONA's `autoid_hash`: SHA-512 of the SHA-256 of the PatientID, both hexadecimal; only to be compared with."""
    inner = hashlib.sha256(patient_id.strip(" \0").encode()).hexdigest()
    return hashlib.sha512(inner.encode()).hexdigest()
