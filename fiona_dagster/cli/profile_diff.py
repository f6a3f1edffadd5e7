"""`fiona profile diff`: what two profiles do differently, in general and to a sample, as shapes and counts."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.cli.dry_run import KEY_BYTES, printer, show_verification, verification_json, write_json
from fiona_dagster.cli.source_studies import Others, studies_below

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.codes import DateMode
    from fiona_dagster.domain.deid.profile import Profile
    from fiona_dagster.domain.deid.profile_difference import ProfileDifference
    from fiona_dagster.domain.deid.tally import Kind, Line
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.project import Project

_DATE_MODES = ("keep", "per_project", "per_participant", "remove", "year")
_PROJECT, _PARTICIPANT = "COMPARISON", "PARTICIPANT"
_TITLES = {
    "newly_kept": "kept by B, not by A",
    "newly_removed": "kept by A, not by B",
    "differently_changed": "changed differently",
}
Outcomes = list[tuple[Path, "DeidentifiedInstance", "DeidentifiedInstance"]]


@dataclass(frozen=True)
class SampleDifference:
    """What became of a sample by A and by B.

    `moved` are the files, by number in the order of paths, that have another disposition or reason.
    """

    files: int
    compared: int
    lines: dict[Kind, list[Line]]
    moved: tuple[tuple[int, DeidentifiedInstance, DeidentifiedInstance], ...]
    problems: tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]

    @property
    def is_empty(self) -> bool:
        return not (any(self.lines.values()) or self.moved or self.problems[0] != self.problems[1])


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("sample", metavar="[PATH]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--dates", type=click.Choice(_DATE_MODES), default="per_participant", show_default=True)
@click.option("--pixels-are-clean", is_flag=True, help="Compare also what may carry text in its pixels.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="The report as JSON."
)
def diff(
    a: str, b: str, sample: Path | None, dates: DateMode, pixels_are_clean: bool, json_file: Path | None
) -> None:
    """Print what profiles A and B (ps315, fiona, or profile files) do differently.

    First attribute by attribute, as they decide for the object types below PATH, or for all; then what becomes of the
    files below PATH: element by element, as shapes and counts, never values. Nothing is written but the report.
    Exit status 0 where they are equal, 1 where they differ, 2 when the command cannot run.
    """
    from fiona_dagster.adapters.differences import object_types
    from fiona_dagster.cli.profile import named_or_from_file
    from fiona_dagster.domain.deid.profile_difference import profile_difference
    from fiona_dagster.domain.project import Project

    first, second = named_or_from_file(a), named_or_from_file(b)
    found: SampleDifference | None = None
    types: set[str] = set()
    if sample is not None:
        project = Project(name=_PROJECT, date_mode=dates, pixels_are_clean=pixels_are_clean)
        studies, others = studies_below(sample)
        found = _on_sample(studies, others, replace(project, profile=first), replace(project, profile=second))
        types = object_types([source for study in studies for source in study])
    decided = profile_difference(first, second, dates, types)
    if json_file is not None:
        write_json(json_file, _as_json(first, second, dates, decided, found))
    _show_decisions(first, second, decided)
    if found is not None:
        _show_sample(found)
    if not decided.is_empty or (found is not None and not found.is_empty):
        raise SystemExit(1)
    click.echo("They do the same.")


def _on_sample(
    studies: Iterable[Sequence[SourceInstance]], others: Others, a: Project, b: Project
) -> SampleDifference:
    from fiona_dagster.adapters.differences import compare_copies, try_study
    from fiona_dagster.domain.deid.difference import Comparison
    from fiona_dagster.domain.deid.tally import Tally

    key = secrets.token_bytes(KEY_BYTES)
    comparison, tally = Comparison((a.profile, b.profile), a.date_mode), Tally()
    problems: tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]] = (Counter(), Counter())
    outcomes: Outcomes = [(path, one, one) for path, one in others]
    for sources in studies:
        trials = [try_study(sources, project, _PARTICIPANT, "", key) for project in (a, b)]
        compare_copies(sources, trials, comparison, tally)
        results = zip(sources, trials[0].instances, trials[1].instances, strict=True)
        outcomes += [(source.path, one, other) for source, one, other in results]
        for counter, trial in zip(problems, trials, strict=True):
            counter.update(trial.problems)
    outcomes.sort(key=lambda one: one[0])
    moved = tuple(
        (number, one, other)
        for number, (_, one, other) in enumerate(outcomes, 1)
        if (one.disposition, one.reason) != (other.disposition, other.reason)
    )
    return SampleDifference(len(outcomes), tally.instances, tally.differences(), moved, problems)


def _as_json(
    a: Profile, b: Profile, dates: str, decided: ProfileDifference, found: SampleDifference | None
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "a": {"name": a.name, "version": a.version},
        "b": {"name": b.name, "version": b.version},
        "dates": dates,
        "equal": decided.is_empty and (found is None or found.is_empty),
        "decisions": asdict(decided),
    }
    if found is not None:
        content["sample"] = {
            "files": found.files,
            "compared": found.compared,
            **{kind: [_line(one) for one in lines] for kind, lines in found.lines.items()},
            "dispositions": [
                {"number": number, "a": _disposition(one), "b": _disposition(other)}
                for number, one, other in found.moved
            ],
            "verification": {
                name: verification_json(one) for name, one in zip("ab", found.problems, strict=True)
            },
        }
    return content


def _line(line: Line) -> dict[str, Any]:
    outcomes = [
        {"action": action, "shapes": list(shapes)}
        for action, shapes in zip(line.actions, line.shapes, strict=True)
    ]
    return {
        "attribute": line.attribute,
        "vr": line.vr,
        "instances": line.instances,
        "a": outcomes[0],
        "b": outcomes[1],
    }


def _disposition(one: DeidentifiedInstance) -> dict[str, str]:
    return {"disposition": one.disposition, "reason": one.reason}


def _show_decisions(a: Profile, b: Profile, decided: ProfileDifference) -> None:
    for name, profile, only in (("A", a, decided.only_a), ("B", b, decided.only_b)):
        click.echo(f"{name}: {profile.name}, version {profile.version}; options of its own: {_listed(only)}")
    for one in decided.conventions:
        click.echo(one)
    _table(
        "overrides",
        ("attribute", "A", "B"),
        ((one.attribute, one.a or "-", one.b or "-") for one in decided.overrides),
    )
    _table(
        "decisions", ("attribute", "A", "B"), ((one.attribute, one.a, one.b) for one in decided.attributes)
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _show_sample(found: SampleDifference) -> None:
    click.echo(f"{found.files} files, {found.compared} of them with copies by A and by B")
    for kind, lines in found.lines.items():
        cells = (
            (one.attribute, one.vr, str(one.instances), *map(_outcome, one.actions, one.shapes))
            for one in lines
        )
        _table(_TITLES[kind], ("attribute", "VR", "instances", "A", "B"), cells)
    _table(
        "files, by the order of their paths",
        ("file", "A", "B"),
        ((str(number), *map(_told, (one, other))) for number, one, other in found.moved),
    )
    for name, problems in zip("AB", found.problems, strict=True):
        show_verification(problems, f" by {name}")


def _outcome(action: str, shapes: tuple[str, ...]) -> str:
    return f"{action} {' | '.join(shapes)}".strip()


def _told(one: DeidentifiedInstance) -> str:
    return f"{one.disposition}: {one.reason}" if one.reason else one.disposition


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table that has rows."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        printer().print(table)
