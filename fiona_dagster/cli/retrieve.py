"""`fiona retrieve`: have studies fetched from their sources; or see how far those are that are looked for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError, FionaError
from fiona_dagster.domain.identifiers import is_safe_uid_path

if TYPE_CHECKING:
    from fiona_dagster.settings import Site, Source


@click.command()
@click.argument("studies", nargs=-1, metavar="[STUDY]...")
@click.option(
    "--accession", "accessions", multiple=True, metavar="NUMBER", help="Studies by Accession Number."
)
@click.option("--patient", "patients", multiple=True, metavar="ID", help="All studies of a patient.")
@click.option("--site", "site_name", default="", help="The site that wants them; by default the first.")
@click.option("--now", "at_once", is_flag=True, help="Look and fetch now, in this process.")
@config_option
def retrieve(
    studies: tuple[str, ...],
    accessions: tuple[str, ...],
    patients: tuple[str, ...],
    site_name: str,
    at_once: bool,
    config_file: Path | None,
) -> None:
    """Have each STUDY (Study Instance UID, or key of one that is here in part) looked for at the sources and fetched.

    The running gateway does it, one study at a time a source, with --now this command: what is named, else all that
    is due. Every request is audited.
    Without arguments: how many studies are looked for, finished and given up, and why. Exit status 1 where nothing was
    found or a source did not answer.
    """
    from fiona_dagster.adapters.retrieval_work import active_sources
    from fiona_dagster.domain.retrieval import NOWHERE, Origin

    gateway = open_gateway(config_file)
    site = gateway.settings.site(site_name) if site_name else gateway.settings.default_site
    asked = bool(studies or accessions or patients)
    failed = False
    uids: dict[str, None] = {}
    if asked:
        sources = active_sources(site)
        if not sources:
            raise ConfigurationError(
                f"studies may not be fetched from any source of site {site.name}",
                remedy="give SCANNERIP or OTHERSCANNER a RETRIEVE, or set the second character of `enabled` to 1",
            )
        keys = [("AccessionNumber", one) for one in accessions] + [("PatientID", one) for one in patients]
        found, problems = _found(gateway, sources, keys)
        uids = dict.fromkeys([*(_uid(gateway, one) for one in studies), *found])
        begun = gateway.ledger.retrievals.open(site.name, list(uids), Origin.PERSON, now=now(), again=True)
        gateway.ledger.inventory.note_access(whoami(), "retrieve", f"{len(uids)} studies", now=now())
        click.echo(f"{len(uids)} studies asked for, {len(uids) - begun} of them were looked for already")
        failed = bool(problems) or not uids
    else:
        problems = []
    if at_once:
        problems += _pass(gateway, site, uids if asked else None)
        accounts = [gateway.ledger.retrievals.get(site.name, uid) for uid in uids]
        failed |= any(one is not None and one.reason == NOWHERE for one in accounts)
    for problem in problems:
        click.echo(f"fiona: {problem}", err=True)
    if not asked:
        _show(gateway, None)
    elif at_once:
        _show(gateway, uids)
    raise SystemExit(1 if failed or problems else 0)


def _uid(gateway: Opened, text: str) -> str:
    """The Study Instance UID behind what was typed.

    Raises:
        ConfigurationError: it is none, and no study here has it as its key.
    """
    if "." in text and is_safe_uid_path(text):
        return text
    return gateway.study(text).study_instance_uid


def _found(
    gateway: Opened, sources: list[Source], keys: list[tuple[str, str]]
) -> tuple[list[str], list[str]]:
    """Study Instance UIDs that the sources show for these keys, and what sources said that failed."""
    from fiona_dagster.adapters.dicom_scu import Queries

    found: list[str] = []
    problems: list[str] = []
    known = {keyword: False for keyword, _ in keys}
    for source in sources if keys else []:
        try:
            with Queries(source.peer, gateway.settings.calling_ae_title) as queries:
                for keyword, value in keys:
                    if "*" in value or "?" in value or not value.strip():
                        raise ConfigurationError(
                            "wildcards would fetch the studies of others",
                            remedy="name one number or patient in full",
                        )
                    uids = [one.study_instance_uid for one in queries.studies({keyword: value})]
                    known[keyword] |= bool(uids)
                    found += uids
        except ConfigurationError:
            raise
        except FionaError as error:
            problems.append(str(error))
    if not problems:
        options = {"AccessionNumber": "--accession", "PatientID": "--patient"}
        problems += [f"no source shows a study of {options[one]}" for one, seen in known.items() if not seen]
    return found, problems


def _pass(gateway: Opened, site: Site, only: Collection[str] | None) -> list[str]:
    from fiona_dagster.adapters.retrieval_pass import retrieve as one_pass

    done = one_pass(gateway.ledger, gateway.settings, site_name=site.name, only=only)
    click.echo(
        f"looked at {done.looked} studies, {done.instances} instances came, {done.finished} studies finished"
    )
    for source in done.busy:
        click.echo(
            f"{source}: another process, most likely the running gateway, is looking there now; what was asked for is"
            " in the ledger, and the gateway takes it up"
        )
    return list(done.problems)


def _show(gateway: Opened, only: Collection[str] | None) -> None:
    """How far the studies are, and why the others are not finished: what is active the running gateway goes on with."""
    for state, facts in gateway.ledger.retrievals.totals(only).items():
        if only is None or facts["studies"]:
            click.echo(f"{facts['studies']} {state}")
        for reason, count in sorted(facts["because"].items()):
            click.echo(f"  {count}: {reason}")
