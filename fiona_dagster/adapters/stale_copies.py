"""Which projects have copies out there that their present De-identification Profile or engine would make otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fiona_dagster.adapters.ledger.stale import Stale, stale
from fiona_dagster.domain.deid.method import method_digest

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.project import Project
    from fiona_dagster.settings import Settings


def stale_transfers(ledger: Ledger, settings: Settings, projects: Iterable[Project]) -> dict[str, Stale]:
    """Counts by project, of those that have any."""
    counts = {
        project.name: stale(
            ledger,
            project.name,
            method_digest(project.profile, project),
            str(settings.research_pacs),
            [one.name for one in project.destinations],
        )
        for project in projects
    }
    return {name: count for name, count in sorted(counts.items()) if count.transfers}
