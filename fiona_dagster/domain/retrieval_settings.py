"""`RETRIEVE` of a source in config.json: whether and how studies are fetched from a scanner or archive.

    "RETRIEVE": "off" | "move" | "get"
    "RETRIEVE": {"method": "move", "destination": "FIONA", "discover_days": 0, "modalities": [], "give_up_hours": 24}

Without the key FIONA's control file decides, as it did for moveFromScanner: its second character must be `1`
(fiona-behaviour 1.3). With it, a second character of `0` still stops all retrieval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fiona_dagster.domain.configuration_values import number_of, object_of
from fiona_dagster.domain.errors import ConfigurationError


class Method(StrEnum):
    """How instances come: the source opens an Association to us, or uses ours."""

    MOVE = "move"
    GET = "get"


KEYS = frozenset({"method", "destination", "discover_days", "modalities", "give_up_hours"})


@dataclass(frozen=True)
class RetrieveOptions:
    """How studies of one source are fetched.

    `destination`: the AE title of C-MOVE, by default the site's. `discover_days`: studies with a StudyDate of so many
    last days are looked for, 0 none; with one of `modalities`, empty any. `unless_switched_off`: chosen in
    config.json, so that only the control file's `0` stops it.
    """

    method: Method = Method.MOVE
    destination: str = ""
    discover_days: int = 0
    modalities: tuple[str, ...] = ()
    give_up_seconds: float = 86_400.0
    unless_switched_off: bool = False

    def enabled(self, control: str | None) -> bool:
        """Whether FIONA's control file lets it run; `control` is its content, None where there is no file."""
        flag = (control or "").lstrip()[1:2]
        return flag != "0" if self.unless_switched_off else flag == "1"


def retrieve_options(values: Mapping[str, Any], *, place: str) -> RetrieveOptions | None:
    """The options of a source, None where it is `off`.

    Raises:
        ConfigurationError: a value that cannot be understood.
    """
    given = values.get("RETRIEVE")
    if given is None or given == "":
        return RetrieveOptions()
    place = f"{place}: RETRIEVE"
    if isinstance(given, str):
        return None if given == "off" else RetrieveOptions(_method(given, place), unless_switched_off=True)
    given = object_of(values, "RETRIEVE", place=place)
    unknown = sorted(set(given) - KEYS)
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} is not known", place=place, remedy=f"use {', '.join(sorted(KEYS))}"
        )
    destination, modalities = given.get("destination") or "", given.get("modalities") or []
    if not isinstance(destination, str) or not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]{0,16}", destination):
        raise ConfigurationError(
            "destination cannot be an AE title",
            place=place,
            remedy="use 1 to 16 printable characters, no backslash",
        )
    if not isinstance(modalities, list) or not all(
        isinstance(one, str) and re.fullmatch(r"[A-Z0-9_ ]{1,16}", one) for one in modalities
    ):
        raise ConfigurationError(
            "modalities is no list of DICOM modalities", place=place, remedy='write e.g. ["MR", "CT"]'
        )
    return RetrieveOptions(
        method=_method(given.get("method", Method.MOVE), place),
        destination=destination,
        discover_days=int(number_of(given, "discover_days", 0, place=place, most=365)),
        modalities=tuple(modalities),
        give_up_seconds=3600 * number_of(given, "give_up_hours", 24, place=place, most=24 * 365),
        unless_switched_off=True,
    )


def _method(text: object, place: str) -> Method:
    try:
        return Method(str(text))
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is no way to retrieve", place=place, remedy="use off, move or get"
        ) from None
