"""A false alarm of the residual search that a person has looked at: the place may stand as it is, in one transfer.

A patient is called Lung, and the kernel is LUNG. Only what the search found in an attribute can be accepted, by its
place; whatever else is wrong holds the study all the same. A decision is about one revision made by one method: other
content or another way of making it asks anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError

CHECK = "no_removed_value_left"
_FOUND = " has an original value"


@dataclass(frozen=True)
class Acceptance:
    """A place that a person has accepted in a transfer. `because` is theirs, and stays with the ledger."""

    place: str
    because: str
    who: str
    at: float


def place_of(problem: str) -> str:
    """The place (keywords joined by dots) of what the residual search found; '' for any other problem."""
    place, found, rest = problem.partition(_FOUND)
    return place if found and not rest and " " not in place else ""


def split_accepted(problems: Iterable[str], accepted: frozenset[str]) -> tuple[list[str], list[str]]:
    """The problems that remain, and the places of those that were accepted, one for each."""
    remaining, places = [], []
    for problem in problems:
        place = place_of(problem)
        if place and place in accepted:
            places.append(place)
        else:
            remaining.append(problem)
    return remaining, places


def acceptable_places(checks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The places that can be accepted in a verification as the ledger has it; none where it passed."""
    found = checks.get(CHECK, {}).get("places", ())
    return sorted({place for problem in found if (place := place_of(str(problem)))})


def wanted_places(text: str, found: Iterable[str]) -> list[str]:
    """The places that somebody names, separated by commas.

    Raises:
        ConfigurationError: one of them is not among those that were found.
    """
    known = list(found)
    wanted = [one.strip() for one in text.split(",") if one.strip()]
    unknown = [one for one in wanted if one not in known]
    if unknown or not wanted:
        raise ConfigurationError(
            f"{', '.join(unknown)}: nothing was found there" if unknown else "no place is named",
            remedy=f"name one of: {', '.join(known)}"
            if known
            else "the study is not held for an original value in an attribute; `fiona status` says why it is",
        )
    return list(dict.fromkeys(wanted))
