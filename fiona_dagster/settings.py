"""One frozen settings object, read once from config.json and the environment; nothing else reads either.

`config.json` keeps FIONA's keys (fiona-behaviour 1.2): DATADIR, DICOMIP, DICOMPORT, DICOMAETITLE, SCANNERIP,
SCANNERPORT, SCANNERAETITLE, OTHERSCANNER, SITES. Keys of ours: `domain.configuration_values.OUR_KEYS`.
Secrets are references: `env:NAME` or `file:/path`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fiona_dagster.domain.configuration_values import (
    FIONAS_KEYS,
    OUR_KEYS,
    PACS_KEYS,
    REDCAP_KEYS,
    SITE_KEYS,
    flag_of,
    number_of,
    object_of,
    refuse_misspelt_sections,
    unknown_keys,
)
from fiona_dagster.domain.delivery_settings import DeliverySettings, delivery_settings
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.image_destinations import ImageDestination, research_pacs_from
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.notification import NotifySettings, notify_settings
from fiona_dagster.domain.outbox_settings import OutboxTerms, outbox_terms
from fiona_dagster.domain.outgoing_security import OutgoingSecurity, outgoing_security_from
from fiona_dagster.domain.receiver import receiver_warnings
from fiona_dagster.domain.sites import (
    DEFAULT_SITE,
    QUIET_SECONDS,
    DicomPeer,
    Site,
    Source,
    ae_title_of,
    peer_of,
    refuse_shared_doors,
    site_from,
    standalone_site,
)

__all__ = [
    "DEFAULT_SITE", "ENVIRONMENT", "QUIET_SECONDS", "DicomPeer", "RedcapSettings", "Settings", "Site", "Source",
    "configuration_file", "load_settings", "settings_from", "standalone_site",
]  # fmt: skip

REDCAP_CALLS_PER_MINUTE = 300
"""Of all processes together; a server bans for good above 600 (redcap-contract 1.8)."""
ENVIRONMENT = {
    "FIONA_CONFIG": "path of config.json",
    "FIONA_DATADIR": "data directory when there is no config.json",
    "FIONA_LEDGER_URL": "SQLAlchemy URL of the ledger (default: SQLite in the data directory)",
}


@dataclass(frozen=True)
class RedcapSettings:
    """REDCap's API. `tokens` maps a project's role (Incoming, CouplingList ...) to a secret reference."""

    url: str
    tokens: Mapping[str, str]
    calls_per_minute: int = REDCAP_CALLS_PER_MINUTE
    timeout_seconds: tuple[float, float] = (5.0, 120.0)
    ca_bundle: str = ""
    project_ids: Mapping[str, int] = field(default_factory=dict)
    """REDCap's numbers of the projects, by role: a token that belongs to another one is refused."""


