"""`fiona project`: where each project stands, and the steps of its end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project_life import STEPS, EndStep, EndType, next_step, step_problem

if TYPE_CHECKING:
    from fiona_dagster.domain.project import Project

_DEPENDS = {
    EndStep.REQUESTED: "nothing is changed yet; --cancel calls it off until copies are deleted",
    EndStep.LOCKED: "no new data is taken",
    EndStep.EXPORTED: "everything that was sent for it is delivered",
    EndStep.CONFIRMED: "the project leader agrees to what happens to the data",
    EndStep.DELETED: "copies, packages, keys and links are gone, with a receipt",
}


@click.group()
def project() -> None:
    """Projects: their approvals, what they have, and their end."""


@project.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@config_option
def list_projects(as_json: bool, config_file: Path | None) -> None:
    """State, approval, participants, studies and room for auto-IDs of every project."""
    gateway = open_gateway(config_file)
    rows = [_row(gateway, one) for _, one in sorted(gateway.projects().items())]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        room = f", {row['auto_ids']} of {row['room']} auto-IDs" if row["room"] else ""
        notice = f"  {row['notice']}" if row["notice"] else ""
        click.echo(
            f"{row['project']:<20}  {row['state']:<9}  until {row['approval_ends'] or 'no date':<10}  "
            f"{row['participants']} participants, {row['studies']} studies{room}{notice}"
        )


@project.command()
@click.argument("name")
@click.option("--step", type=click.Choice([one.value for one in STEPS]), help="Take this step.")
@click.option("--cancel", is_flag=True, help="Call the end off, before anything is deleted.")
@click.option("--yes-i-mean", "confirmed", metavar="NAME", help="The name once more, for the step `deleted`.")
@click.option("--remark", default="", help="Kept with the step: who agreed, where the signature is.")
@config_option
def end(
    name: str, step: str | None, cancel: bool, confirmed: str | None, remark: str, config_file: Path | None
) -> None:
    """End the project NAME step by step: requested, locked, exported, confirmed, deleted; without a step: show them.

    What `deleted` does is agreed in project_end_type: 2 deletes every copy (archive, packages, ours), 1 leaves copies
    where they are and destroys only the keys and what leads from them to patients. Exit status 1: not done yet.
    """
    gateway = open_gateway(config_file)
    found = gateway.projects().get(name)
    if found is None:
        raise ConfigurationError(f"there is no project {name}", remedy="`fiona project list` names them")
    if cancel:
        _cancel(gateway, name)
    elif step is not None:
        _take(gateway, found, EndStep(step), confirmed, remark)
    if cancel or step is not None:
        _tell(gateway)
    _show(gateway, found)


def _take(gateway: Opened, found: Project, step: EndStep, confirmed: str | None, remark: str) -> None:
    done = [one.step for one in gateway.ledger.projects.steps(found.name)]
    problem = step_problem(step, done)
    if problem:
        raise ConfigurationError(problem, remedy=f"`fiona project end {found.name}` shows the steps")
    if step in done:
        return
    if step is EndStep.EXPORTED:
        _all_delivered(gateway, found.name)
    if step is EndStep.DELETED:
        remark = _delete(gateway, found, confirmed)
    gateway.ledger.projects.take_step(found.name, step, whoami(), now=now(), detail=remark)
    gateway.ledger.inventory.note_access(whoami(), f"project {step.value}", found.name, now=now())


def _all_delivered(gateway: Opened, name: str) -> None:
    from fiona_dagster.adapters.project_end import open_transfers

    waiting = open_transfers(gateway.ledger, name)
    if waiting:
        states = ", ".join(f"{count} {state}" for state, count in sorted(waiting.items()))
        raise ConfigurationError(
            f"not everything of {name} is delivered: {states}",
            remedy="see `fiona status`; give up with `fiona give-up` what shall not go out",
        )


def _delete(gateway: Opened, found: Project, confirmed: str | None) -> str:
    from fiona_dagster.adapters.project_end import end_project
    from fiona_dagster.cli.withdraw import carry_out_all, show
    from fiona_dagster.domain.retirement import Outcome

    if confirmed is None:
        confirmed = click.prompt(
            f"This cannot be undone. Type the project's name ({found.name}) to go on", err=True
        )
    if confirmed != found.name:
        raise ConfigurationError("another name was typed", remedy="nothing was deleted")
    receipts = []
    if found.life.end_type is EndType.DELETE:
        transfers = gateway.ledger.retirements.end_project(found.name, who=whoami(), now=now())
        receipts = carry_out_all(gateway, transfers)
        show(receipts)
        later = sum(one.outcome is Outcome.LATER for one in receipts)
        if later:
            raise ConfigurationError(
                f"{later} place(s) did not answer; the keys are kept until they do",
                remedy="take the step again later",
            )
    receipt = end_project(
        gateway.ledger, gateway.settings, found.name, found.life.end_type, receipts, who=whoami(), now=now()
    )
    click.echo(f"receipt: {receipt}")
    return receipt.name


def _cancel(gateway: Opened, name: str) -> None:
    if EndStep.DELETED in {one.step for one in gateway.ledger.projects.steps(name)}:
        raise ConfigurationError(f"project {name} has ended", remedy="its keys are gone for ever")
    gateway.ledger.projects.withdraw_request(name)
    gateway.ledger.inventory.note_access(whoami(), "project end cancelled", name, now=now())


def _tell(gateway: Opened) -> None:
    """REDCap shows the step at once, or within a quarter of an hour."""
    from fiona_dagster.adapters.configuration import registry
    from fiona_dagster.adapters.redcap.project_ends import tell_ends
    from fiona_dagster.domain.errors import FionaError

    try:
        redcap = registry(gateway.settings)
        if redcap is not None:
            tell_ends(gateway.ledger, redcap)
    except FionaError as error:
        click.echo(f"DataTransferProjects is told later: {error}", err=True)


def _show(gateway: Opened, found: Project) -> None:
    taken = {one.step: one for one in gateway.ledger.projects.steps(found.name)}
    due = next_step(list(taken))
    click.echo(f"{found.name}: agreed at the end: {found.life.end_type.name.lower()}")
    for step in STEPS:
        one = taken.get(step)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.at)) if one else ""
        mark = f"{when} {one.who} {one.detail}".strip() if one else "next" if step is due else ""
        click.echo(f"  {step.value:<10} {_DEPENDS[step]:<66} {mark}".rstrip())


def _row(gateway: Opened, found: Project) -> dict[str, Any]:
    from fiona_dagster.domain.participant_patterns import name_space

    today = time.strftime("%Y-%m-%d", time.localtime(now()))
    figures = gateway.ledger.projects.figures().get(found.name)
    days, left = found.life.notice(today), found.life.days_left(today)
    auto_ids = gateway.ledger.projects.auto_ids(found.name) if found.auto_id_ae_title else []
    return {
        "project": found.name,
        "state": found.life.state(today).value,
        "approval_begins": found.life.approval_begins,
        "approval_ends": found.life.approval_ends,
        "days_left": left,
        "notice": "" if days is None else f"ends in {left} days" if days else "the approval has ended",
        "participants": figures.participants if figures else 0,
        "studies": figures.studies if figures else 0,
        "transfers": figures.transfers if figures else {},
        "auto_ids": len(auto_ids),
        "room": name_space(found.participant_pattern).size if found.auto_id_ae_title else 0,
    }
