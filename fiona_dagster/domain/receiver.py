"""How the receiver of a site works: who may call, how much, with or without TLS, in how many processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fiona_dagster.domain.access import AccessRules, access_from
from fiona_dagster.domain.configuration_values import choice_of, number_of, object_of
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.limits import Limits, limits_from
from fiona_dagster.domain.transport_security import TransportSecurity, transport_security_from

RECEIVER_KEYS = frozenset({"ACCESS", "LIMITS", "TLS", "WORKERS", "DATAPHASE"})
DATA_PHASES = ("streamed", "stock")
WORKERS = 2
"""One may die or hang, and the other takes what comes meanwhile."""
_MOST_WORKERS = 64


@dataclass(frozen=True)
class ReceiverSettings:
    """Sections `ACCESS`, `LIMITS`, `TLS` and keys `WORKERS`, `DATAPHASE` of a site."""

    access: AccessRules = field(default_factory=AccessRules)
    limits: Limits = field(default_factory=Limits)
    tls: TransportSecurity | None = None
    workers: int = WORKERS
    data_phase: str = "streamed"


def receiver_from(values: Mapping[str, Any], *, place: str) -> ReceiverSettings:
    """The receiver's part of a site in config.json.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place; a key that nothing reads in a section
            that restricts: what it was meant to close would stand open.
    """
    access = access_from(object_of(values, "ACCESS", place=place), place=f"{place}: ACCESS")
    limits = limits_from(object_of(values, "LIMITS", place=place), place=f"{place}: LIMITS")
    tls = transport_security_from(object_of(values, "TLS", place=place), place=f"{place}: TLS")
    if tls is None and any(one.tls or one.certificate for one in access.callers):
        raise ConfigurationError(
            "a caller must come by TLS, and there is no section TLS",
            place=f"{place}: ACCESS",
            remedy="add TLS with certificate and key, or drop tls and certificate of the caller",
        )
    if tls is not None and not tls.client_ca and any(one.certificate for one in access.callers):
        raise ConfigurationError(
            "a caller is known by its certificate, and nobody is asked for one",
            place=f"{place}: ACCESS",
            remedy="name TLS.client_ca",
        )
    workers = number_of(values, "WORKERS", float(WORKERS), place=place, most=float(_MOST_WORKERS))
    if workers < 1:
        raise ConfigurationError("is not 1 or more", place=f"{place}: WORKERS", remedy="use 1 to 64")
    return ReceiverSettings(
        access=access,
        limits=limits,
        tls=tls,
        workers=int(workers),
        data_phase=choice_of(values, "DATAPHASE", "streamed", DATA_PHASES, place=place),
    )


def receiver_warnings(receivers: Mapping[str, ReceiverSettings], first: str) -> list[str]:
    """Further sites that anybody may call where `first` restricts who calls: nothing is inherited."""
    everybody = AccessRules()
    open_to_all = [name for name, one in receivers.items() if one.access == everybody]
    return [
        f"SITES.{name}: it has no ACCESS of its own and anybody may call it; ACCESS beside SITES is for {first} alone"
        for name in open_to_all
        if first not in open_to_all
    ]


def shared_port(doors: Iterable[tuple[str, str, int]]) -> str:
    """What is wrong with (site, host, port) of every door: '' where no two sites or doors share a port; 0 is none."""
    taken: dict[tuple[str, int], str] = {}
    for site, host, port in doors:
        other = taken.get((host, port)) if port else None
        if other == site:
            return f"two doors of site {site} have port {port}"
        if other:
            return f"sites {other} and {site} share port {port}"
        taken[host, port] = site
    return ""
