"""`fiona assign`: where a held study goes, decided by a person."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.routing import TransferRequest, request_problem
from fiona_dagster.domain.transfer import TransferState


@click.command()
@click.argument("study")
@click.option("--project", required=True, help="The project's name.")
@click.option("--participant", required=True, help="The participant in that project, by its naming rule.")
@click.option("--event", default="", help="The project's event, where it has events.")
@click.option("--also", is_flag=True, help="Beside another participant or event that it has in this project.")
@config_option
def assign(
    study: str, project: str, participant: str, event: str, also: bool, config_file: Path | None
) -> None:
    """Assign STUDY (study key, accession number or Study Instance UID) to a project.

    The participant is checked against the project's naming rule. The running gateway picks the transfer up within
    seconds; assigning the same again sends again, and changes nothing at a destination that has it.
    """
    gateway = open_gateway(config_file)
    request = TransferRequest(project, participant, event, "assign", requested_by=whoami())
    today = time.strftime("%Y-%m-%d", time.localtime(now()))
    problem = request_problem(request, gateway.projects(), today=today)
    if problem:
        raise ConfigurationError(problem, remedy="nothing was assigned")
    refuse_withdrawn(gateway, project, participant)
    record = gateway.study_with_images(study)
    if record.registered_revision == 0:
        raise ConfigurationError(
            f"study {record.key} is still arriving", remedy="assign it when `fiona status` shows it held"
        )
    if not also:
        refuse_another(gateway, record.key, request)
    transfer = gateway.ledger.transfers.request(record.key, request, now=now())
    gateway.ledger.inventory.note_access(whoami(), "assign", f"{record.key} to {project}", now=now())
    click.echo(f"{record.key}: transfer {transfer.id} to {project} is {transfer.state.value}")


def refuse_another(gateway: Opened, study_key: str, request: TransferRequest) -> None:
    """One study under two participants of a project is a mistake more often than not.

    Raises:
        ConfigurationError: the study has another participant or event in the project.
    """
    for one in gateway.ledger.transfers.of_study(study_key):
        same = (one.participant, one.event) == (request.participant, request.event)
        if one.project == request.project and not same and one.state is not TransferState.RETIRED:
            raise ConfigurationError(
                f"{study_key} is in {one.project} under another participant or event already (transfer {one.id})",
                remedy="nothing was assigned: correct that one with `fiona amend`, or give --also to have both",
            )


def refuse_withdrawn(gateway: Opened, project: str, participant: str) -> None:
    """Nothing goes to a participant who withdrew.

    Raises:
        ConfigurationError: the participant withdrew from the project.
    """
    if gateway.ledger.retirements.is_withdrawn(project, participant):
        raise ConfigurationError(
            f"the participant withdrew from {project}", remedy="nothing was assigned; use another participant"
        )
