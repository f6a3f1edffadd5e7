"""`fiona profile`: what a De-identification Profile does, and whether a profile file can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.profile_diff import diff

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.profile import Profile

_DATE_MODES = ("keep", "per_project", "per_participant", "remove", "year")


@click.group()
def profile() -> None:
    """Look at De-identification Profiles."""


profile.add_command(diff)


@profile.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def check(files: tuple[Path, ...]) -> None:
    """Check profile FILES: prints what each asks for; file and line, and at the end exit status 2, where one cannot
    be used.
    """
    from fiona_dagster.domain.errors import ConfigurationError

    bad = False
    for path in files:
        try:
            found = from_file(path)
        except ConfigurationError as error:
            bad = True
            click.echo(f"fiona: {error}", err=True)
            continue
        options = ", ".join(sorted(found.options)) or "no options"
        click.echo(f"{path}: {found.name}, {found.version}: {options}; {len(found.overrides)} overrides")
    if bad:
        raise SystemExit(2)


@profile.command()
@click.option(
    "--profile",
    "wanted",
    multiple=True,
    default=("ps315",),
    show_default=True,
    help="ps315, fiona, or a profile file; a column each.",
)
@click.option(
    "--sop-class", default="", help="SOP Class UID or keyword; all object types where it is left out."
)
@click.option("--dates", type=click.Choice(_DATE_MODES), default="per_participant", show_default=True)
def show(wanted: tuple[str, ...], sop_class: str, dates: str) -> None:
    """Print what happens to which attribute, as a table in Markdown."""
    from fiona_dagster.domain.deid.profile_table import profile_table

    profiles = [named_or_from_file(one) for one in wanted]
    click.echo(profile_table(profiles, dates, _sop_class_uid(sop_class)), nl=False)  # type: ignore[arg-type]


def _sop_class_uid(asked: str) -> str:
    from fiona_dagster.domain.deid.table import sop_classes
    from fiona_dagster.domain.errors import ConfigurationError

    known = sop_classes()
    if not asked or asked in known:
        return asked
    for uid, row in known.items():
        if row.keyword == asked:
            return uid
    raise ConfigurationError(
        f"'{asked}' is no SOP Class that we know",
        place="--sop-class",
        remedy="use a UID, or a keyword of PS3.6",
    )


def named_or_from_file(asked: str) -> Profile:
    """The profile that comes under this name (`ps315`, `Basic Profile`), or that stands in this file.

    Raises:
        ConfigurationError: there is neither, or the file cannot be used.
    """
    from fiona_dagster.domain.deid.named_profiles import NAMES, named_profile
    from fiona_dagster.domain.errors import ConfigurationError

    for known in map(named_profile, NAMES):
        if known is not None and asked == known.name:
            return known
    found = named_profile(asked)
    if found is not None:
        return found
    if not Path(asked).is_file():
        raise ConfigurationError(
            f"'{asked}' is neither a profile nor a file", place="--profile", remedy=f"use {', '.join(NAMES)}"
        )
    return from_file(Path(asked))


def from_file(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        ConfigurationError: it cannot be used.
    """
    from fiona_dagster.domain.deid.profile_file import profile_from_yaml
    from fiona_dagster.domain.errors import ConfigurationError

    try:
        return profile_from_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ConfigurationError("is not text in UTF-8", place=str(path), remedy="save it as UTF-8") from None
