"""`fiona export`: confirmed studies as packages, outside the normal way."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.transfer import Transfer, TransferState

EXPORTABLE = (TransferState.FORWARDED, TransferState.DELIVERED)


@click.command()
@click.argument("studies", nargs=-1)
@click.option("--project", default="", help="Every confirmed study of the project.")
@click.option("--format", "export_type", default="native", show_default=True, help="native, PURE or NIFTI.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder (default: the outbox)."
)
@config_option
def export(
    studies: tuple[str, ...], project: str, export_type: str, folder: Path | None, config_file: Path | None
) -> None:
    """Export STUDIES (study keys), or a whole project, in a format; JSON of the packages on stdout.

    Only copies that passed verification and that the research PACS confirmed can be exported.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fiona_dagster.adapters.packages import build
    from fiona_dagster.assets.releases import recall_verified, release_proof
    from fiona_dagster.domain.packaging import ExportType
    from fiona_dagster.resources.gateway import GatewayResource

    gateway = open_gateway(config_file)
    chosen = _chosen(gateway, studies, project)
    outbox = folder or gateway.settings.layout.outbox
    outbox.mkdir(parents=True, exist_ok=True)
    resource = GatewayResource(config_file=str(config_file or ""))
    made = []
    with Progress(console=Console(stderr=True)) as progress:
        for transfer in progress.track(chosen, description="exporting"):
            study = gateway.ledger.studies.get(transfer.study_key)
            verified = recall_verified(resource, study, transfer)
            if verified is None:
                raise ConfigurationError(
                    f"study {transfer.study_key} is not verified", remedy="see `fiona status`"
                )
            package = build(
                verified,
                ExportType.named(export_type),
                outbox,
                proof=release_proof(resource, study, transfer),
            )
            made.append({"study": transfer.study_key, "project": transfer.project, "package": str(package.path),
                         "md5": package.md5, "bytes": package.size_bytes})  # fmt: skip
    gateway.ledger.inventory.note_access(
        whoami(), "export", f"{len(made)} package(s), {export_type}", now=now()
    )
    click.echo(json.dumps(made, indent=2))


def _chosen(gateway: Opened, studies: tuple[str, ...], project: str) -> list[Transfer]:
    if not studies and not project:
        raise ConfigurationError("nothing to export", remedy="name study keys, or a project with --project")
    keys = {gateway.study(text).key for text in studies}
    found = [
        one
        for one in gateway.ledger.transfers.all()
        if one.state in EXPORTABLE and (not keys or one.study_key in keys) and project in ("", one.project)
    ]
    left_out = [
        one
        for one in gateway.ledger.transfers.all()
        if one not in found and (one.study_key in keys if keys else project == one.project)
    ]
    for one in left_out:
        click.echo(
            f"fiona: left out {one.study_key}: its transfer to {one.project} is {one.state.value}", err=True
        )
    if not found:
        raise ConfigurationError(
            "no such study is confirmed by the research PACS at present",
            remedy="see `fiona find` and `fiona status`",
        )
    return found
