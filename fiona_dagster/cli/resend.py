"""`fiona resend`: a study's transfers once more; a destination that has everything is left alone."""

from __future__ import annotations

from pathlib import Path

import click

from fiona_dagster.cli.opening import config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.routing import TransferRequest


@click.command()
@click.argument("study")
@click.option("--project", default="", help="Only the transfers into this project.")
@config_option
def resend(study: str, project: str, config_file: Path | None) -> None:
    """Ask for the transfers of STUDY once more: de-identified, verified, compared with the destination, delivered."""
    gateway = open_gateway(config_file)
    record = gateway.study_with_images(study)
    wanted = [t for t in gateway.ledger.transfers.of_study(record.key) if project in ("", t.project)]
    if not wanted:
        raise ConfigurationError(
            f"study {record.key} has no such transfer", remedy="assign it with `fiona assign`"
        )
    for one in wanted:
        request = TransferRequest(one.project, one.participant, one.event, "resend", requested_by=whoami())
        gateway.ledger.transfers.request(record.key, request, now=now())
    gateway.ledger.inventory.note_access(whoami(), "resend", record.key, now=now())
    click.echo(f"{record.key}: {len(wanted)} transfer(s) requested again")
