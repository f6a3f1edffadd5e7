"""`fiona export`: confirmed studies as packages, outside the normal way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.cli.opening import Opened, config_option, now, open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.transfer import Transfer, TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.export_collections import CollectedStudy
    from fiona_dagster.domain.exports.formats import Encryption
    from fiona_dagster.domain.exports.profiles import ExportProfile
    from fiona_dagster.domain.packaging import Package
    from fiona_dagster.domain.project import Project
    from fiona_dagster.resources.gateway import GatewayResource

EXPORTABLE = (TransferState.FORWARDED, TransferState.DELIVERED)


@click.command()
@click.argument("studies", nargs=-1)
@click.option("--project", default="", help="Every confirmed study of the project.")
@click.option(
    "--format", "export_type", default="native", show_default=True,
    help="native, PURE, NIFTI, BIDS, RAM-MS, Transpara, Spectroscopy, or an export that the project has named.",
)  # fmt: skip
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Folder (default: the outbox)."
)
@click.option("--together", is_flag=True, help="One package of all studies instead of one for each.")
@click.option(
    "--encrypt",
    type=click.Choice(["zip", "7z"]),
    help="One package, encrypted with AES-256; asks for a password.",
)
@click.option("--password-ref", default="", help="env:NAME or file:/path of the password, instead of asking.")
@click.option(
    "--list", "list_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Write a .fiona file of the packages for FIONA-downloader.",
)  # fmt: skip
@config_option
def export(
    studies: tuple[str, ...],
    project: str,
    export_type: str,
    folder: Path | None,
    together: bool,
    encrypt: Encryption | None,
    password_ref: str,
    list_file: Path | None,
    config_file: Path | None,
) -> None:
    """Export STUDIES (study keys), or a whole project, in a format; JSON of the packages on stdout.

    Only copies that passed verification and that the research PACS confirmed can be exported. A password is stored
    nowhere: send it another way than the package. Exit status 1 when something that was asked for is left out.
    """
    from fiona_dagster.assets.exports import export_password
    from fiona_dagster.resources.gateway import GatewayResource

    gateway = open_gateway(config_file)
    chosen, left_out = _chosen(gateway, studies, project)
    outbox = folder or gateway.settings.layout.outbox
    outbox.mkdir(parents=True, exist_ok=True)
    resource = GatewayResource(config_file=str(config_file or ""))
    for name in {one.project for one in chosen}:  # what is refused is no copy that anybody has
        profile = _profile(resource.project(name), export_type)
        if profile.encryption and not encrypt:
            export_password(resource, profile)
    if (
        together or encrypt or outbox != gateway.settings.layout.outbox
    ):  # there a withdrawal finds those of one study
        _note(gateway, chosen, f"{export_type}{' together' if together or encrypt else ''}", outbox)
    if together or encrypt:
        password = _password(gateway, password_ref) if encrypt else ""
        package = _collection(
            resource, chosen, export_type, outbox, whole=not studies, password=password, encryption=encrypt
        )
        made = [{"project": chosen[0].project, "studies": len(chosen), **_shown(package)}]
    else:
        made = [
            {"study": transfer.study_key, "project": transfer.project, **_shown(package)}
            for transfer, package in _packages(resource, chosen, export_type, outbox)
        ]
    how = ", encrypted" if encrypt else ""
    gateway.ledger.inventory.note_access(
        whoami(),
        "export",
        f"{len(made)} package(s) of {len(chosen)} transfer(s), {export_type}{how}",
        now=now(),
    )
    if list_file is not None:
        from fiona_dagster.domain.exports.collections import download_list

        packages = [(Path(one["package"]).name, str(one["md5"])) for one in made]
        names = ", ".join(sorted({one.project for one in chosen}))
        list_file.write_text(download_list(packages, project=names), encoding="utf-8")
    click.echo(json.dumps(made, indent=2))
    if left_out:
        click.echo(f"fiona: {left_out} transfer(s) of what was asked for are not in it", err=True)
        raise click.exceptions.Exit(1)


def _note(gateway: Opened, chosen: list[Transfer], what: str, folder: Path) -> None:
    """Before anything is written: a withdrawal must know of every copy."""
    from fiona_dagster.adapters.ledger.deliveries import BY_HAND, DeliveryRecord

    place = str(folder.resolve())
    for one in chosen:
        count = gateway.ledger.transfers.balance(one.id).released
        record = DeliveryRecord(
            one.id, BY_HAND, "export", one.revision, "exported", name=f"{what} in {place}"[:300],
            instance_count=count, place=place, confirmed_at=now(), method_digest=one.method_digest,
        )  # fmt: skip
        gateway.ledger.deliveries.record(record, [], now=now(), run_id="")


def _packages(
    resource: GatewayResource, chosen: list[Transfer], export_type: str, outbox: Path
) -> Iterator[tuple[Transfer, Package]]:
    """A package for each study."""
    from rich.console import Console
    from rich.progress import Progress

    from fiona_dagster.adapters.packages import build
    from fiona_dagster.assets.exports import export_password

    with Progress(console=Console(stderr=True)) as progress:
        for transfer in progress.track(chosen, description="exporting"):
            profile = _profile(resource.project(transfer.project), export_type)
            one = _due(resource, transfer, profile)
            yield (
                transfer,
                build(
                    one.study,
                    profile,
                    outbox,
                    proof=one.proof,
                    context=one.context,
                    site=resource.signing_key,
                    password=export_password(resource, profile),
                ),
            )


def _collection(
    resource: GatewayResource,
    chosen: list[Transfer],
    export_type: str,
    outbox: Path,
    *,
    whole: bool,
    password: str,
    encryption: Encryption | None,
) -> Package:
    """One package of all studies."""
    from dataclasses import replace

    from fiona_dagster.adapters.export_collections import build_collection
    from fiona_dagster.assets.exports import export_password
    from fiona_dagster.domain.exports.collections import Member, collection_name, places

    projects = {one.project for one in chosen}
    if len(projects) > 1:
        raise ConfigurationError(
            "one package holds studies of one project only",
            remedy="choose with --project, or leave out --together",
        )
    profile = _profile(resource.project(min(projects)), export_type)
    if profile.encryption and encryption is None:  # as the project wants this export
        encryption, password = profile.encryption, export_password(resource, profile)
    members = {one.id: Member(one.participant, one.event, f"{one.study_key}-{one.id}") for one in chosen}
    where = places(list(members.values()), profile)
    ordered = sorted(chosen, key=lambda one: (one.participant, one.event, members[one.id].study_key))
    due = (replace(_due(resource, one, profile), place=where[members[one.id].study_key]) for one in ordered)
    name = collection_name(min(projects), list(members.values()), profile, whole=whole)
    return build_collection(
        due,
        profile,
        min(projects),
        name,
        outbox,
        password=password,
        encryption=encryption,
        site=resource.signing_key,
    )


def _due(resource: GatewayResource, transfer: Transfer, profile: ExportProfile) -> CollectedStudy:
    """A study as it is to be packed.

    Raises:
        ConfigurationError: it is not verified.
    """
    from fiona_dagster.adapters.export_collections import CollectedStudy
    from fiona_dagster.adapters.export_parts import session_of
    from fiona_dagster.assets.exports import export_context
    from fiona_dagster.assets.releases import recall_verified, release_proof
    from fiona_dagster.domain.exports.bids import Session
    from fiona_dagster.domain.exports.collections import Place
    from fiona_dagster.domain.exports.formats import ExportType

    study = resource.ledger.studies.get(transfer.study_key)
    verified = recall_verified(resource, study, transfer)
    if verified is None:
        raise ConfigurationError(f"study {transfer.study_key} is not verified", remedy="see `fiona status`")
    bids = profile.export_type is ExportType.BIDS
    return CollectedStudy(
        verified,
        Place("", session_of(verified) if bids else Session("x", "1")),
        export_context(resource, transfer, profile),
        release_proof(resource, study, transfer),
    )


def _profile(project: Project, text: str) -> ExportProfile:
    """The project's export of that name, else the format of that name as it comes."""
    from fiona_dagster.domain.exports.formats import ExportType
    from fiona_dagster.domain.exports.profiles import ExportProfile

    named = [one for one in project.exports if one.label.lower() == text.strip().lower()]
    return named[0] if named else ExportProfile(ExportType.named(text))


def _password(gateway: Opened, reference: str) -> str:
    from fiona_dagster.adapters.encryption import check_password

    if reference:
        password = gateway.settings.secret(reference)
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    check_password(password)
    return str(password)


def _shown(package: Package) -> dict[str, Any]:
    return {"package": str(package.path), "md5": package.md5, "bytes": package.size_bytes}


def _chosen(gateway: Opened, studies: tuple[str, ...], project: str) -> tuple[list[Transfer], int]:
    """What can be exported, and how many transfers cannot, which are named on stderr."""
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
            "no such study is confirmed by the research PACS, or its transfer failed since",
            remedy="see `fiona find` and `fiona status`; `fiona queue retry` tries what failed again",
        )
    return found, len(left_out)
