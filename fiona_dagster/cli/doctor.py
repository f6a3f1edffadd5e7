"""`fiona doctor`: does everything answer that the gateway needs, and what to do where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.adapters.image_peers import archive_of, research_archive
from fiona_dagster.adapters.receivers import ANSWERS, PAST, troubles
from fiona_dagster.cli.opening import Opened, config_option, has_ledger
from fiona_dagster.cli.tables import console
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Transient
from fiona_dagster.settings import DicomPeer, Settings, Site, load_settings

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry

LEAST_FREE_BYTES = 5 << 30
CERTIFICATE_DAYS = 21.0
_WARNING = "warning: "


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. `problem` empty: it works."""

    subject: str
    detail: str
    problem: str = ""


@click.command()
@config_option
def doctor(config_file: Path | None) -> None:
    """Try everything the gateway needs, for real: C-ECHO, REDCap calls, SFTP write-read-delete, disk, rules, keys.

    Exit status 1 when something does not work; each problem says what to do.
    """
    from rich.table import Table

    findings = list(examine(load_settings(config_file)))
    table = Table("", "what", "found")
    for one in findings:
        sound = "[yellow]![/yellow]" if one.detail.startswith(_WARNING) else "[green]✓[/green]"
        table.add_row("[red]✗[/red]" if one.problem else sound, one.subject, one.problem or one.detail)
    console().print(table)
    raise SystemExit(1 if any(one.problem for one in findings) else 0)


def examine(settings: Settings) -> Iterator[Finding]:
    """Try everything, one after the other; a problem of one costs no other. No gateway need have been started."""
    for warning in settings.warnings:
        yield Finding("config.json", f"{_WARNING}{warning}")
    for site in settings.sites:
        yield _echo(f"receiver of site {site.name}", site.peer)
        yield from _secure_door(site)
        yield _disk(f"data directory of site {site.name}", site.layout.datadir)
        yield from _web_door(site)
        for trouble in troubles(site):
            is_past = any(sign in trouble for sign in PAST)
            yield Finding(f"site {site.name}", f"{_WARNING}{trouble}", "" if is_past else trouble)
        for source in site.sources:
            yield _echo(f"source {source}", source)
    research = research_archive(settings)
    if research is not None:
        yield _tried("research PACS", research.check)
    yield _tried("classification rules", lambda: _rules(settings))
    yield _tried("keyring", lambda: _keyring(settings))
    yield from _redcap(settings)
    found, ledger = _ledger(settings)
    yield found
    yield from _projects(Opened(settings, ledger))


def _tried(subject: str, action: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, action())
    except FionaError as error:
        return Finding(subject, "", str(error))
    except OSError as error:
        return Finding(subject, "", f"{error.strerror}: check owner and rights")


def _echo(subject: str, peer: DicomPeer) -> Finding:
    def ask() -> str:
        from fiona_dagster.adapters.dicom_scu import echo

        echo(peer, "DOCTOR")
        return f"{peer} answers"

    return _tried(subject, ask)


def _secure_door(site: Site) -> Iterator[Finding]:
    tls = site.receiver.tls
    if tls is None:
        return

    def ask() -> str:
        import time

        from fiona_dagster.adapters.receivers import tls_peer
        from fiona_dagster.adapters.secure_echo import days_left, secure_echo

        days = days_left(tls.certificate, now=time.time())
        if days < CERTIFICATE_DAYS:
            raise ConfigurationError(
                f"the certificate is valid for {days:.0f} more day(s)",
                place=str(tls.certificate),
                remedy="renew it: the receiver reads it again by itself",
            )
        secure_echo(tls_peer(site), tls, "DOCTOR")
        return f"it answers over TLS; the certificate is valid for {days:.0f} more days"

    yield _tried(f"receiver of site {site.name}, TLS", ask)


def _web_door(site: Site) -> Iterator[Finding]:
    door = site.stow
    if door is None:
        return

    def ask() -> str:
        import time

        from fiona_dagster.adapters.receivers import stow_answers
        from fiona_dagster.adapters.secure_echo import days_left

        said = stow_answers(door)
        if said != ANSWERS:
            raise Transient(said)
        if door.tls is None:
            return "it answers"
        days = days_left(door.tls.certificate, now=time.time())
        if days < CERTIFICATE_DAYS:
            raise ConfigurationError(
                f"the certificate is valid for {days:.0f} more day(s)",
                place=str(door.tls.certificate),
                remedy="renew it: the door reads it again by itself",
            )
        return f"it answers; the certificate is valid for {days:.0f} more days"

    yield _tried(f"STOW-RS of site {site.name}", ask)


