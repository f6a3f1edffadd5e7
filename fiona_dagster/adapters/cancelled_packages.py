"""What is left of packages that are not to go anywhere: parts at destinations, and the package in the outbox.

It can be called again at any time: what is gone is found gone, and a destination that is down is met again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fiona_dagster.adapters import cleanup
from fiona_dagster.adapters.destinations import remove_part
from fiona_dagster.adapters.ledger.removed_packages import note_part_gone, note_removed
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.forwarding import SendingState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.ledger.parcels import Parcel
    from fiona_dagster.domain.project import Project
    from fiona_dagster.settings import Settings


@dataclass
class ClearedUp:
    """What was deleted; `problems` are (destination, why a part stays there for now)."""

    parts: int = 0
    packages: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def clear_up(
    ledger: Ledger,
    settings: Settings,
    projects: Mapping[str, Project],
    parcels: Iterable[Parcel],
    *,
    clock: Callable[[], float],
) -> ClearedUp:
    """Delete what is left of those among `parcels` that were cancelled.

    Raises:
        Permanent: the outbox is not where it should be.
    """
    done = ClearedUp()
    for one in parcels:
        if one.state is not SendingState.CANCELLED:
            continue
        done.packages += _remove_package(ledger, settings, one, now=clock())
        project = projects.get(one.project)
        places = {place.name: place for place in project.destinations} if project else {}
        if not one.begun or one.destination not in places or not ledger.parcels.is_taken_out(one):
            continue
        try:
            remove_part(
                places[one.destination], one.name, settings,
                transfer_id=one.transfer_id, breakers=ledger.breakers, clock=clock,
            )  # fmt: skip
        except FionaError as error:
            done.problems.append((one.destination, str(error)))
        else:
            note_part_gone(ledger, one)
            done.parts += 1
    return done


def _remove_package(ledger: Ledger, settings: Settings, one: Parcel, *, now: float) -> bool:
    """Delete a package that goes to no destination any more from the outbox, with a receipt in the ledger."""
    package = settings.layout.outbox / one.name
    if not one.name or not package.is_file():
        return False
    mine = [other for other in ledger.parcels.of_transfer(one.transfer_id) if other.export == one.export]
    if any(other.state is not SendingState.CANCELLED for other in mine):
        return False
    cleanup.remove_exports(settings.layout, [one.name])
    note_removed(ledger, one, now=now)
    return True
