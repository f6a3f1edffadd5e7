"""`fiona pixels`: a person looks at what was masked, confirms it, or makes a template of what should have been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from fiona_dagster.adapters.pixel_review import Preview
    from fiona_dagster.domain.pixels.templates import Rectangle


@click.group()
def pixels() -> None:
    """Text in pixels: review what was masked, propose templates."""


@pixels.command()
@click.argument("study")
@click.option(
    "--confirm", "confirmed", multiple=True, help="Number of a preview in which all is masked as it should."
)
@click.option("--all", "every", is_flag=True, help="Confirm all previews that wait.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@config_option
def review(
    study: str, confirmed: tuple[str, ...], every: bool, as_json: bool, config_file: Path | None
) -> None:
    """List the previews of STUDY: originals on the left, copies on the right; they stay in the quarantine.

    Previews hold patient data: look at them where they are. Who confirmed what is in the audit.
    """
    from fiona_dagster.adapters.pixel_review import CONFIRMED, WAITING, decide

    gateway, key, found = _previews(study, config_file)
    _note(gateway, f"{key}: previews listed")
    wanted = [one for one in found if every and one[2].state == WAITING]
    wanted += [_numbered(found, number) for number in confirmed]
    for _, folder, one in wanted:
        decide(folder, one.name, CONFIRMED, by=whoami())
        _note(gateway, f"{key} {one.name}: masking confirmed")
    if wanted:
        _, _, found = _previews(study, config_file)
    if as_json:
        click.echo(json.dumps([_described(*one) for one in found], indent=2))
        return
    for number, folder, one in found:
        click.echo(
            f"{number}: {one.state}{f' by {one.by}' if one.by else ''}, {len(one.boxes)} boxes"
            f"{f' ({one.share:.0%} of the pixels)' if one.share else ''} by "
            f"{', '.join(one.sources)}; {one.reason}\n   {folder / f'{one.name}.png'}"
        )
    if not found:
        click.echo(f"{key}: no previews (deid_pixel_review of the project says how many are made)")


@pixels.command()
@click.argument("study")
@click.argument("number")
@click.option("--name", required=True, help="Name of the template.")
@click.option("--mask", "masks", multiple=True, help="LEFT,TOP,WIDTH,HEIGHT to mask besides what was masked.")
@click.option(
    "--series", "of_series", is_flag=True, help="Mask what was masked in any preview of its series."
)
@click.option("--only", is_flag=True, help="Mask what --mask names and nothing of what was masked.")
@click.option(
    "--keep", "keeps", multiple=True, help="LEFT,TOP,WIDTH,HEIGHT to keep; everything else is masked."
)
@click.option(
    "--no-read", is_flag=True, help="What is left is not searched for text (texture that was taken for it)."
)
@click.option("--add", is_flag=True, help="Put it into config/pixel-templates.yaml and make the copies anew.")
@config_option
def propose(
    study: str,
    number: str,
    name: str,
    masks: tuple[str, ...],
    of_series: bool,
    only: bool,
    keeps: tuple[str, ...],
    no_read: bool,
    add: bool,
    config_file: Path | None,
) -> None:
    """Make a template from preview NUMBER of STUDY, as a person corrected it, for all images of its device and size.

    Without --add it is shown. Copies that are there keep their pixels until they are made anew: `fiona resend STUDY`.
    """
    from fiona_dagster.adapters.pixel_review import CORRECTED, decide
    from fiona_dagster.adapters.pixel_templates import add_template, as_yaml
    from fiona_dagster.domain.pixels.templates import proposed

    if (keeps and (masks or only)) or (of_series and (keeps or only)):
        raise click.UsageError("--keep goes without --mask, --only and --series, --only without --series.")
    gateway, key, found = _previews(study, config_file)
    _, folder, one = _numbered(found, number)
    boxes = [_rectangle(text) for text in masks]
    if not only and not keeps:
        boxes += [box for like in _alike(found, one, of_series=of_series) for box in like.boxes]
    template = proposed(name, one.device, boxes, [_rectangle(text) for text in keeps], read=not no_read)
    if not add:
        click.echo(as_yaml(template), nl=False)
        return
    add_template(gateway.settings.layout.pixel_templates, template)
    decide(folder, one.name, CORRECTED, by=whoami())
    _note(gateway, f"{key} {one.name}: template {name}")
    click.echo(f"{name} stands in {gateway.settings.layout.pixel_templates}; now: fiona resend {key}")


@pixels.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def check(file: Path) -> None:
    """Check a file of templates, and say the first mistake of each. Exit status 1 where there is one."""
    from fiona_dagster.adapters.pixel_templates import read_templates

    found, problems = read_templates(file)
    for one in problems:
        click.echo(f"fiona: {one}", err=True)
    if problems:
        raise SystemExit(1)
    click.echo(f"{len(found)} templates")


def _previews(study: str, config_file: Path | None) -> tuple[Opened, str, list[tuple[str, Path, Preview]]]:
    """The gateway, the study's key, and its previews with the numbers by which they are called."""
    from fiona_dagster.adapters.pixel_review import previews

    gateway = open_gateway(config_file)
    record = gateway.study(study)
    base = gateway.settings.site(record.site).layout.pixel_previews / record.key
    folders = sorted(one for one in base.iterdir() if one.is_dir()) if base.is_dir() else []
    found = [(folder, one) for folder in folders for one in previews(folder)]
    return gateway, record.key, [(str(n), folder, one) for n, (folder, one) in enumerate(found, 1)]


def _alike(found: list[tuple[str, Path, Preview]], one: Preview, *, of_series: bool) -> list[Preview]:
    """A preview, or all of its series that the same template would fit."""
    same = [(other.series, other.device) == (one.series, one.device) for _, _, other in found]
    return [other for fits, (_, _, other) in zip(same, found, strict=True) if fits] if of_series else [one]


def _numbered(found: list[tuple[str, Path, Preview]], number: str) -> tuple[str, Path, Preview]:
    for one in found:
        if one[0] == number:
            return one
    raise ConfigurationError(f"there is no preview {number}", remedy="`fiona pixels review STUDY` lists them")


def _described(number: str, folder: Path, one: Preview) -> dict[str, object]:
    return {
        "number": int(number), "state": one.state, "by": one.by, "boxes": [list(box) for box in one.boxes],
        "share": one.share, "sources": list(one.sources), "reason": one.reason,
        "sheet": str(folder / f"{one.name}.png"),
    }  # fmt: skip


def _rectangle(text: str) -> Rectangle:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise click.UsageError(f"{text} is not LEFT,TOP,WIDTH,HEIGHT in pixels.")
    left, top, width, height = (int(part) for part in parts)
    return left, top, width, height


def _note(gateway: Opened, subject: str) -> None:
    gateway.ledger.inventory.note_access(whoami(), "pixels", subject, now=now())
