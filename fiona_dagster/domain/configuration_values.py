"""Values of a configuration that cannot be understood completely does not load: each is checked, with its place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError

SITE_KEYS = frozenset({
    "DATADIR", "DICOMIP", "DICOMPORT", "DICOMAETITLE", "QUIETSECONDS", "SCANNERIP", "SCANNERPORT", "SCANNERAETITLE",
    "INCOMPLETESECONDS", "STORAGECOMMITMENT", "OTHERSCANNER", "ACCESS", "LIMITS", "TLS", "WORKERS", "DATAPHASE", "STOW",
    "RETRIEVE",
})  # fmt: skip
OUR_KEYS = frozenset({
    "SITES", "DELIVERY", "OUTBOX", "NOTIFY", "CALLINGAETITLE", "CLASSIFYRULES", "REDCAP", "RESEARCHPACS", "PROJECTS",
    "LEDGER", "KEYRING", "DISKLIMITPERCENT", "KEEPPARTITIONSDAYS", "OUTGOINGTLS",
})  # fmt: skip
FIONAS_KEYS = frozenset({
    "SCANNERTYPE", "MPPSPORT", "MPPSMODE", "SERVERUSER", "DAICSERVER", "PFILEDIR", "CONNECTION", "WEBPROXY",
    "WEBPROXYPORT", "LOCALTIMEZONE", "SUBJECTID", "HIDEPATTERN", "PROCESSING_USER", "PROJECTTOKEN", "fiona_version",
    "LOGDIR", "Authentication",
})  # fmt: skip
"""Keys of the same file that other programs of a FIONA read (fiona-behaviour 1.2)."""
REDCAP_KEYS = frozenset({"url", "tokens", "project_ids", "calls_per_minute", "ca_bundle"})
PACS_KEYS = frozenset({"AETITLE", "IP", "PORT", "REJECTIONNOTES", "TLS", "ASSOCIATIONS", "CONFIRM"})

RESTRICTING = ("ACCESS", "LIMITS", "TLS", "STOW")
"""Sections of a site that close what would be open without them."""


def number_of(
    values: Mapping[str, Any], key: str, default: float, *, place: str, most: float = math.inf
) -> float:
    """The number at `key`, or `default` where it is absent, null or blank; 0 is a number.

    Raises:
        ConfigurationError: no number, negative, or above `most`.
    """
    value = values.get(key)
    if value is None or value == "":
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (0 <= number <= most and math.isfinite(number)):
        raise ConfigurationError(
            f"{value!r} is not a number that can be used",
            place=f"{place}: {key}",
            remedy="use 0 or more" if most == math.inf else f"use 0 to {most:g}",
        )
    return number


def flag_of(values: Mapping[str, Any], key: str, *, place: str) -> bool:
    """The truth value at `key`; false where it is absent or null.

    Raises:
        ConfigurationError: it is neither true nor false.
    """
    value = values.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{value!r} is not a truth value", place=f"{place}: {key}", remedy="use true or false"
        )
    return value


def choice_of(
    values: Mapping[str, Any], key: str, default: str, choices: Collection[str], *, place: str
) -> str:
    """The word at `key`, one of `choices`; `default` where it is absent or blank.

    Raises:
        ConfigurationError: another word.
    """
    value = values.get(key)
    if value is None or value == "":
        return str(default)
    if value not in choices:
        raise ConfigurationError(
            f"{value!r} is none of the choices",
            place=f"{place}: {key}",
            remedy=f"use {', '.join(map(str, choices))}",
        )
    return str(value)


def texts_of(values: Mapping[str, Any], key: str, *, place: str) -> list[str]:
    """The JSON list of texts at `key`; empty where it is absent or null.

    Raises:
        ConfigurationError: it is something else.
    """
    value = values.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ConfigurationError(
            "is not a JSON list of texts", place=f"{place}: {key}", remedy='write ["...", "..."]'
        )
    return value


def object_of(values: Mapping[str, Any], key: str, *, place: str) -> dict[str, Any]:
    """The JSON object at `key`; empty where it is absent or null.

    Raises:
        ConfigurationError: it is something else.
    """
    value = values.get(key)
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(
            "is not a JSON object", place=f"{place}: {key}", remedy="write { and name the keys"
        )
    return value


def objects_of(values: Mapping[str, Any], key: str, *, place: str) -> list[dict[str, Any]]:
    """The JSON list of objects at `key`; empty where it is absent or null.

    Raises:
        ConfigurationError: it is something else.
    """
    value = values.get(key)
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ConfigurationError(
            "is not a JSON list of objects", place=f"{place}: {key}", remedy="write [{...}, {...}]"
        )
    return value


def unknown_keys(values: Mapping[str, Any], known: Collection[str], *, place: str) -> list[str]:
    """A warning for each key that nothing reads, with the known one that it resembles most."""
    return [
        f"{place}: the key '{key}' is not known and has no effect{hint}"
        for key, hint in _unknown(values, known)
    ]


def _unknown(values: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each unknown key, and a question for the known one that it resembles most, if any."""
    by_upper = {name.upper(): name for name in known}
    for key in sorted(set(values) - set(known)):
        near = difflib.get_close_matches(key.upper(), by_upper, n=1)
        yield key, f", did you mean {by_upper[near[0]]}?" if near else ""


def refuse_misspelt_sections(values: Mapping[str, Any], known: Collection[str], *, place: str) -> None:
    """Where a section that restricts is misspelt, all of what it was meant to close would stand open.

    Raises:
        ConfigurationError: an unknown key resembles one of those sections.
    """
    for key in sorted(set(values) - set(known)):
        near = difflib.get_close_matches(key.upper(), RESTRICTING, n=1)
        if near:
            raise ConfigurationError(
                f"the key '{key}' is not known",
                place=place,
                remedy=f"write {near[0]}, or take it out: what it should restrict would be open",
            )


def refuse_unknown_keys(values: Mapping[str, Any], known: Collection[str], *, place: str) -> None:
    """For sections that restrict: what a key that nothing reads was meant to close would stand open.

    Raises:
        ConfigurationError: there is such a key.
    """
    for key, hint in _unknown(values, known):
        raise ConfigurationError(
            f"the key '{key}' is not known{hint}",
            place=place,
            remedy="mend it, or take it out: what it should restrict would be open",
        )
