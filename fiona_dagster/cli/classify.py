"""`fiona classify`: the types of every series below some paths, as JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--rules",
    "rules_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A classifyRules.json; our own rules where it is not given.",
)
@click.option("--explain", is_flag=True, help="Also say which rule gave each type, and why.")
def classify(paths: tuple[Path, ...], rules_file: Path | None, explain: bool) -> None:
    """Classify the series found in PATHS (files or folders).

    Prints {SeriesInstanceUID: [types]}, with --explain {SeriesInstanceUID: {"types": [...], "why": {type: sentence}}}.
    Files that are no DICOM are named on stderr and left out. Exit status 2 and a message when the rules cannot be
    understood completely.
    """
    from fiona_dagster.adapters.dicom_headers import read_series, series_instance_uid
    from fiona_dagster.domain.classification import classify_series
    from fiona_dagster.domain.errors import ConfigurationError, FionaError
    from fiona_dagster.domain.reception import Peer
    from fiona_dagster.domain.rules.ruleset import default_rules, load_rules

    try:
        rules = load_rules(rules_file) if rules_file else default_rules()
    except ConfigurationError as error:
        click.echo(f"fiona classify: {error}", err=True)
        raise SystemExit(2) from error
    for warning in rules.warnings:
        click.echo(f"warning: {warning}", err=True)

    series: dict[str, list[Path]] = {}
    for path in _files(paths):
        try:
            series.setdefault(series_instance_uid(path), []).append(path)
        except FionaError as error:
            click.echo(f"{path}: left out, {error}", err=True)

    result: dict[str, object] = {}
    nobody = Peer("unknown", "unknown", "")
    for uid, files in sorted(series.items()):
        found = classify_series(rules, read_series(files, rules.tags), nobody)
        types = list(found.types)
        result[uid] = {"types": types, "why": dict(found.why)} if explain else types
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """All files below `paths`, once each."""
    known: set[Path] = set()
    for path in paths:
        found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for one in found:
            if one.resolve() not in known:
                known.add(one.resolve())
                yield one
