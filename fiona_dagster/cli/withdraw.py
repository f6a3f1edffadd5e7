"""`fiona withdraw`: a participant's copies are taken back from everywhere, and each leaves a receipt."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.retirement import Outcome

if TYPE_CHECKING:
    from fiona_dagster.domain.retirement import CopyReceipt


@click.command()
@click.option("--project", required=True, help="The project's name.")
@click.option("--participant", required=True, help="The participant in that project.")
@click.option("--dry-run", is_flag=True, help="Only show what is known; nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="The receipts as JSON.")
@config_option
def withdraw(project: str, participant: str, dry_run: bool, as_json: bool, config_file: Path | None) -> None:
    """Withdraw a participant: archive, packages, outbox and our own copies are emptied of every transfer.

    Copies that we cannot delete are listed with what a person must do; a destination that does not answer is tried
    again every hour. Whatever comes for the participant later is held. The received images stay the hospital's: where
    they were for nothing else, they may be cleaned up. Calling it again changes nothing and shows the receipts anew.
    Exit status 1: something is left to do.
    """
    gateway = open_gateway(config_file)
    if not project or not participant:
        raise ConfigurationError("project or participant is blank", remedy="name both")
    if dry_run:
        _show_known(gateway, project, participant)
        return
    transfers = gateway.ledger.retirements.withdraw(project, participant, who=whoami(), now=now())
    receipts = carry_out_all(gateway, transfers)
    if as_json:
        click.echo(json.dumps(receipts_document(gateway, project, participant, receipts), indent=2))
    else:
        click.echo(f"{project}: {len(transfers)} transfer(s) withdrawn; what comes later is held")
        show(receipts)
    if any(one.outcome is not Outcome.GONE for one in receipts):
        raise SystemExit(1)


def carry_out_all(gateway: Opened, transfers: list[int]) -> list[CopyReceipt]:
    """Retire what is still due of these transfers; returns all their receipts."""
    from fiona_dagster.adapters.retirement import carry_out

    due = set(gateway.ledger.retirements.due())
    projects = gateway.projects() if due else {}
    receipts = []
    for one in transfers:
        if one in due:
            carry_out(gateway.ledger, gateway.settings, projects, one, clock=now)
        receipts += gateway.ledger.retirements.receipts(one)
    return receipts


def show(receipts: list[CopyReceipt]) -> None:
    """The receipts as lines: what is gone, and what is left to whom."""
    for one in receipts:
        name = f" {one.name}" if one.name else ""
        click.echo(f"  {one.outcome.value:<6} {one.kind:<8} {one.place}{name} ({one.count}): {one.detail}")


def receipts_document(
    gateway: Opened, project: str, participant: str, receipts: list[CopyReceipt]
) -> dict[str, Any]:
    """The receipts with the site's signature over them: they can be shown, and not be changed."""
    from fiona_dagster.adapters.signing import SigningKey

    content = {
        "format": "fiona-withdrawal/1",
        "project": project,
        "participant": participant,
        "receipts": [asdict(one) | {"outcome": one.outcome.value, "at": int(one.at)} for one in receipts],
    }
    key = SigningKey.beside(gateway.settings.keyring, gateway.settings.environment)
    signed: dict[str, Any] = json.loads(key.sign(content))
    return signed


def _show_known(gateway: Opened, project: str, participant: str) -> None:
    for one in gateway.ledger.transfers.all():
        if (one.project, one.participant) != (project, participant):
            continue
        click.echo(f"{one.study_key}: transfer {one.id} is {one.state.value}")
        for record in gateway.ledger.deliveries.of_transfer(one.id):
            click.echo(f"  {record.kind} {record.place}: {record.state}, {record.instance_count} instance(s)")
