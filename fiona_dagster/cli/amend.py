"""`fiona amend`: a study that was assigned wrongly goes where it belongs, and the wrong copies are taken back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.assign import refuse_withdrawn
from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.cli.withdraw import carry_out_all, show
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.routing import TransferRequest, request_problem
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.domain.transfer import Transfer


@click.command()
@click.argument("study")
@click.option("--project", required=True, help="The right project.")
@click.option("--participant", required=True, help="The right participant in it.")
@click.option("--event", default="", help="The right event, where the project has events.")
@click.option("--wrong", type=int, help="The number of the wrong transfer, where the study has several.")
@config_option
def amend(
    study: str, project: str, participant: str, event: str, wrong: int | None, config_file: Path | None
) -> None:
    """Assign STUDY anew, and retire the copies of its wrong assignment.

    The archive is sent a rejection note where it takes them (RESEARCHPACS.REJECTIONNOTES); packages are deleted at
    their destinations. What is left to a person is listed, and the right copy follows as soon as the archive has none
    of the wrong ones under the same UIDs. Exit status 1: something is left to do.
    """
    gateway = open_gateway(config_file)
    request = TransferRequest(project, participant, event, "assign", requested_by=whoami())
    today = time.strftime("%Y-%m-%d", time.localtime(now()))
    problem = request_problem(request, gateway.projects(), today=today)
    if problem:
        raise ConfigurationError(problem, remedy="nothing was changed")
    refuse_withdrawn(gateway, project, participant)
    record = gateway.study_with_images(study)
    old = _wrong(gateway, record.key, request, wrong)
    right = gateway.ledger.transfers.request(record.key, request, now=now())
    gateway.ledger.retirements.reassign(old.id, right.id, who=whoami(), now=now())
    receipts = carry_out_all(gateway, [old.id])
    click.echo(f"{record.key}: transfer {old.id} is retired, transfer {right.id} to {project} is requested")
    show(receipts)
    if any(one.outcome.value != "gone" for one in receipts):
        raise SystemExit(1)


def _wrong(gateway: Opened, key: str, request: TransferRequest, wrong: int | None) -> Transfer:
    mine = (request.project, request.participant, request.event)
    others = [
        one
        for one in gateway.ledger.transfers.of_study(key)
        if one.state is not TransferState.RETIRED
        and (one.project, one.participant, one.event) != mine
        and wrong in (None, one.id)
    ]
    if len(others) != 1:
        known = ", ".join(f"{one.id} ({one.project}, {one.state.value})" for one in others) or "none"
        raise ConfigurationError(
            f"which transfer of {key} is wrong is not clear",
            remedy=f"name it with --wrong; there are: {known}",
        )
    return others[0]
