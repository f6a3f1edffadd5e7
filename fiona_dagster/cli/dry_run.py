"""`fiona deidentify --dry-run`: what would become of files and of their elements, as shapes and counts."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.cli.source_studies import one_patients_studies, with_classes

if TYPE_CHECKING:
    from rich.console import Console

    from fiona_dagster.domain.deid.tally import Line
    from fiona_dagster.domain.deidentification import DeidentifiedInstance
    from fiona_dagster.domain.project import Project

KEY_BYTES = 32
_WIDE = 160


@dataclass(frozen=True)
class DryRun:
    """What was found: files in the order of their paths, elements of the copies, and verification's problems."""

    project: str
    profile: str
    files: tuple[tuple[Path, DeidentifiedInstance], ...]
    copies: int
    elements: tuple[Line, ...]
    problems: Counter[tuple[str, str]]

    @property
    def is_sound(self) -> bool:
        """Whether nothing would be held or fail, of what can be told without reading pixels."""
        from fiona_dagster.adapters.releases import UNREAD

        return not any(
            one.disposition in {"held", "failed"} and not one.reason.startswith(UNREAD)
            for _, one in self.files
        )

    @property
    def counts(self) -> Counter[str]:
        return Counter(one.disposition for _, one in self.files)


def dry_run(
    source: Path, project: Project, participant: str, event: str, config_file: Path | None = None
) -> DryRun:
    """Try every study below `source` in memory, under a key that is forgotten.

    Raises:
        ConfigurationError: participant, event or UID root cannot be used.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fiona_dagster.adapters.differences import compare_copies, try_study
    from fiona_dagster.domain.deid.difference import Comparison
    from fiona_dagster.domain.deid.tally import Tally

    key = secrets.token_bytes(KEY_BYTES)
    studies, files = one_patients_studies(source)
    studies = with_classes(studies, config_file)
    comparison, tally = Comparison((project.profile,), project.date_mode), Tally()
    problems: Counter[tuple[str, str]] = Counter()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("trying", total=sum(map(len, studies)))
        for sources in studies:
            trial = try_study(
                sources, project, participant, event, key, lambda _done, _all: bar.advance(task)
            )
            compare_copies(sources, [trial], comparison, tally)
            files += [(one.path, result) for one, result in zip(sources, trial.instances, strict=True)]
            problems += trial.problems
    files.sort(key=lambda one: one[0])
    return DryRun(
        project.name, project.profile.name, tuple(files), tally.instances, tuple(tally.lines()), problems
    )


def as_json(run: DryRun) -> dict[str, Any]:
    """The machine-readable form."""
    from fiona_dagster.domain.deidentification import DISPOSITIONS

    return {
        "dry_run": True,
        "project": run.project,
        "profile": run.profile,
        "received": len(run.files),
        **{name: run.counts[name] for name in DISPOSITIONS},
        "copies": run.copies,
        "instances": [
            {"number": number, "disposition": one.disposition, "reason": one.reason}
            for number, (_, one) in enumerate(run.files, 1)
        ],
        "elements": [
            {
                "attribute": line.attribute,
                "vr": line.vr,
                "action": line.actions[0],
                "instances": line.instances,
                "shapes": list(line.shapes[0]),
            }
            for line in run.elements
        ],
        "totals": _totals(run.elements),
        "verification": verification_json(run.problems),
    }


def verification_json(problems: Counter[tuple[str, str]]) -> dict[str, Any]:
    """What verification would find, as far as it can be told without files."""
    from fiona_dagster.adapters.differences import NOT_TOLD, TOLD

    def of(check: str) -> dict[str, Any]:
        places = {place: count for (one, place), count in sorted(problems.items()) if one == check}
        return {
            "passed": not places,
            "found": sum(places.values()),
            "places": {place: count for place, count in places.items() if place},
        }

    return {**{check: of(check) for check in TOLD}, "not_told": list(NOT_TOLD)}


def _totals(elements: Iterable[Line]) -> dict[str, dict[str, int]]:
    """Attributes by action, and how often they were met."""
    attributes, met = Counter[str](), Counter[str]()
    for line in elements:
        attributes[line.actions[0]] += 1
        met[line.actions[0]] += line.instances
    return {action: {"attributes": attributes[action], "met": met[action]} for action in sorted(attributes)}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a report; it holds no values."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(run: DryRun) -> None:
    """Print the tables."""
    from rich.table import Table

    console = printer()
    files = Table(
        "file", "disposition", "reason", title=f"{len(run.files)} files, by the order of their paths"
    )
    for number, one in _ranges(run.files):
        files.add_row(number, one[0], one[1])
    console.print(files)
    elements = Table(title=f"elements of {run.copies} copies by profile {run.profile}", title_justify="left")
    elements.add_column("attribute", overflow="fold")
    for name in ("VR", "action"):
        elements.add_column(name, no_wrap=True)
    elements.add_column("instances", justify="right")
    elements.add_column("shape", overflow="fold")
    for line in run.elements:
        shapes = " | ".join(line.shapes[0])
        elements.add_row(line.attribute, line.vr, line.actions[0], str(line.instances), shapes)
    console.print(elements)
    for action, total in _totals(run.elements).items():
        click.echo(f"{action}: {total['attributes']} attributes, met {total['met']} times")
    show_verification(run.problems)
    click.echo("Nothing was written: this was a dry run.")


def printer() -> Console:
    """Prints tables, in a file or pipe wide enough for nested attributes."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def show_verification(problems: Counter[tuple[str, str]], by: str = "") -> None:
    """Print what verification would find."""
    from fiona_dagster.adapters.differences import NOT_TOLD, TOLD

    for check in TOLD:
        found = {place: count for (one, place), count in sorted(problems.items()) if one == check}
        outcome = f"would find {sum(found.values())}" if found else "would pass"
        click.echo(f"verification{by}: {check} {outcome}")
        for place, count in found.items():
            click.echo(f"  {place or 'in a copy'}: {count}")
    if not by:
        click.echo(f"verification: {', '.join(NOT_TOLD)} cannot be told without copies on disk")


def _ranges(
    files: Iterable[tuple[Path, DeidentifiedInstance]],
) -> Iterable[tuple[str, tuple[str, str]]]:
    """Numbers of neighbours that have the same disposition and reason, as one."""
    first, last, known = 0, 0, ("", "")
    for number, (_, one) in enumerate(files, 1):
        outcome = (one.disposition, one.reason)
        if first and outcome == known:
            last = number
            continue
        if first:
            yield _range(first, last), known
        first, last, known = number, number, outcome
    if first:
        yield _range(first, last), known


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
