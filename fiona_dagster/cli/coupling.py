"""`fiona coupling`: the coupling list from a file, checked line by line, and what stands in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.coupling import CouplingFile, CouplingImport, plan_import, read_coupling_file
from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def coupling() -> None:
    """The coupling list: which accession number belongs to which project, participant and event."""


@coupling.command()
@click.argument("file", type=_FILE)
@config_option
def check(file: Path, config_file: Path | None) -> None:
    """Check FILE (AccessionNumber,ProjectName,subjectid,eventname) and change nothing; exit status 1 with problems."""
    gateway = open_gateway(config_file)
    read, plan = _planned(gateway, _registry(gateway), file)
    _report(read, plan)
    if read.problems:
        raise SystemExit(1)


@coupling.command(name="import")
@click.argument("file", type=_FILE)
@click.option("--good-lines", is_flag=True, help="Import what is good although other lines are not.")
@config_option
def import_file(file: Path, good_lines: bool, config_file: Path | None) -> None:
    """Import FILE into REDCap's CouplingList: all of it or, with a bad line, nothing (exit status 1).

    An entry counts for 14 days, also for studies that arrived before it or went elsewhere already. Importing the same
    file again adds nothing.
    """
    from fiona_dagster.adapters.redcap.coupling_list import add_entries

    gateway = open_gateway(config_file)
    registry = _registry(gateway)
    read, plan = _planned(gateway, registry, file)
    _report(read, plan)
    if read.problems and not good_lines:
        click.echo("nothing was imported: mend the lines, or give --good-lines")
        raise SystemExit(1)
    at = now()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    numbers = add_entries(registry, plan.new, when=when, who=whoami(), batch=f"{file.name[:60]} {when}")
    gateway.ledger.inventory.note_access(whoami(), "coupling import", f"{len(numbers)} entries", now=at)
    span = f": {numbers[0]} to {numbers[-1]}" if numbers else ""
    click.echo(f"{len(numbers)} entries imported{span}")
    if read.problems:
        raise SystemExit(1)


@coupling.command(name="list")
@click.option("--project", default="", help="Only this project's.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config_option
def list_entries(project: str, as_json: bool, config_file: Path | None) -> None:
    """Number, project, last day and state of each entry: waiting, used or expired. No names and numbers of studies."""
    gateway = open_gateway(config_file)
    today = time.strftime("%Y-%m-%d", time.localtime(now()))
    rows = [
        {
            "entry": one.record_id,
            "project": one.project,
            "entered": one.date,
            "last_day": one.last_day,
            "state": "used" if one.used else "expired" if one.is_expired(today) else "waiting",
            "used": one.used,
        }
        for one in _registry(gateway).coupling_entries()
        if project in ("", one.project)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo("  ".join(f"{value or '-':<16}" for value in row.values()).rstrip())
    states = [row["state"] for row in rows]
    click.echo(", ".join(f"{states.count(one)} {one}" for one in ("waiting", "used", "expired")))


@coupling.command()
@config_option
def clear(config_file: Path | None) -> None:
    """Delete the entries that have expired; REDCap's user needs the right Delete Record on CouplingList."""
    from fiona_dagster.adapters.redcap.coupling_list import remove_expired

    gateway = open_gateway(config_file)
    gone = remove_expired(_registry(gateway), day=time.strftime("%Y-%m-%d", time.localtime(now())))
    gateway.ledger.inventory.note_access(whoami(), "coupling clear", f"{gone} entries", now=now())
    click.echo(f"{gone} expired entries deleted")


def _registry(gateway: Opened) -> RedcapRegistry:
    from fiona_dagster.adapters.configuration import registry

    found = registry(gateway.settings)
    if found is None:
        raise ConfigurationError(
            "no REDCap is configured", remedy="the coupling list is a project of REDCap: see docs/redcap.md"
        )
    return found


def _planned(gateway: Opened, registry: RedcapRegistry, file: Path) -> tuple[CouplingFile, CouplingImport]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError("is not UTF-8", place=str(file), remedy="save it as CSV UTF-8") from None
    today = time.strftime("%Y-%m-%d", time.localtime(now()))
    read = read_coupling_file(text, gateway.projects(), today=today)
    return read, plan_import(read.entries, registry.coupling_entries(), today=today)


def _report(read: CouplingFile, plan: CouplingImport) -> None:
    for problem in read.problems:
        click.echo(f"line {problem.line}: {problem.problem}")
    for one in plan.replaced:
        click.echo(f"line {one.line}: {one.problem}; the newest counts")
    click.echo(
        f"{len(plan.new)} new, {len(plan.present)} there already, {len(plan.replaced)} instead of older ones, "
        f"{len(read.problems)} bad"
    )
