"""Clean Recognizable Visual Features (PS3.15 E.3.2) as a policy: what may show a recognizable person is held.

Nothing is blurred or cut away. Photographs and the like are held as object types; volumes from which a face can be
made are held unless their body part is known and is none of the head. Unknown means held.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.table import SopClassRow, rows
from fiona_dagster.domain.deid.text import all_text

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.elements import DataSet

_BODY_PART_EXAMINED = 0x00180015
_DESCRIPTIONS = (
    0x00081030,  # StudyDescription
    0x0008103E,  # SeriesDescription
    0x00180015,  # BodyPartExamined
    0x00181030,  # ProtocolName
    0x00189423,  # AcquisitionProtocolName
    0x00189424,  # AcquisitionProtocolDescription
    0x00321060,  # RequestedProcedureDescription
    0x00400007,  # ScheduledProcedureStepDescription
    0x00400254,  # PerformedProcedureStepDescription
)
_PREFIX = "pixels may show a recognizable person: "


def recognizable_reason(dataset: DataSet, row: SopClassRow) -> str:
    """Why a person may be recognized in the instance or in what is made of its series, or ''."""
    if row.recognizable == "never":
        return ""
    if row.recognizable != "head":
        return _PREFIX + row.keyword
    parts = [part.upper() for part in all_text(dataset, _BODY_PART_EXAMINED) if part]
    if not parts:
        return _PREFIX + "the body part is unknown"
    if not _without_head().issuperset(parts):
        return _PREFIX + "BodyPartExamined is the head, or no known part without it"
    if any(_speaks_of_head(text) for tag in _DESCRIPTIONS for text in all_text(dataset, tag)):
        return _PREFIX + "a description speaks of the head"
    return ""


def _speaks_of_head(text: str) -> bool:
    return _head_words().search(text.casefold()) is not None


@cache
def _without_head() -> frozenset[str]:
    return frozenset(row["value"] for row in rows("recognizable.csv") if row["kind"] == "body_part")


@cache
def _head_words() -> re.Pattern[str]:
    """Stems stand anywhere in a word, short words alone."""
    known = rows("recognizable.csv")
    stems = "|".join(re.escape(row["value"]) for row in known if row["kind"] == "stem")
    words = "|".join(re.escape(row["value"]) for row in known if row["kind"] == "word")
    return re.compile(rf"{stems}|(?<![^\W\d_])(?:{words})(?![^\W\d_])")
