"""`fiona status`: the conservation law, what is held and why, queues, disk, services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fiona_dagster.adapters.cleanup import disk_use
from fiona_dagster.adapters.receivers import troubles
from fiona_dagster.cli.arrival_status import arrival_facts, arrival_lines
from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway
from fiona_dagster.cli.services import RECEIVER, services
from fiona_dagster.cli.tables import console
from fiona_dagster.domain.errors import FionaError

_SHOWN_KEYS = 10
"""Study keys that are named for one reason; --json names more."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@config_option
def status(as_json: bool, config_file: Path | None) -> None:
    """Totals over everything received. Exit status 1 when the conservation law does not hold."""
    gateway = open_gateway(config_file)
    facts = collect(gateway)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)
    raise SystemExit(0 if facts["conservation"]["holds"] else 1)


def collect(gateway: Opened) -> dict[str, Any]:
    """The facts that `fiona status` shows, ready for JSON."""
    # loads SQLAlchemy, which --help does not need
    from fiona_dagster.adapters.ledger.held import held_studies, stopped_transfers

    totals = gateway.ledger.inventory.totals()
    balance = totals.balance
    answers = services(gateway.settings)
    disk = disk_use(gateway.settings.layout.datadir)
    return {
        "conservation": {
            "holds": balance.holds, "received": balance.received, "released": balance.released,
            "held": balance.held, "excluded": balance.excluded, "failed": balance.failed,
        },
        "refused_at_the_door": totals.refused,
        "refused_in_a_day": _refusals(gateway),
        "reception": {site.name: troubles(site) for site in gateway.settings.sites},
        "held_studies": held_studies(gateway.ledger),
        "stopped_transfers": stopped_transfers(gateway.ledger),
        "held_because": dict(sorted(totals.held_reasons.items())),
        "studies": totals.studies,
        "transfers": totals.transfers,
        "stale": _stale(gateway) if totals.transfers else {},
        "open_associations": totals.open_associations,
        "disk": {"used_percent": round(disk.percent, 1), "free_bytes": disk.free_bytes},
        "queues": _queues(gateway),
        "retrieval": gateway.ledger.retrievals.totals(),
        **arrival_facts(gateway.ledger, gateway.settings),
        "services": answers,
        "receivers": {
            name.removeprefix(RECEIVER): answer for name, answer in answers.items() if name.startswith(RECEIVER)
        },
    }  # fmt: skip


def _refusals(gateway: Opened) -> list[dict[str, Any]]:
    from fiona_dagster.adapters.ledger.refusals import refusals_since

    return [
        {
            "site": one.site,
            "status": f"0x{one.status:04X}",
            "reason": one.reason,
            "times": one.times,
            "callers": list(one.callers),
        }
        for one in refusals_since(gateway.ledger, now() - 86400.0)
    ]


def _stale(gateway: Opened) -> dict[str, dict[str, int]] | None:
    """Transfers that were delivered by another method than their project's present one; None where nobody can tell."""
    from fiona_dagster.adapters.configuration import impatient_registry, project_catalogue
    from fiona_dagster.adapters.stale_copies import stale_transfers

    try:
        catalogue = project_catalogue(gateway.settings, gateway.ledger, impatient_registry(gateway.settings))
    except FionaError as error:
        click.echo(f"fiona: the projects cannot be read: {error}", err=True)
        return None
    for problem in catalogue.problems:
        click.echo(f"fiona: {problem}", err=True)
    found = stale_transfers(gateway.ledger, gateway.settings, catalogue.projects.values())
    return {
        name: {"transfers": one.transfers, "without_images": one.without_images}
        for name, one in found.items()
    }


def _queues(gateway: Opened) -> dict[str, dict[str, float | int | None]]:
    from fiona_dagster.adapters.ledger.queues import queues

    at = now()
    return {
        name: {"waiting": count, "oldest_seconds": None if oldest is None else round(max(0.0, at - oldest))}
        for name, (count, oldest) in queues(gateway.ledger).items()
    }


def _named(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else ""
    return f" ({', '.join(names[:_SHOWN_KEYS])}{more})" if names else ""


def _reception_lines(facts: dict[str, Any]) -> Iterator[str]:
    for one in facts["refused_in_a_day"]:
        callers = "; ".join(one["callers"])
        yield f"  {one['times']} refused within a day at {one['site']}: {one['status']} {one['reason']} ({callers})"
    for name, sentences in facts["reception"].items():
        for sentence in sentences:
            yield f"receiver {name}: {sentence}"


def _show(facts: dict[str, Any]) -> None:
    from rich.table import Table

    shown = console()
    law = facts["conservation"]
    table = Table(title="instances", title_justify="left")
    for name in ("received", "released", "held", "excluded", "failed"):
        table.add_column(name, justify="right")
    table.add_column("conservation law")
    numbers = [str(law[name]) for name in ("received", "released", "held", "excluded", "failed")]
    table.add_row(*numbers, "holds" if law["holds"] else "[red]BROKEN[/red]")
    shown.print(table)
    for reason, count in facts["held_because"].items():
        shown.print(f"  {count} held: {reason}{_named(facts['held_studies'].get(reason, []))}", markup=False)
    shown.print("  (every instance counts once for each transfer of its study)")
    shown.print(f"studies {facts['studies']}, transfers {facts['transfers'] or 'none'}")
    for reason, named in facts["stopped_transfers"].items():
        shown.print(f"  transfer {reason}{_named(named)}", markup=False)
    shown.print(
        f"refused at the door {facts['refused_at_the_door']}, open Associations {facts['open_associations']}"
    )
    for line in _reception_lines(facts):
        shown.print(line)
    for name, stale in (facts["stale"] or {}).items():
        gone = f"; the images of {stale['without_images']} were cleaned up" if stale["without_images"] else ""
        shown.print(f"{stale['transfers']} stale: {name} would be de-identified otherwise now{gone}")
    for name, queue in facts["queues"].items():
        oldest = f", the oldest for {queue['oldest_seconds']} s" if queue["waiting"] else ""
        shown.print(f"queue: {queue['waiting']} {name}{oldest}")
    for line in arrival_lines(facts):
        shown.print(line)
    for state, retrieval in facts["retrieval"].items():
        if retrieval["studies"]:
            shown.print(f"{retrieval['studies']} studies looked for at their source: {state}")
        for reason, count in sorted(retrieval["because"].items()):
            shown.print(f"  {count}: {reason}", markup=False)
    for name, answer in facts["services"].items():
        shown.print(f"{name}: {answer}")
    disk = facts["disk"]
    shown.print(f"disk {disk['used_percent']:.0f} % used, {disk['free_bytes'] >> 30} GiB free")
