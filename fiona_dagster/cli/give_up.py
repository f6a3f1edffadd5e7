"""`fiona give-up`: a study that waits for a person goes nowhere, and may be deleted."""

from __future__ import annotations

from pathlib import Path

import click

from fiona_dagster.cli.opening import config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError


@click.command("give-up")
@click.argument("study")
@click.option("--reason", required=True, help="Why; it is shown to others: no patient data.")
@config_option
def give_up(study: str, reason: str, config_file: Path | None) -> None:
    """Give STUDY (study key, accession number or Study Instance UID) up.

    What was not delivered counts as failed and is not tried again; the images may be deleted when room is needed.
    A later image, `fiona assign` and `fiona resend` take it back.
    """
    from fiona_dagster.adapters.ledger.giving_up import give_up as record

    if not reason.strip():
        raise ConfigurationError("the reason is blank", remedy="say why, in a few words without patient data")
    gateway = open_gateway(config_file)
    found = gateway.study(study)
    count = record(gateway.ledger, found.key, reason.strip(), who=whoami(), now=now())
    click.echo(f"{found.key} is given up, with {count} transfer(s) that were not delivered")
