"""Which projects have copies out there that their present De-identification Profile or engine would make otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fiona_dagster.adapters.ledger.stale import Stale, stale, stale_with_images
from fiona_dagster.domain.deid.method import method_digest

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.transfer import Transfer
    from fiona_dagster.settings import Settings


def stale_transfers(ledger: Ledger, settings: Settings, projects: Iterable[Project]) -> dict[str, Stale]:
    """Counts by project, of those that have any."""
    counts = {one.name: stale(ledger, *_present(settings, one)) for one in projects}
    return {name: count for name, count in sorted(counts.items()) if count.transfers}


def stale_transfers_of(ledger: Ledger, settings: Settings, project: Project) -> list[Transfer]:
    """A project's stale transfers that can be made anew: their images are still here."""
    return [
        ledger.transfers.get(number) for number in stale_with_images(ledger, *_present(settings, project))
    ]


def _present(settings: Settings, project: Project) -> tuple[str, str, str, list[str]]:
    """A project's name, present method, and the places that its copies go to."""
    places = [one.name for one in project.destinations]
    return project.name, method_digest(project.profile, project), str(settings.research_pacs), places
