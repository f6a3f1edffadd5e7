"""A site: its receiver, the peers that it calls, and how config.json names them (`SITES`, fiona-behaviour 1.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiona_dagster.domain.arrival import PATIENCE_SECONDS
from fiona_dagster.domain.commitment import CommitmentTerms, commitment_terms
from fiona_dagster.domain.configuration_values import number_of, object_of, objects_of
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.outgoing_security import OutgoingSecurity
from fiona_dagster.domain.receiver import ReceiverSettings, receiver_from, shared_port
from fiona_dagster.domain.retrieval_settings import RetrieveOptions, retrieve_options
from fiona_dagster.domain.stow import StowSettings, stow_from

DEFAULT_SITE = "ABCD"
"""FIONA's name of the site without a suffix."""

QUIET_SECONDS = 16.0
"""FIONA's end of a study: 16 s without an instance."""


@dataclass(frozen=True)
class DicomPeer:
    """A DICOM application entity that we call."""

    ae_title: str
    host: str
    port: int
    tls: OutgoingSecurity | None = None
    """TLS around its Associations, where it wants that."""

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Source:
    """A peer that studies are fetched from, and how."""

    peer: DicomPeer
    options: RetrieveOptions


@dataclass(frozen=True)
class Site:
    """One receiver: its own DATADIR, port and AE title (`SITES` in config.json)."""

    name: str
    layout: Layout
    host: str
    port: int
    ae_title: str
    quiet_seconds: float = QUIET_SECONDS
    sources: tuple[DicomPeer, ...] = ()
    """Peers that are asked by C-FIND how many instances a study should have."""
    retrieval: tuple[Source, ...] = ()
    """Those of them that studies are fetched from, as far as FIONA's control file lets them."""
    receiver: ReceiverSettings = field(default_factory=ReceiverSettings)
    patience_seconds: float = PATIENCE_SECONDS
    """How long a study that is known to be incomplete waits for the rest."""
    commitment: CommitmentTerms = field(default_factory=CommitmentTerms)
    requesters: tuple[DicomPeer, ...] = ()
    """Where requesters of Storage Commitment take their reports; sources are called at their own address."""
    stow: StowSettings | None = None
    """Its door for STOW-RS."""

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that it listens on: first without TLS, then with."""
        return (self.port, self.receiver.tls.port) if self.receiver.tls else (self.port,)

    @property
    def peer(self) -> DicomPeer:
        """The receiver as this machine calls it: on loopback where it listens to every address."""
        return DicomPeer(self.ae_title, called_from_here(self.host), self.port)


def called_from_here(host: str) -> str:
    """The address at which this machine reaches what listens on `host`."""
    everywhere = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 — compared, not bound
    return everywhere.get(host, host)


def standalone_site(datadir: Path, *, host: str, port: int, ae_title: str) -> Site:
    """The site of a listener that was started by hand with nothing but a data directory."""
    layout = Layout(datadir.absolute())
    return Site(DEFAULT_SITE, layout, host, port_of(port, "--port"), ae_title_of(ae_title, "--ae-title"))


def site_from(name: str, values: Mapping[str, Any], *, datadir: Path, place: str) -> Site:
    """The site called `name` from its part of config.json.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    sources, retrieval = [], []
    others = [(f"{place}: OTHERSCANNER", one) for one in objects_of(values, "OTHERSCANNER", place=place)]
    for where, scanner in [(place, values), *others]:
        if scanner.get("SCANNERIP"):
            sources.append(peer_of(scanner, "SCANNERAETITLE", "SCANNERIP", "SCANNERPORT", place=where))
            if (options := retrieve_options(scanner, place=where)) is not None:
                retrieval.append(Source(sources[-1], options))
    host = str(values.get("DICOMIP") or "0.0.0.0")  # noqa: S104 — a receiver listens to the hospital's network
    ae_title = ae_title_of(values.get("DICOMAETITLE") or "FIONA", f"{place}: DICOMAETITLE")
    web = object_of(values, "STOW", place=place)
    stow = stow_from(web, host=host, ae_title=ae_title, place=f"{place}: STOW")
    commitment, requesters = commitment_terms(values, place=place)
    return Site(
        name=name,
        layout=Layout(Path(values.get("DATADIR") or datadir).absolute()),
        host=host,
        port=port_of(
            11112 if values.get("DICOMPORT") in (None, "") else values["DICOMPORT"], f"{place}: DICOMPORT"
        ),
        ae_title=ae_title,
        quiet_seconds=number_of(values, "QUIETSECONDS", QUIET_SECONDS, place=place),
        sources=tuple(sources),
        retrieval=tuple(retrieval),
        receiver=receiver_from(values, place=place),
        patience_seconds=number_of(values, "INCOMPLETESECONDS", PATIENCE_SECONDS, place=place),
        commitment=commitment,
        requesters=tuple(
            peer_of(one, "AETITLE", "IP", "PORT", place=f"{place}: STORAGECOMMITMENT.REQUESTERS")
            for one in requesters
        ),
        stow=stow,
    )


def refuse_shared_doors(sites: list[Site], place: str) -> None:
    """Refuse two sites with one port or one DATADIR.

    Raises:
        ConfigurationError: there are such.
    """
    doors = [(site.name, site.host, port) for site in sites for port in site.ports]
    doors += [(site.name, site.stow.host, site.stow.port) for site in sites if site.stow is not None]
    problem = shared_port(doors)
    if problem:
        raise ConfigurationError(problem, place=place, remedy="give each its own")
    for first in range(len(sites)):
        for second in sites[first + 1 :]:
            one = sites[first]
            if one.layout.datadir == second.layout.datadir:
                raise ConfigurationError(
                    f"sites {one.name} and {second.name} share a DATADIR",
                    place=place,
                    remedy="give each its own",
                )


def peer_of(values: Mapping[str, Any], title: str, host: str, port: str, *, place: str) -> DicomPeer:
    """The peer whose AE title, host and port stand under the keys `title`, `host` and `port`.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    if not values.get(host):
        raise ConfigurationError(f"{host} is missing", place=place, remedy="name the host")
    return DicomPeer(
        ae_title_of(values.get(title) or "ANY-SCP", f"{place}: {title}"),
        str(values[host]),
        port_of(values.get(port) or 104, f"{place}: {port}"),
    )


def ae_title_of(value: object, place: str) -> str:
    """`value` as an AE title (PS3.5: 1 to 16 characters of the default repertoire, no backslash).

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    title = str(value).strip()
    if not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]{1,16}", title):
        raise ConfigurationError(
            f"'{title}' cannot be an AE title",
            place=place,
            remedy="use 1 to 16 printable characters, no backslash",
        )
    return title


def port_of(value: object, place: str) -> int:
    """`value` as a TCP port, 0 for any that is free.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    try:
        port = int(str(value))
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise ConfigurationError(f"'{value}' is not a port", place=place, remedy="use 0 to 65535")
    return port