@dataclass(frozen=True)
class Settings:
    """Everything that an operator may choose."""

    sites: tuple[Site, ...]
    ledger_url: str
    redcap: RedcapSettings | None
    research_pacs: DicomPeer | None
    """The destination of every project's images."""
    calling_ae_title: str
    classify_rules: Path | None
    keyring: Path
    projects_file: Path
    disk_limit_percent: float = 80.0
    keep_partitions_days: float = 30.0
    max_partitions: int = 10_000
    delivery: DeliverySettings = DeliverySettings()  # noqa: RUF009 — frozen
    outbox: OutboxTerms = OutboxTerms()  # noqa: RUF009 — frozen
    notify: NotifySettings = NotifySettings()  # noqa: RUF009 — frozen
    pacs_takes_rejection_notes: bool = False
    """Whether the research PACS hides what a rejection note names (IHE RAD, IOCM)."""
    research_pacs_terms: ImageDestination | None = None
    """How images are sent there and confirmed."""
    outgoing_tls: OutgoingSecurity = field(default_factory=OutgoingSecurity)
    warnings: tuple[str, ...] = ()
    """Keys of config.json that nothing reads: written wrongly, as a rule."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def default_site(self) -> Site:
        return self.sites[0]

    @property
    def redcap_calls(self) -> Path:
        """State of the rate limit that all processes share which talk to REDCap."""
        return self.layout.datadir / ".redcap-calls"

    @property
    def layout(self) -> Layout:
        """The default site's layout: where outbox, configuration, ledger and Dagster's home lie."""
        return self.sites[0].layout

    def site(self, name: str) -> Site:
        """The site called `name`.

        Raises:
            ConfigurationError: there is none.
        """
        for site in self.sites:
            if site.name == name:
                return site
        raise ConfigurationError(
            f"no site is called '{name}'", remedy=f"sites are: {', '.join(s.name for s in self.sites)}"
        )

    def secret(self, reference: str) -> str:
        """The secret behind `env:NAME` or `file:/path`. It never appears in a message.

        Raises:
            ConfigurationError: the reference cannot be followed.
        """
        kind, _, place = reference.partition(":")
        if kind == "env" and place in self.environment:
            return self.environment[place].strip()
        if kind == "file":
            try:
                return Path(place).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigurationError(
                    f"the secret file {place} cannot be read ({error.strerror})",
                    remedy="make it, readable by us only",
                ) from error
            except UnicodeDecodeError:
                raise ConfigurationError(
                    f"the secret file {place} is not text in UTF-8", remedy="write the secret as text"
                ) from None
        raise ConfigurationError(
            f"the variable {place} is not set" if kind == "env" else "a secret reference cannot be followed",
            remedy="write env:NAME (and set NAME) or file:/path",
        )


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read config.json and the environment, once.

    Args:
        path: config.json; default `FIONA_CONFIG`, else `<FIONA_DATADIR>/config/config.json`, which may be absent.
        environment: default `os.environ`.

    Raises:
        ConfigurationError: a file or value that cannot be understood, with its place.
    """
    environment = dict(os.environ if environment is None else environment)
    chosen = configuration_file(path, environment)
    named = path is not None or "FIONA_CONFIG" in environment
    content = _read(chosen) if named or chosen.exists() else {}
    return settings_from(content, place=str(chosen), environment=environment)


