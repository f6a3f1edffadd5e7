"""The end of a project as DataTransferProjects tracks it (FIONA's `project_end_*`): who took which step, and when.

What FIONA's fields hold is not public; here each is a line of text, and `project_end_state` is new.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Mapping

from fiona_dagster.domain.project_life import STEPS, EndStep, StepTaken

STATE = "project_end_state"
FIELDS: Mapping[EndStep, str] = {
    EndStep.REQUESTED: "project_end_request",
    EndStep.LOCKED: "project_end_locked",
    EndStep.EXPORTED: "project_end_data_forwarded",
    EndStep.CONFIRMED: "project_end_confirm",
    EndStep.DELETED: "project_end_delete_sign",
}
"""The field of each step."""
_TEXT = frozenset({"text", "notes"})
_CHOICE = frozenset({"dropdown", "radio"})
_OURS = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2} ")


def end_fields(steps: Iterable[StepTaken]) -> dict[str, str]:
    """Values of all fields; blank where a step was not taken. Times are local, as those of REDCap are."""
    taken = {one.step: one for one in steps}
    reached = max((STEPS.index(step) + 1 for step in taken), default=0)
    return {
        STATE: str(reached),
        **{field: _line(taken[step]) if step in taken else "" for step, field in FIELDS.items()},
    }


def writable_fields(dictionary: Iterable[Mapping[str, object]]) -> set[str]:
    """Those of the fields that a live project has so that they take our values: a site may have made them otherwise."""
    kinds = {str(row["field_name"]): row for row in dictionary}
    fit = {
        field
        for field in FIELDS.values()
        if field in kinds
        and kinds[field]["field_type"] in _TEXT
        and not kinds[field].get("text_validation_type_or_show_slider_number")
    }
    return fit | ({STATE} if STATE in kinds and kinds[STATE]["field_type"] in _CHOICE else set())


def news(
    wanted: Mapping[str, str], stored: Mapping[str, object], writable: Collection[str]
) -> dict[str, str]:
    """What REDCap does not say yet; a blank stands for what is to be erased. What people wrote themselves stays."""
    known = {field: " ".join(str(stored.get(field) or "").split()) for field in writable}
    return {
        field: value
        for field, value in wanted.items()
        if field in writable
        and value != known[field]
        and (field == STATE or not known[field] or _OURS.match(known[field]))
    }


def _line(one: StepTaken) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.at))
    return " ".join(f"{when} {one.who} {one.detail}".split())
