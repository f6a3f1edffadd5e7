"""DataTransferProjects is told where the end of a project stands; the ledger knows, REDCap shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.project_end_fields import STATE, end_fields, news, writable_fields

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry
    from fiona_dagster.domain.project_life import StepTaken

ROLE = "DataTransferProjects"


def tell_ends(ledger: Ledger, registry: RedcapRegistry) -> int:
    """Write the steps of every project's end that REDCap does not show, erase what was called off, and read it back.

    Projects that are not in DataTransferProjects, and fields that it does not have, are left out. Doing it again
    changes nothing.

    Returns: the projects that were written.

    Raises:
        Transient: REDCap does not answer, or does not show what it was told.
    """
    steps = ledger.projects.all_steps()
    project = registry.client(ROLE)
    writable = writable_fields(project.metadata)
    if not writable:
        return 0
    due = _due(steps, registry, writable)
    if not due:
        return 0
    project.write_rows([{"record_id": record, **values} for record, values in due.items()], overwrite=True)
    if _due(steps, registry, writable).keys() & due.keys():
        raise Transient("DataTransferProjects does not show the end of projects that it was told of")
    return len(due)


def _due(
    steps: Mapping[str, Sequence[StepTaken]], registry: RedcapRegistry, writable: set[str]
) -> dict[str, dict[str, str]]:
    """What is to be written, by record."""
    found: dict[str, dict[str, str]] = {}
    fields = ["record_id", "project_name", *sorted(writable)]
    for row in registry.client(ROLE).each_row(fields=fields):
        if row.get("redcap_repeat_instrument"):
            continue
        name = str(row.get("project_name") or row["record_id"]).strip()
        taken = steps.get(name, ())
        # what people wrote into a project whose end is none of ours stays
        if not taken and str(row.get(STATE) or "0") == "0":
            continue
        changed = news(end_fields(taken), row, writable)
        if changed:
            found[str(row["record_id"])] = changed
    return found
