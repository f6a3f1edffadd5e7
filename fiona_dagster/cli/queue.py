"""`fiona queue`: what is on its way to archives and places of packages; take it out, or have it tried again now."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.cli.tables import console
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.parcels import Parcel
    from fiona_dagster.adapters.ledger.sendings import Sending
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.transfer import Transfer

_DESTINATION = click.option(
    "--to", "destination", default="", help="Only this destination, by its name or address."
)
_PACKAGE = click.option(
    "--package", "export", default="", help="Only this package, by its export (as `native`) or file name."
)


@click.group("queue")
def queue() -> None:
    """What waits for an archive or a place of packages, or failed there, why, and what to do about it."""


@queue.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what was confirmed or cancelled, and when.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config_option
def list_(everything: bool, as_json: bool, config_file: Path | None) -> None:
    """Show it, oldest first, with the destinations that are left alone at present."""
    from rich.table import Table

    ledger = open_gateway(config_file).ledger
    states = tuple(SendingState) if everything else (SendingState.WAITING, SendingState.FAILED)
    rows, breakers, at = ledger.sendings.queue(states), ledger.breakers.open(), now()
    parcels, packages = ledger.parcels.queue(states), ledger.deliveries.waiting()
    if as_json:
        resting = {name: {**asdict(one), "open": not one.admits(at)} for name, one in breakers.items()}
        found = {"queue": [asdict(one) for one in rows], "packages": [asdict(one) for one in packages]}
        found["parcels"] = [asdict(one) for one in parcels]
        click.echo(json.dumps({**found, "destinations": resting}, indent=2))
        return
    ends = ["ended"] if everything else []
    table = Table(
        "study", "project", "what", "destination", "state", *ends, "confirmed", "tries", "next in", "why"
    )
    for one in rows:
        wait = f"{one.next_at - at:.0f} s" if one.next_at > at else ""
        table.add_row(
            one.study_key, one.project, "images", f"{one.name} ({one.destination})", one.state.value,
            *(_ended(one) for _ in ends), f"{one.confirmed}/{one.total}", str(one.attempts), wait, one.reason,
        )  # fmt: skip
    for package in parcels:
        table.add_row(
            package.study_key, package.project, package.export, package.place, package.state.value,
            *(_ended(package) for _ in ends), "", str(package.attempts), "", package.reason,
        )  # fmt: skip
    console().print(table)
    for waiting in packages:
        what = waiting.reason if waiting.state == TransferState.FAILED else "packages are due"
        again = "; `fiona queue retry` tries again" if waiting.state == TransferState.FAILED else ""
        click.echo(f"{waiting.study_key}: {waiting.project}: {what}{again}")
    for name, breaker in breakers.items():
        left = (
            f"left alone for {breaker.retry_at - at:.0f} s" if not breaker.admits(at) else "due to be tried"
        )
        click.echo(f"{name}: {breaker.failures} failure(s), {left}: {breaker.reason}")


@queue.command("show")
@click.argument("study")
@_DESTINATION
@_PACKAGE
@config_option
def show(study: str, destination: str, export: str, config_file: Path | None) -> None:
    """What became of STUDY: warnings and failures of single instances, by text, with how many have it; packages."""
    from fiona_dagster.adapters.ledger.removed_packages import removed_packages
    from fiona_dagster.cli.withdraw import show as show_receipts

    gateway = open_gateway(config_file)
    taken_back = _taken_back(gateway, gateway.study(study).key, destination, export)
    for transfer_id, said in taken_back.items():
        click.echo(said)
        show_receipts(gateway.ledger.retirements.receipts(transfer_id))
    sendings, parcels = _of_study(gateway, study, destination, export, required=not taken_back)
    for one in sendings:
        click.echo(
            f"{one.project} to {one.name} ({one.destination}): {one.state.value}, {one.confirmed} of {one.total} "
            f"confirmed{' by ' + one.confirmed_by if one.confirmed_by else ''}"
        )
        problems = gateway.ledger.sendings.problems(one.transfer_id, one.destination)
        for text, count in sorted(problems.items()):
            click.echo(f"  {count} x {text}")
    for package in parcels:
        why = f": {package.reason}" if package.reason else ""
        click.echo(
            f"{package.project} package {package.export} to {package.place}: {package.state.value}{why}"
        )
        if package.begun and package.state is not SendingState.CONFIRMED:
            click.echo(
                "  a part of it may lie there, under a hidden name that ends in .part" + _until(package)
            )
    for number in sorted({one.transfer_id for one in parcels}):
        for gone in removed_packages(gateway.ledger, number):
            click.echo(
                f"deleted from the outbox {_time(gone.at)}: {gone.what}; `fiona queue retry` makes it again"
            )


def _ended(one: Sending | Parcel) -> str:
    """When it was confirmed or cancelled; blank for what is on its way."""
    return _time(one.changed_at) if one.state in (SendingState.CONFIRMED, SendingState.CANCELLED) else ""


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _until(package: Parcel) -> str:
    """What becomes of a part."""
    cancelled = package.state is SendingState.CANCELLED
    return ": it is deleted as soon as that can be done" if cancelled else ""


@queue.command("cancel")
@click.argument("study")
@_DESTINATION
@_PACKAGE
@click.option("--reason", required=True, help="Why; it is shown to others: no patient data.")
@config_option
def cancel(study: str, destination: str, export: str, reason: str, config_file: Path | None) -> None:
    """Take STUDY out of the queue: what waits or failed does not go there. A run that sends it stops."""
    gateway = open_gateway(config_file)
    taken, reason = 0, reason.strip()
    sendings, parcels = _of_study(gateway, study, destination, export, enter=True)
    for one in sendings:
        if gateway.ledger.sendings.cancel(one.transfer_id, one.destination, reason, who=whoami(), now=now()):
            taken += 1
            click.echo(f"{one.study_key}: {one.project} does not go to {one.name} ({one.destination})")
    for package in parcels:
        if gateway.ledger.parcels.cancel(package, reason, who=whoami(), now=now()):
            taken += 1
            click.echo(
                f"{package.study_key}: package {package.export} of {package.project} does not go to {package.place}"
            )
    if not taken:
        raise ConfigurationError(
            "nothing of it is in the queue", remedy="`fiona queue show STUDY` shows what became of it"
        )


@queue.command("retry")
@click.argument("study", default="")
@_DESTINATION
@_PACKAGE
@config_option
def retry(study: str, destination: str, export: str, config_file: Path | None) -> None:
    """Try STUDY again now: what waits, what failed, and what was cancelled.

    Without STUDY, everything that waits or failed at the destination of --to; what was cancelled stays so.
    """
    if not study and not destination:
        raise ConfigurationError("whose?", remedy="name a study, or a destination with --to, or both")
    gateway = open_gateway(config_file)
    if study:
        gateway.study_with_images(study)
    studies = [study] if study else _stuck_at(gateway, destination, export)
    tried = [_retry(gateway, one, destination, export, cancelled=bool(study)) for one in studies]
    if not any(tried):
        raise ConfigurationError(
            "nothing of it is in the queue", remedy="for what was confirmed, use `fiona resend`"
        )


def _retry(gateway: Opened, study: str, destination: str, export: str, *, cancelled: bool) -> bool:
    """Try again what fits of a study; whether there was anything."""
    left = {SendingState.CONFIRMED} if cancelled else {SendingState.CONFIRMED, SendingState.CANCELLED}
    sendings, parcels = _of_study(gateway, study, destination, export, enter=True, required=cancelled)
    again = [one for one in sendings if one.state not in left]
    for one in again:
        gateway.ledger.sendings.retry(one.transfer_id, one.destination, who=whoami(), now=now())
        click.echo(f"{one.study_key}: {one.project} to {one.name} ({one.destination}) is tried again")
    due = [one for one in parcels if one.is_due and one.state not in left]
    for package in due:
        peer = _peer(gateway.projects().get(package.project), package.destination)
        gateway.ledger.parcels.retry(package, peer, who=whoami(), now=now())
        click.echo(
            f"{package.study_key}: package {package.export} of {package.project} to {package.place} is tried again"
        )
    return bool(again or due)


def _stuck_at(gateway: Opened, destination: str, export: str) -> list[str]:
    """Studies of which something waits or failed at a destination; those with packages that nobody queued yet, too."""
    states = (SendingState.WAITING, SendingState.FAILED)
    ledger = gateway.ledger
    images = [one for one in ledger.sendings.queue(states) if destination in (one.name, one.destination)]
    packages = [one for one in ledger.parcels.queue(states) if destination in (one.destination, one.place)]
    found = {one.study_key for one in packages if export in ("", one.export, one.name)}
    if not export:
        found |= {one.study_key for one in images}
    return sorted(found | {one.study_key for one in ledger.deliveries.waiting()})


def _of_study(
    gateway: Opened,
    study: str,
    destination: str,
    export: str,
    *,
    enter: bool = False,
    required: bool = True,
) -> tuple[list[Sending], list[Parcel]]:
    """What of a study was queued, and fits; with `enter`, packages that are due are queued first.

    Raises:
        ConfigurationError: nothing was, and something is `required`.
    """
    key = gateway.study(study).key
    transfers = [t for t in gateway.ledger.transfers.of_study(key) if t.state is not TransferState.RETIRED]
    if enter:
        _enter_packages(gateway, transfers)
    sendings, parcels = _fitting(gateway, transfers, destination, export)
    if required and not sendings and not parcels:
        taken_back = _taken_back(gateway, key, destination, export)
        if taken_back:
            raise ConfigurationError(
                f"nothing of study {key} is queued any more: " + "; ".join(taken_back.values()),
                remedy="`fiona queue show STUDY` shows the receipts",
            )
        raise ConfigurationError(
            f"study {key} was never queued for {destination or 'any destination'}"
            + (f" as {export}" if export else ""),
            remedy="`fiona status` shows where it stands",
        )
    return sendings, parcels


def _fitting(
    gateway: Opened, transfers: list[Transfer], destination: str, export: str
) -> tuple[list[Sending], list[Parcel]]:
    """What of these transfers was queued, and fits."""
    rows = [one for t in transfers for one in gateway.ledger.sendings.of_transfer(t.id).values()]
    sendings = [one for one in rows if destination in ("", one.name, one.destination) and not export]
    parcels = [
        one
        for t in transfers
        for one in gateway.ledger.parcels.of_transfer(t.id)
        if destination in ("", one.destination, one.place) and export in ("", one.export, one.name)
    ]
    return sendings, parcels


def _taken_back(gateway: Opened, key: str, destination: str, export: str) -> dict[int, str]:
    """Retired transfers of which something was queued that fits: what is to be said of them, by their numbers."""
    found = {}
    for one in gateway.ledger.transfers.of_study(key, [TransferState.RETIRED]):
        sendings, parcels = _fitting(gateway, [one], destination, export)
        if sendings or parcels:
            states = [*(row.state for row in sendings), *(row.state for row in parcels)]
            was = "delivered" if SendingState.CONFIRMED in states else "queued"
            found[one.id] = f"{one.project}: was {was}, and taken back since ({one.reason})"
    return found


def _enter_packages(gateway: Opened, transfers: list[Transfer]) -> None:
    """Queue packages that are due and that no run has come to yet."""
    from fiona_dagster.adapters.ledger.deliveries import DELIVERY_FAILED
    from fiona_dagster.domain.delivery import wanted_of

    for one in transfers:
        failed = one.state is TransferState.FAILED and one.reason.startswith(DELIVERY_FAILED)
        project = (
            gateway.projects().get(one.project) if failed or one.state is TransferState.FORWARDED else None
        )
        if project is not None:
            revision = gateway.ledger.transfers.released_revision(one.id)
            wanted = wanted_of(project.exports, project.destinations)
            gateway.ledger.parcels.enter(one, wanted, revision=revision, now=now())


def _peer(project: Project | None, destination: str) -> str:
    """What the ledger calls a place of packages that may be left alone."""
    from fiona_dagster.adapters.destinations import key_of

    found = [one for one in project.destinations if one.name == destination] if project else []
    return key_of(found[0]) if found else ""
