"""TLS of what we call: section `OUTGOINGTLS` in config.json. The profiles are those of PS3.15 annex B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiona_dagster.domain.configuration_values import choice_of, unknown_keys
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.transport_security import Profile

OUTGOING_TLS_KEYS = frozenset({"ca", "certificate", "key", "profile", "check_name"})


@dataclass(frozen=True)
class OutgoingSecurity:
    """Whom we trust and what we show. Files in PEM; `ca` None: the authorities of the operating system.

    `check_name`: the peer's certificate must name the host that we call; its signature is checked in any case.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    profile: Profile = Profile.B_12
    check_name: bool = True


def outgoing_security_from(values: Mapping[str, Any], *, place: str) -> tuple[OutgoingSecurity, list[str]]:
    """What the section `OUTGOINGTLS` says, and warnings of keys that nothing reads.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    certificate, key = _file(values, "certificate"), _file(values, "key")
    if (certificate is None) != (key is None):
        raise ConfigurationError(
            "certificate and key belong together", place=place, remedy="name both, or neither"
        )
    check = values.get("check_name", True)
    if not isinstance(check, bool):
        raise ConfigurationError(
            "is neither true nor false", place=f"{place}: check_name", remedy="write true or false"
        )
    profile = Profile(choice_of(values, "profile", Profile.B_12, tuple(Profile), place=place))
    security = OutgoingSecurity(_file(values, "ca"), certificate, key, profile, check)
    return security, unknown_keys(values, OUTGOING_TLS_KEYS, place=place)


def _file(values: Mapping[str, Any], key: str) -> Path | None:
    value = values.get(key)
    return Path(str(value).removeprefix("file:")) if value else None