def _disk(subject: str, folder: Path) -> Finding:
    from fiona_dagster.adapters.cleanup import disk_use

    def look() -> str:
        if not os.access(folder, os.W_OK):
            return ""
        return f"{disk_use(folder).percent:.0f} % used, {disk_use(folder).free_bytes >> 30} GiB free"

    found = _tried(subject, look)
    if not found.problem and not found.detail:
        return Finding(subject, "", f"{folder} cannot be written to: give it to the gateway's user")
    if not found.problem and disk_use(folder).free_bytes < LEAST_FREE_BYTES:
        return Finding(subject, found.detail, f"{found.detail}: make room, reception stops when it is full")
    return found


def _ledger(settings: Settings) -> tuple[Finding, Ledger]:
    """What became of opening the ledger, and a ledger to go on with: an empty one in memory where there is none."""
    from fiona_dagster.adapters.ledger import Ledger

    if not has_ledger(settings):
        return Finding("ledger", "there is none yet: `fiona up` makes it"), Ledger("sqlite://")
    try:
        return Finding("ledger", "it opens"), Ledger(settings.ledger_url)
    except FionaError as error:
        return Finding("ledger", "", str(error)), Ledger("sqlite://")


def _rules(settings: Settings) -> str:
    from fiona_dagster.adapters.configuration import classification_rules

    rules = classification_rules(settings)
    warnings = f", {len(rules.warnings)} warning(s): {'; '.join(rules.warnings)}" if rules.warnings else ""
    return f"{len(rules.types)} types{warnings}"


def _keyring(settings: Settings) -> str:
    from fiona_dagster.adapters.keyring import Keyring

    Keyring(settings.keyring).site_key()
    return f"{settings.keyring} is ours alone; back it up"


def _redcap(settings: Settings) -> Iterator[Finding]:
    from fiona_dagster.adapters.configuration import registry

    redcap = registry(settings)
    if redcap is None:
        yield Finding("REDCap", "none is configured: studies are assigned by hand")
        return
    for role in sorted(settings.redcap.tokens if settings.redcap else ()):
        yield _tried(f"REDCap project {role}", partial(_accepted, redcap, role))


def _accepted(redcap: RedcapRegistry, role: str) -> str:
    from fiona_dagster.domain.routing import rule_problem

    redcap.client(role)
    if role != "Routing":
        return "the token is accepted"
    rules = redcap.routing_rules()
    broken = [problem for rule in rules if (problem := rule_problem(rule))]
    if broken:
        raise ConfigurationError("; ".join(broken), remedy="mend it in REDCap: until then it routes nothing")
    return f"the token is accepted, {len(rules)} rule(s)"


def _projects(gateway: Opened) -> Iterator[Finding]:
    from fiona_dagster.adapters.destinations import check

    try:
        catalogue = gateway.catalogue()
    except FionaError as error:
        yield Finding("projects", "", str(error))
        return
    projects = catalogue.projects
    nowhere = [one.name for one in projects.values() if not one.image_destinations]
    if gateway.settings.research_pacs is None and (nowhere or not projects):
        yield Finding(
            "research PACS", "",
            f"RESEARCHPACS is not set in config.json, and {', '.join(nowhere) or 'nobody'} has no archive of its own",
        )  # fmt: skip
    for problem in catalogue.problems:
        yield Finding("project that cannot be used", "", problem)
    yield (
        Finding("projects", f"{len(projects)} can be used")
        if projects
        else Finding("projects", "", "there is none: add one to DataTransferProjects or projects.yaml")
    )
    for project in projects.values():
        for destination in project.destinations:
            yield _tried(
                f"{project.name}: destination {destination.name}",
                partial(check, destination, gateway.settings),
            )
        for export in project.exports:
            if export.encryption:
                yield _tried(
                    f"{project.name}: password of export {export.label}",
                    partial(_password, gateway.settings, export.password_ref),
                )
        for archive in project.image_destinations:
            yield _tried(
                f"{project.name}: archive {archive.name}", archive_of(archive, gateway.settings).check
            )


def _password(settings: Settings, reference: str) -> str:
    from fiona_dagster.adapters.encryption import check_password

    check_password(settings.secret(reference))
    return "it is there, and long enough"
