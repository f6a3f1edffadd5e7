"""`fiona resend`: a study's transfers once more; a destination that has everything is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.routing import TransferRequest

if TYPE_CHECKING:
    from fiona_dagster.domain.transfer import Transfer


@click.command()
@click.argument("study", default="")
@click.option("--project", default="", help="Only the transfers into this project.")
@click.option(
    "--stale",
    is_flag=True,
    help="All of a project whose copies its present profile would not make.",
)
@config_option
def resend(study: str, project: str, stale: bool, config_file: Path | None) -> None:
    """Ask for the transfers of STUDY once more: de-identified, verified, compared with the destination, delivered.

    With --stale and a --project in place of STUDY: for every transfer that `fiona status` counts as stale.
    """
    gateway = open_gateway(config_file)
    if stale == bool(study) or (stale and not project):
        raise ConfigurationError(
            "what is to be sent again is not clear", remedy="name a STUDY, or give --stale and --project"
        )
    wanted = _stale(gateway, project) if stale else _of_study(gateway, study, project)
    for one in wanted:
        request = TransferRequest(one.project, one.participant, one.event, "resend", requested_by=whoami())
        gateway.ledger.transfers.request(one.study_key, request, now=now())
    for key in dict.fromkeys(one.study_key for one in wanted):
        gateway.ledger.inventory.note_access(whoami(), "resend", key, now=now())
        click.echo(f"{key}: {sum(one.study_key == key for one in wanted)} transfer(s) requested again")
    if not wanted:
        click.echo(f"nothing of {project} is stale and has its images here")


def _of_study(gateway: Opened, study: str, project: str) -> list[Transfer]:
    record = gateway.study_with_images(study)
    wanted = [t for t in gateway.ledger.transfers.of_study(record.key) if project in ("", t.project)]
    if not wanted:
        raise ConfigurationError(
            f"study {record.key} has no such transfer", remedy="assign it with `fiona assign`"
        )
    return wanted


def _stale(gateway: Opened, name: str) -> list[Transfer]:
    from fiona_dagster.adapters.stale_copies import stale_transfers_of

    project = gateway.projects().get(name)
    if project is None:
        raise ConfigurationError(
            f"there is no project {name}", remedy="`fiona status` names those with stale copies"
        )
    return stale_transfers_of(gateway.ledger, gateway.settings, project)
