"""Participants by auto-ID: chosen in the ledger, so that no two get one name, and shown in REDCap's AutoID."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from fiona_dagster.domain.auto_id import auto_id_hash, fiona_hash
from fiona_dagster.domain.participant_patterns import free_name, name_space

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.ledger.projects import AutoId
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry
    from fiona_dagster.domain.project import Project

_DRAWN = "1"
"""`autoid_method`: drawn from the naming rule."""
ROLE = "AutoID"


def participant_of(
    ledger: Ledger, registry: RedcapRegistry, project: Project, patient_id: str, key: bytes, *, now: float
) -> str:
    """The participant of a patient in a project: the one that was given, also by a FIONA before, else a new one.

    Args:
        ledger: where it is chosen, in one transaction.
        registry: whose AutoID, CouplingList and research project hold names that are in use.
        project: with auto-ID.
        patient_id: PatientID as received, not empty.
        key: of the site.
        now: seconds since the epoch.

    Raises:
        Permanent: the naming rule has no free name left.
        Transient: REDCap does not say which names are in use.
    """
    mine = auto_id_hash(project.name, patient_id, key)
    for one in ledger.projects.auto_ids(project.name):
        if one.patient_hash == mine:
            return one.participant
    rows = [row for row in _rows(registry) if row.get("autoid_project_name") == project.name]
    given = {
        str(row.get("autoid_hash", "")): str(row["autoid_value"]) for row in rows if row.get("autoid_value")
    }
    earlier = given.get(mine) or given.get(fiona_hash(patient_id), "")
    coupled = {one.participant for one in registry.coupling_entries() if one.project == project.name}
    used = {*given.values(), *coupled, *_records(registry, project)}

    def choose(taken: Collection[str]) -> str:
        if earlier and project.participant_problem(earlier) is None:
            return earlier
        space = name_space(project.participant_pattern)
        return free_name(
            space, {*taken, *used}, lambda name: project.participant_problem(name) is None, secrets.randbelow
        )

    return ledger.projects.give_auto_id(project.name, mine, choose, now=now).participant


def tell_auto_ids(ledger: Ledger, registry: RedcapRegistry) -> int:
    """Write what the ledger gave and REDCap's AutoID does not have; returns how many rows."""
    news = ledger.projects.auto_ids(unregistered=True)
    if not news:
        return 0
    project = registry.client(ROLE)
    columns = set(project.field_names) | {"autoid_complete"}
    rows = [{name: value for name, value in _row(one).items() if name in columns} for one in news]
    written = project.write_rows(rows)
    ledger.projects.auto_ids_registered([one.id for one in news])
    return written


def _row(one: AutoId) -> dict[str, str]:
    return {
        "record_id": f"{one.project}-{one.patient_hash[:20]}",  # the same whoever writes it, and how often
        "autoid_project_name": one.project,
        "autoid_hash": one.patient_hash,
        "autoid_value": one.participant,
        "autoid_method": _DRAWN,
        "autoid_key_version": "1",
        "autoid_date": time.strftime("%Y-%m-%d %H:%M", time.localtime(one.made_at)),
        "autoid_complete": "2",
    }


def _rows(registry: RedcapRegistry) -> list[dict[str, object]]:
    return registry.client(ROLE).rows()


def _records(registry: RedcapRegistry, project: Project) -> set[str]:
    """Names of the records in the project's own REDCap, where it has one."""
    if not registry.has_research_project(project.name, project.redcap_token_ref):
        return set()
    client = registry.research_project(project.name, project.redcap_token_ref, project.redcap_id)
    return set(client.record_names())
