"""What becomes of packages that their destinations have confirmed: section OUTBOX of config.json.

"OUTBOX": {"LEAVEDELIVERED": false, "KEEPDELIVEREDDAYS": 30}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain.configuration_values import flag_of, number_of, object_of, unknown_keys

OUTBOX_KEYS = frozenset({"LEAVEDELIVERED", "KEEPDELIVEREDDAYS"})


@dataclass(frozen=True)
class OutboxTerms:
    """`leave_delivered`: they stay where they are, else they are moved aside (as by FIONA, fiona-behaviour 8).

    `keep_days`: after the last confirmation they are deleted; 0: only when the disk is full.
    """

    leave_delivered: bool = False
    keep_days: float = 30.0


def outbox_terms(content: Mapping[str, Any], *, place: str) -> tuple[OutboxTerms, list[str]]:
    """The section OUTBOX of config.json, and warnings of keys in it that nothing reads.

    Raises:
        ConfigurationError: a value that cannot be understood.
    """
    section, where = object_of(content, "OUTBOX", place=place), f"{place}: OUTBOX"
    terms = OutboxTerms(
        flag_of(section, "LEAVEDELIVERED", place=where),
        number_of(section, "KEEPDELIVEREDDAYS", 30.0, place=where),
    )
    return terms, unknown_keys(section, OUTBOX_KEYS, place=where)
