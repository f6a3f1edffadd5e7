"""`fiona release`: a person has looked at what the residual search found, and it is no leak."""

from __future__ import annotations

from pathlib import Path

import click

from fiona_dagster.cli.opening import config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError


@click.command()
@click.argument("study")
@click.option("--place", "places", required=True, help="Attributes as verification names them, by commas.")
@click.option("--because", required=True, help="Why it is no leak; kept in the audit, not in the proof.")
@click.option("--project", default="", help="The transfer's project, where the study has several.")
@config_option
def release(study: str, places: str, because: str, project: str, config_file: Path | None) -> None:
    """Accept that an original value stands in a PLACE of the copies of STUDY, and verify them once more.

    For a false alarm: the patient is called Lung, and the kernel is LUNG. Counts for these places, this revision of
    the study, this project and the method that made the copies; everything else is verified as before.
    """
    from fiona_dagster.domain.acceptance import wanted_places
    from fiona_dagster.domain.transfer import TransferState

    if not because.strip():
        raise ConfigurationError("the reason is blank", remedy="say what was looked at and why it is no leak")
    gateway = open_gateway(config_file)
    record = gateway.study_with_images(study)
    ledger = gateway.ledger
    held = [
        one
        for one in ledger.transfers.of_study(record.key, [TransferState.HELD])
        if project in ("", one.project)
    ]
    if len(held) != 1:
        names = ", ".join(sorted(one.project for one in held))
        raise ConfigurationError(
            f"{len(held) or 'no'} transfer{'s' if len(held) > 1 else ''} of {record.key}"
            f" {'are' if len(held) > 1 else 'is'} held",
            remedy=f"name one with --project: {names}" if held else "`fiona status` shows what is",
        )
    transfer = held[0]
    revision = ledger.transfers.released_revision(transfer.id)
    if revision != record.revision:
        raise ConfigurationError(
            f"{record.key} has grown since it was verified",
            remedy="`fiona resend` it, and look at what is found then",
        )
    wanted = wanted_places(places, ledger.acceptances.found(transfer.id, revision))
    ledger.acceptances.accept(transfer, revision, wanted, because.strip(), who=whoami(), now=now())
    click.echo(
        f"{record.key}: {', '.join(wanted)} accepted in revision {revision} for {transfer.project};"
        " the transfer is requested again"
    )
