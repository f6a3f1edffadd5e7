"""`fiona verify`: is this release what it should be? Works without originals, server and keys."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--profile",
    "profile_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The profile that it was made by, where that has overrides.",
)
def verify(path: Path, profile_file: Path | None) -> None:
    """Check a release: a folder or a zip of de-identified DICOM files.

    Sums of its manifest, readability, group 0012, nothing that the profile removes, valid UIDs. Prints a JSON
    summary, and a table of problems on stderr. Exit status 1 when there is any, or nothing to check.
    """
    from fiona_dagster.adapters.release_inspection import inspect_release
    from fiona_dagster.domain.deid.profile_file import profile_from_yaml

    profile = (
        profile_from_yaml(profile_file.read_text(encoding="utf-8"), str(profile_file))
        if profile_file
        else None
    )
    result = inspect_release(path, profile)
    summary = {"files": result.files, "instances": result.instances, "problems": len(result.problems)}
    click.echo(json.dumps({"path": str(path), **summary}, indent=2))
    if result.problems:
        _show(result.problems)
    if not result.files:
        click.echo("there is no file to check", err=True)
    if result.problems or not result.files:
        raise SystemExit(1)


def _show(problems: tuple[tuple[str, str], ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "problem")
    for file, problem in problems[:200]:
        table.add_row(file, problem)
    if len(problems) > 200:
        table.add_row("…", f"and {len(problems) - 200} more")
    Console(stderr=True).print(table)
