"""`fiona queue`: what is on its way to archives; take something out, or have it tried again now."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.sendings import Sending

_DESTINATION = click.option(
    "--to", "destination", default="", help="Only this destination, by its name or address."
)


@click.group("queue")
def queue() -> None:
    """What waits for an archive or failed there, and packages that are due, why, and what to do about it."""


@queue.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what was confirmed or cancelled.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config_option
def list_(everything: bool, as_json: bool, config_file: Path | None) -> None:
    """Show it, oldest first, with the destinations that are left alone at present."""
    from rich.console import Console
    from rich.table import Table

    ledger = open_gateway(config_file).ledger
    states = tuple(SendingState) if everything else (SendingState.WAITING, SendingState.FAILED)
    rows, breakers, at = ledger.sendings.queue(states), ledger.breakers.open(), now()
    packages = ledger.deliveries.waiting()
    if as_json:
        resting = {name: {**asdict(one), "open": not one.admits(at)} for name, one in breakers.items()}
        found = {"queue": [asdict(one) for one in rows], "packages": [asdict(one) for one in packages]}
        click.echo(json.dumps({**found, "destinations": resting}, indent=2))
        return
    table = Table("study", "project", "destination", "state", "confirmed", "tries", "next in", "why")
    for one in rows:
        wait = f"{one.next_at - at:.0f} s" if one.next_at > at else ""
        table.add_row(
            one.study_key, one.project, f"{one.name} ({one.destination})", one.state.value,
            f"{one.confirmed}/{one.total}", str(one.attempts), wait, one.reason,
        )  # fmt: skip
    Console().print(table)
    for waiting in packages:
        what = waiting.reason if waiting.state == TransferState.FAILED else "packages are due"
        again = "; `fiona resend` tries again" if waiting.state == TransferState.FAILED else ""
        click.echo(f"{waiting.study_key}: {waiting.project}: {what}{again}")
    for name, breaker in breakers.items():
        left = (
            f"left alone for {breaker.retry_at - at:.0f} s" if not breaker.admits(at) else "due to be tried"
        )
        click.echo(f"{name}: {breaker.failures} failure(s), {left}: {breaker.reason}")


@queue.command("show")
@click.argument("study")
@_DESTINATION
@config_option
def show(study: str, destination: str, config_file: Path | None) -> None:
    """Warnings and failures of single instances of STUDY, by text, with how many have it."""
    gateway = open_gateway(config_file)
    for one in _of_study(gateway, study, destination):
        click.echo(
            f"{one.project} to {one.name} ({one.destination}): {one.state.value}, {one.confirmed} of {one.total} "
            f"confirmed{' by ' + one.confirmed_by if one.confirmed_by else ''}"
        )
        problems = gateway.ledger.sendings.problems(one.transfer_id, one.destination)
        for text, count in sorted(problems.items()):
            click.echo(f"  {count} x {text}")


@queue.command("cancel")
@click.argument("study")
@_DESTINATION
@click.option("--reason", required=True, help="Why; it is shown to others: no patient data.")
@config_option
def cancel(study: str, destination: str, reason: str, config_file: Path | None) -> None:
    """Take STUDY out of the queue: it does not go there. A run that sends it stops; the other destinations go on."""
    gateway = open_gateway(config_file)
    taken = 0
    for one in _of_study(gateway, study, destination):
        if gateway.ledger.sendings.cancel(
            one.transfer_id, one.destination, reason.strip(), who=whoami(), now=now()
        ):
            taken += 1
            click.echo(f"{one.study_key}: {one.project} does not go to {one.name} ({one.destination})")
    if not taken:
        raise ConfigurationError(
            "nothing of it is in the queue", remedy="`fiona queue list --all` shows what became of it"
        )


@queue.command("retry")
@click.argument("study")
@_DESTINATION
@config_option
def retry(study: str, destination: str, config_file: Path | None) -> None:
    """Try STUDY again now: what waits, what failed, and what was cancelled."""
    gateway = open_gateway(config_file)
    gateway.study_with_images(study)
    again = [one for one in _of_study(gateway, study, destination) if one.state is not SendingState.CONFIRMED]
    for one in again:
        gateway.ledger.sendings.retry(one.transfer_id, one.destination, who=whoami(), now=now())
        click.echo(f"{one.study_key}: {one.project} to {one.name} ({one.destination}) is tried again")
    if not again:
        raise ConfigurationError(
            "nothing of it is in the queue", remedy="for what was confirmed, use `fiona resend`"
        )


def _of_study(gateway: Opened, study: str, destination: str) -> list[Sending]:
    key = gateway.study(study).key
    transfers = gateway.ledger.transfers.of_study(key)
    rows = [one for t in transfers for one in gateway.ledger.sendings.of_transfer(t.id).values()]
    found = [one for one in rows if destination in ("", one.name, one.destination)]
    if not found:
        raise ConfigurationError(
            f"study {key} was never queued for {destination or 'any destination'}",
            remedy="`fiona status` shows where it stands",
        )
    return found
