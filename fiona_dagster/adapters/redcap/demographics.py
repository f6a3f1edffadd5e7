"""Sex, birth date and age of a participant, read from its project's own REDCap."""

from __future__ import annotations

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.domain.exports.demographics import FIELDS, Demographics, demographics_of


def read_demographics(project: RedcapProject, participant: str) -> Demographics:
    """What a project's REDCap knows of one participant; blank where it has no such fields or record.

    Raises:
        Permanent: rows contradict each other, or a value cannot be understood.
        Transient: REDCap is down.
    """
    known = set(project.field_names)
    fields = [project.def_field, *(name for name in FIELDS if name in known)]
    # the record is mostly called like the participant; else it is found by first_name, among all
    rows = project.rows(records=[participant], fields=fields)
    found = any(str(row.get(project.def_field)) == participant for row in rows)
    if not found and "first_name" in known:
        rows = project.rows(fields=fields)
    return demographics_of(rows, participant, project.def_field)
