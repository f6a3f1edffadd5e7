"""How much one peer and all of them may ask of a receiver. Section `LIMITS` of a site in config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fiona_dagster.domain.configuration_values import number_of, refuse_unknown_keys
from fiona_dagster.domain.errors import ConfigurationError

_LEAST_PDU, _LONGEST_PDU = 4096, 1 << 20


@dataclass(frozen=True)
class Limits:
    """Every 0 but those of the disk means: no limit of its own."""

    associations: int = 64
    """Open Associations of all peers, over all processes of the site."""
    associations_per_peer: int = 0
    """The same for one address."""
    pdu_bytes: int = 256 * 1024
    """Longest P-DATA-TF PDU that is announced."""
    object_bytes: int = 0
    """Largest data set."""
    bytes_per_second: int = 0
    """What one address may send; more is read no faster (each process holds its share)."""
    objects_per_minute: int = 0
    """Data sets that one address may send; more are read no faster (each process holds its share)."""
    idle_seconds: float = 120.0
    """An Association on which nothing moves for so long is aborted."""
    message_seconds: float = 3600.0
    """An Association whose data set has not come whole after so long is ended."""
    disk_free_bytes: int = 1 << 30
    """Below it, or below `disk_free_percent`, new instances are refused with 0xA700."""
    disk_free_percent: float = 0.0

    def has_room(self, free_bytes: int, total_bytes: int) -> bool:
        """Whether new instances may be taken on a disk with so much space."""
        return free_bytes >= self.disk_free_bytes and free_bytes * 100 >= self.disk_free_percent * total_bytes


def limits_from(values: Mapping[str, Any], *, place: str) -> Limits:
    """Limits from the section `LIMITS`.

    Raises:
        ConfigurationError: a value that cannot be understood, or a key that is not known, with its place.
    """
    refuse_unknown_keys(values, {one.name for one in fields(Limits)}, place=place)
    found: dict[str, Any] = {}
    for one in fields(Limits):
        default = one.default
        most = 100.0 if one.name == "disk_free_percent" else 2.0**62
        number = number_of(values, one.name, float(default), place=place, most=most)  # type: ignore[arg-type]
        if isinstance(default, int) and number != int(number):
            raise _unusable(one.name, place, "use a whole number")
        found[one.name] = int(number) if isinstance(default, int) else number
    limits = Limits(**found)
    if not _LEAST_PDU <= limits.pdu_bytes <= _LONGEST_PDU:
        raise _unusable("pdu_bytes", place, f"use {_LEAST_PDU} to {_LONGEST_PDU}")
    if limits.associations < 1:
        raise _unusable("associations", place, "use 1 or more")
    if limits.idle_seconds < 1:
        raise _unusable("idle_seconds", place, "use 1 or more")
    return limits


def _unusable(key: str, place: str, remedy: str) -> ConfigurationError:
    return ConfigurationError("the number cannot be used", place=f"{place}: {key}", remedy=remedy)


@dataclass
class Allowance:
    """A rate that is kept over a burst of `burst_seconds`; times by a clock that never jumps, in seconds."""

    per_second: float
    burst_seconds: float = 1.0
    _free_at: float = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take `amount`; returns how many seconds to wait before more."""
        if self.per_second <= 0:
            return 0.0
        self._free_at = max(self._free_at, now - self.burst_seconds) + amount / self.per_second
        return max(0.0, self._free_at - now)

    def is_whole(self, now: float) -> bool:
        """Whether nothing of it is taken: one made anew would allow the same."""
        return self._free_at <= now - self.burst_seconds
