"""`fiona assign`: where a held study goes, decided by a person."""

from __future__ import annotations

from pathlib import Path

import click

from fiona_dagster.cli.opening import config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.routing import TransferRequest, request_problem


@click.command()
@click.argument("study")
@click.option("--project", required=True, help="The project's name.")
@click.option("--participant", required=True, help="The participant in that project, by its naming rule.")
@click.option("--event", default="", help="The project's event, where it has events.")
@config_option
def assign(study: str, project: str, participant: str, event: str, config_file: Path | None) -> None:
    """Assign STUDY (study key, accession number or Study Instance UID) to a project.

    The participant is checked against the project's naming rule. The running gateway picks the transfer up within
    seconds; assigning the same again sends again, and changes nothing at a destination that has it.
    """
    gateway = open_gateway(config_file)
    request = TransferRequest(project, participant, event, "assign", requested_by=whoami())
    problem = request_problem(request, gateway.projects())
    if problem:
        raise ConfigurationError(problem, remedy="nothing was assigned")
    record = gateway.study_with_images(study)
    if record.registered_revision == 0:
        raise ConfigurationError(
            f"study {record.key} is still arriving", remedy="assign it when `fiona status` shows it held"
        )
    transfer = gateway.ledger.transfers.request(record.key, request, now=now())
    gateway.ledger.inventory.note_access(whoami(), "assign", f"{record.key} to {project}", now=now())
    click.echo(f"{record.key}: transfer {transfer.id} to {project} is {transfer.state.value}")
