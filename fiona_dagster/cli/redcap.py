"""`fiona redcap`: the embedded server, and a live one's projects made and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fiona_dagster.cli.tables import console

if TYPE_CHECKING:
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry
    from fiona_dagster.settings import Settings


_config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False),
    help="config.json (default: $FIONA_CONFIG, else $FIONA_DATADIR/config/config.json).",
)  # fmt: skip


@click.group()
def redcap() -> None:
    """The embedded REDCap; check or provision a live one."""


@redcap.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The web page is served on loopback only."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 picks a free one."
)
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The database file."
)
@click.option(
    "--super-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Holds the super token; made (mode 600) when it does not exist.",
)
def serve(host: str, port: int, data: Path, super_token_file: Path) -> None:
    """Serve the embedded REDCap until SIGTERM; prints the API's URL when calls are accepted."""
    from fiona_dagster.embedded.redcap.server import RedcapServer, super_token_from

    server = RedcapServer(data, host=host, port=port, super_token=super_token_from(super_token_file))
    server.serve(click.echo)


@redcap.command()
@click.option("--url", required=True, help="The API, ending in /api/.")
@click.option(
    "--super-token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Needed only where a project has to be made.",
)
@click.option(
    "--tokens-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Each project's token goes to ROLE.token, mode 600.",
)
@click.option("--role", "roles", multiple=True, help="Only this role; may be given several times.")
@click.option("--ca-bundle", default="", help="Certificates to trust instead of the system's.")
@_config_option
def provision(
    url: str,
    super_token_file: Path | None,
    tokens_dir: Path,
    roles: tuple[str, ...],
    ca_bundle: str,
    config_file: Path | None,
) -> None:
    """Make the gateway's projects, or complete those whose token is in the tokens folder; repeating it is harmless.

    A JSON object for REDCAP of config.json is written to stdout. The calls count with those of the gateway here.
    """
    import json

    from rich.table import Table

    from fiona_dagster.adapters.redcap.provision import provision as provision_projects
    from fiona_dagster.adapters.redcap.rate_limit import RateLimit
    from fiona_dagster.domain.dictionaries import GATEWAY_ROLES
    from fiona_dagster.settings import REDCAP_CALLS_PER_MINUTE, load_settings

    settings = load_settings(config_file)
    per_minute = settings.redcap.calls_per_minute if settings.redcap else REDCAP_CALLS_PER_MINUTE
    limit = RateLimit(_calls_file(settings, tokens_dir), per_minute)
    super_token = super_token_file.read_text(encoding="ascii").strip() if super_token_file else None
    made = provision_projects(
        url, super_token, tokens_dir, limit, roles=roles or GATEWAY_ROLES, ca_bundle=ca_bundle
    )
    table = Table("role", "project_id", "token", "changed")
    for one in made:
        table.add_row(one.role, str(one.project_id), str(one.token_file), ", ".join(one.changes) or "nothing")
    console(stderr=True).print(table)
    section = {
        "url": url,
        "tokens": {one.role: f"file:{one.token_file.absolute()}" for one in made},
        "project_ids": {one.role: one.project_id for one in made},
    }
    click.echo(json.dumps(section, indent=2))


@redcap.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--role", "roles", multiple=True, help="Only this role; may be given several times.")
def files(folder: Path, roles: tuple[str, ...]) -> None:
    """Write the gateway's projects as dictionaries (CSV) and as project XML, to be uploaded in REDCap's web pages."""
    from fiona_dagster.domain.dictionaries import ROLES
    from fiona_dagster.embedded.project_files import write_project_files

    for path in write_project_files(folder, roles=roles or ROLES):
        click.echo(path)


@redcap.command()
@_config_option
@click.option("--url", help="Instead of REDCAP.url of config.json.")
@click.option(
    "--tokens-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Instead of REDCAP.tokens: files ROLE.token.",
)
def check(config_file: Path | None, url: str | None, tokens_dir: Path | None) -> None:
    """Compare a live REDCap with what the gateway needs, and say what to change; exit 1 if something is missing."""
    from rich.table import Table

    from fiona_dagster.adapters.redcap.check import check as check_registry

    registry, roles = _registry(config_file, url, tokens_dir)
    findings = check_registry(registry, roles)
    table = Table("role", "what", "state", "found", "to do")
    colours = {"ok": "green", "missing": "red", "unknown": "yellow"}
    for one in findings:
        state = f"[{colours[one.state]}]{one.state}[/]"
        table.add_row(one.role, one.subject, state, one.detail, one.remedy)
    console().print(table)
    raise SystemExit(1 if any(one.state == "missing" for one in findings) else 0)


def _registry(
    config_file: Path | None, url: str | None, tokens_dir: Path | None
) -> tuple[RedcapRegistry, list[str]]:
    """The REDCap to check, and the roles that have a token."""
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry
    from fiona_dagster.domain.dictionaries import ROLES
    from fiona_dagster.domain.errors import ConfigurationError
    from fiona_dagster.settings import RedcapSettings, load_settings

    settings = load_settings(config_file)
    given = settings.redcap
    if url and tokens_dir:
        tokens = {
            role: f"file:{tokens_dir / role}.token"
            for role in ROLES
            if (tokens_dir / f"{role}.token").exists()
        }
        given = replace(given, url=url, tokens=tokens) if given else RedcapSettings(url=url, tokens=tokens)
    if given is None:
        raise ConfigurationError(
            "no REDCap is configured", remedy="add REDCAP to config.json, or give --url and --tokens-dir"
        )
    return RedcapRegistry(given, settings.secret, _calls_file(settings, tokens_dir)), list(given.tokens)


def _calls_file(settings: Settings, tokens_dir: Path | None) -> Path:
    """The gateway's own rate limit; beside the tokens only where there is no gateway."""
    if tokens_dir is not None and not settings.layout.datadir.is_dir():
        return tokens_dir / settings.redcap_calls.name
    return settings.redcap_calls