def configuration_file(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """Which config.json counts: `path`, else `FIONA_CONFIG`, else `<FIONA_DATADIR>/config/config.json`; absolute."""
    environment = os.environ if environment is None else environment
    named = path or _optional_path(environment.get("FIONA_CONFIG"))
    return (named or Path(environment.get("FIONA_DATADIR", "/data")) / "config" / "config.json").absolute()


def settings_from(content: Mapping[str, Any], *, place: str, environment: Mapping[str, str]) -> Settings:
    """Settings from the parsed config.json.

    Raises:
        ConfigurationError: a value that cannot be understood, with its place.
    """
    datadir = Path(content.get("DATADIR") or environment.get("FIONA_DATADIR") or "/data").absolute()
    refuse_misspelt_sections(content, SITE_KEYS | OUR_KEYS | FIONAS_KEYS, place=place)
    warnings = unknown_keys(content, SITE_KEYS | OUR_KEYS | FIONAS_KEYS, place=place)
    default = site_from(DEFAULT_SITE, content, datadir=datadir, place=place)
    sites = [default]
    named = object_of(content, "SITES", place=place)
    for name in named:
        if name != DEFAULT_SITE:
            values, where = object_of(named, name, place=f"{place}: SITES"), f"{place}: SITES.{name}"
            further = Path(f"{datadir}{name}")
            refuse_misspelt_sections(values, SITE_KEYS | FIONAS_KEYS, place=where)
            sites.append(site_from(name, values, datadir=further, place=where))
            warnings += unknown_keys(values, SITE_KEYS | FIONAS_KEYS, place=where)
    refuse_shared_doors(sites, place)
    warnings += receiver_warnings({site.name: site.receiver for site in sites}, DEFAULT_SITE)
    layout = default.layout
    redcap = object_of(content, "REDCAP", place=place)
    pacs = object_of(content, "RESEARCHPACS", place=place)
    warnings += unknown_keys(redcap, REDCAP_KEYS, place=f"{place}: REDCAP")
    warnings += unknown_keys(pacs, PACS_KEYS, place=f"{place}: RESEARCHPACS")
    outgoing, unknown = outgoing_security_from(
        object_of(content, "OUTGOINGTLS", place=place), place=f"{place}: OUTGOINGTLS"
    )
    warnings += unknown
    peer = peer_of(pacs, "AETITLE", "IP", "PORT", place=f"{place}: RESEARCHPACS") if pacs else None
    terms = None
    if peer is not None:
        terms = research_pacs_from(pacs, peer.ae_title, peer.host, peer.port, place=f"{place}: RESEARCHPACS")
        peer = replace(peer, tls=outgoing if terms.tls else None)
    delivery, unknown = delivery_settings(content, place=place)
    warnings += unknown
    outbox, unknown = outbox_terms(content, place=place)
    warnings += unknown
    notify, unknown = notify_settings(content, place=place)
    warnings += unknown
    return Settings(
        sites=tuple(sites),
        ledger_url=environment.get("FIONA_LEDGER_URL")
        or content.get("LEDGER")
        or f"sqlite:///{layout.ledger}",
        redcap=_redcap(redcap, place) if redcap else None,
        research_pacs=peer,
        research_pacs_terms=terms,
        outgoing_tls=outgoing,
        calling_ae_title=ae_title_of(content.get("CALLINGAETITLE") or "FIONA", place),
        classify_rules=_optional_path(content.get("CLASSIFYRULES")),
        keyring=_optional_path(content.get("KEYRING")) or layout.keyring,
        projects_file=_optional_path(content.get("PROJECTS")) or layout.config / "projects.yaml",
        pacs_takes_rejection_notes=flag_of(pacs, "REJECTIONNOTES", place=f"{place}: RESEARCHPACS"),
        delivery=delivery,
        outbox=outbox,
        notify=notify,
        disk_limit_percent=number_of(content, "DISKLIMITPERCENT", 80.0, place=place, most=100.0),
        keep_partitions_days=number_of(content, "KEEPPARTITIONSDAYS", 30.0, place=place),
        warnings=tuple(warnings),
        environment=environment,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=partial(_once, str(path)))
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read ({error.strerror})", place=str(path), remedy="check the path"
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"is not JSON: {error.msg}", place=f"{path}:{error.lineno}", remedy="mend that line"
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            "is not a JSON object", place=str(path), remedy="begin with { and name the keys"
        )
    return content


def _once(place: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, where each key stands once: the last would count, without a word."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ConfigurationError(
                f"'{key}' stands there twice in one object",
                place=place,
                remedy="take out the one or the other",
            )
        found[key] = value
    return found


def _redcap(values: Mapping[str, Any], place: str) -> RedcapSettings:
    url = str(values.get("url") or "")
    if not url.endswith("/api/"):
        raise ConfigurationError(
            "REDCAP.url does not end in /api/", place=place, remedy="e.g. https://redcap.example/api/"
        )
    where = f"{place}: REDCAP.project_ids"
    numbers = object_of(values, "project_ids", place=f"{place}: REDCAP")
    return RedcapSettings(
        url=url,
        tokens={
            role: str(secret)
            for role, secret in object_of(values, "tokens", place=f"{place}: REDCAP").items()
        },
        calls_per_minute=int(
            number_of(values, "calls_per_minute", REDCAP_CALLS_PER_MINUTE, place=f"{place}: REDCAP")
        )
        or 1,
        ca_bundle=str(values.get("ca_bundle") or ""),
        project_ids={role: int(number_of(numbers, role, 0.0, place=where)) for role in numbers},
    )


def _optional_path(value: object) -> Path | None:
    return Path(str(value)) if value else None
