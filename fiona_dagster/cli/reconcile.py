"""`fiona reconcile`: where REDCap, received, released and research PACS differ, and who does what about it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.cli.tables import console
from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.reconciliations import StandingDifference


@click.command("reconcile")
@click.option("--now", "at_once", is_flag=True, help="Compare now; else what the last pass found is shown.")
@click.option("--whole", is_flag=True, help="With --now: ask the research PACS for everything, as by night.")
@click.option("--believe-gone", is_flag=True, help="With --now: many studies were deleted there on purpose.")
@click.option("--show", "number", type=int, help="The Study Instance UID behind a difference (audited).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config_option
def reconcile(
    at_once: bool,
    whole: bool,
    believe_gone: bool,
    number: int | None,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Differences between the four accounts, each with its next action; none of it is patient data.

    Exit status 1 where there is any.
    """
    gateway = open_gateway(config_file)
    if number is not None:
        _show(gateway, number)
        return
    unsettled = 0
    if at_once:
        unsettled = _compare(gateway, whole=whole, believe=believe_gone)
    elif whole or believe_gone:
        raise ConfigurationError("--whole and --believe-gone do nothing alone", remedy="add --now")
    found = gateway.ledger.reconciliations.standing()
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in found], indent=2))
    else:
        _table(found, unsettled)
    if found:
        raise SystemExit(1)


def _compare(gateway: Opened, *, whole: bool, believe: bool) -> int:
    """Returns how many studies were not judged."""
    from fiona_dagster.adapters.configuration import registry
    from fiona_dagster.adapters.reconciliation_pass import reconcile as compare

    settings = gateway.settings
    report = compare(gateway.ledger, settings, registry(settings), whole=whole, believe=believe, clock=now)
    for problem in report.problems:
        click.echo(f"fiona: {problem}", err=True)
    return report.unsettled


def _show(gateway: Opened, number: int) -> None:
    found = gateway.ledger.reconciliations.standing(number)
    if not found:
        raise ConfigurationError(f"there is no difference {number}", remedy="`fiona reconcile` lists them")
    gateway.ledger.inventory.note_access(whoami(), "reconcile show", f"difference {number}", now=now())
    click.echo(found[0].difference.uid or "no UID is known")


def _as_json(one: StandingDifference) -> dict[str, object]:
    what = one.difference
    return {
        "id": one.id, "difference": what.kind.value, "study": what.study_key, "transfer": what.transfer_id or None,
        "project": what.project, "detail": what.detail, "owner": what.owner, "next_action": what.next_action,
        "first_seen_at": one.first_seen_at, "last_seen_at": one.last_seen_at,
    }  # fmt: skip


def _table(found: list[StandingDifference], unsettled: int) -> None:
    from rich.table import Table

    if unsettled:
        click.echo(f"{unsettled} studies are not judged: they changed within a quarter of an hour")
    if not found:
        click.echo("REDCap, received, released and research PACS agree, as far as the last pass read them")
        return
    table = Table("no", "difference", "study", "project", "detail", "since", "who", "next action")
    for one in found:
        what = one.difference
        table.add_row(
            str(one.id), what.kind.value, what.study_key, what.project, what.detail,
            time.strftime("%Y-%m-%d", time.localtime(one.first_seen_at)), what.owner, what.next_action,
        )  # fmt: skip
    console().print(table)
