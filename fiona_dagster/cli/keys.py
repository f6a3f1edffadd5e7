"""`fiona keys`: the keys that make pseudonyms, and the site's key that signs proofs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fiona_dagster.adapters.keyring import Keyring
    from fiona_dagster.adapters.signing import SigningKey

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class _Keys:
    """The keys that the command is about."""

    ring: Keyring
    site: SigningKey


@dataclass(frozen=True)
class _Chosen:
    """What the options of the group say."""

    keyring_file: Path | None
    config_file: Path | None

    def open(self) -> _Keys:
        """Nothing is read before a command asks: `--help` needs no configuration."""
        from fiona_dagster.adapters.keyring import Keyring
        from fiona_dagster.adapters.signing import SigningKey
        from fiona_dagster.settings import load_settings

        settings = load_settings(self.config_file)
        path = self.keyring_file or settings.keyring
        return _Keys(Keyring(path, settings.environment), SigningKey.beside(path, settings.environment))


_KEYRING = click.option(
    "--keyring",
    "keyring_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: the gateway's.",
)
_CONFIG = click.option("--config", "config_file", type=_FILE, help="config.json of the gateway.")


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    """--keyring and --config behind the subcommand, too; there they win."""

    @_KEYRING
    @_CONFIG
    @wraps(command)
    def with_keys(**options: Any) -> None:
        group: _Chosen = click.get_current_context().obj
        keyring_file, config_file = options.pop("keyring_file"), options.pop("config_file")
        command(_Chosen(keyring_file or group.keyring_file, config_file or group.config_file), **options)

    return with_keys


@click.group()
@_KEYRING
@_CONFIG
@click.pass_context
def keys(context: click.Context, keyring_file: Path | None, config_file: Path | None) -> None:
    """List, rotate and destroy the keys of projects; show the site's public key. No key material is ever shown."""
    context.obj = _Chosen(keyring_file, config_file)


@keys.command(name="list")
@_chosen
def list_keys(chosen: _Chosen) -> None:
    """Projects, and of each key its id, when it was made, and whether it is active, older, outside or destroyed."""
    rows = []
    for name, project in sorted(chosen.open().ring.projects().items()):
        for one in project.keys:
            state = "destroyed" if project.destroyed_at else "active" if one is project.active else "older"
            rows.append(
                {
                    "project": name,
                    "id": one.id,
                    "created": one.created,
                    "state": state,
                    "kept": "nowhere" if project.destroyed_at else "keyring" if one.material else "outside",
                    "destroyed_at": project.destroyed_at,
                }
            )
    click.echo(json.dumps(rows, indent=2))


@keys.command()
@click.argument("project")
@_chosen
def rotate(chosen: _Chosen, project: str) -> None:
    """Make a new active key for PROJECT; the older ones stay for what was begun under them.

    The gateway goes on with the key of a participant's first study. `fiona deidentify` knows of no earlier studies and
    always uses the active key.
    """
    click.echo(f"the active key of {project} is now {chosen.open().ring.rotate(project)}")


@keys.command()
@click.argument("project")
@click.option(
    "--yes-i-mean", "confirmed", metavar="NAME", help="The project's name once more; else it is asked."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write the certificate here."
)
@_chosen
def destroy(chosen: _Chosen, project: str, confirmed: str | None, output: Path | None) -> None:
    """Destroy all keys of PROJECT for ever, and print the signed certificate.

    After this nobody can link its copies to originals, late images cannot be released, and no new key is made for it.
    Copies of the keyring in backups must be destroyed as well.
    """
    from fiona_dagster.domain.errors import ConfigurationError

    asked = chosen.open()
    if project in asked.ring.projects() and confirmed is None:
        confirmed = click.prompt(
            f"This cannot be undone. Type the project's name ({project}) to go on", err=True
        )
    if confirmed is not None and confirmed != project:
        raise ConfigurationError(
            "another name was typed", remedy="nothing was destroyed; look at `fiona keys list`"
        )
    asked.site.public_key()  # before: without it there would be no certificate
    asked.ring.destroy(project)
    _show_certificate(asked, project, output)


@keys.command()
@click.argument("project")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Also write it here.")
@_chosen
def certificate(chosen: _Chosen, project: str, output: Path | None) -> None:
    """Print the signed certificate of destruction of a project's keys once more."""
    _show_certificate(chosen.open(), project, output)


@keys.command()
@_chosen
def public(chosen: _Chosen) -> None:
    """Print the site's public key (PEM) for `fiona verify --public-key`; its id goes to stderr."""
    from fiona_dagster.adapters.signing import public_key_id, public_pem

    key = chosen.open().site.public_key()
    click.echo(public_pem(key).decode(), nl=False)
    click.echo(f"key id {public_key_id(key)}", err=True)


@keys.command()
@click.argument("file", type=_FILE)
@click.option("--public-key", "public_key_file", type=_FILE, required=True, help="The site's.")
def check(file: Path, public_key_file: Path) -> None:
    """Check the signature of a certificate of destruction; needs no keyring. Exit status 1 where it is not right."""
    from fiona_dagster.adapters.signing import read_public_key, signed_by
    from fiona_dagster.domain.errors import ConfigurationError
    from fiona_dagster.domain.project_keys import CERTIFICATE_FORMAT
    from fiona_dagster.domain.signed import parsed

    try:
        content, signature = parsed(file.read_bytes())
    except ValueError:
        content, signature = {}, {}
    if content.get("format") != CERTIFICATE_FORMAT:
        raise ConfigurationError("is not a certificate", place=str(file), remedy="ask the site for it again")
    sound = signed_by(content, signature, read_public_key(public_key_file)) == "known"
    click.echo(json.dumps({**content, "signature": "known" if sound else "wrong"}, indent=2))
    if not sound:
        raise SystemExit(1)


def _show_certificate(asked: _Keys, project: str, output: Path | None) -> None:
    """It is made from the tombstone, so it is the same whenever it is asked for."""
    from fiona_dagster.adapters.durable import write_durably
    from fiona_dagster.domain.errors import ConfigurationError
    from fiona_dagster.domain.project_keys import certificate_content

    tombstone = asked.ring.projects().get(project)
    if tombstone is None or not tombstone.destroyed_at:
        raise ConfigurationError(
            f"the keys of project {project} are not destroyed", remedy="look at `fiona keys list`"
        )
    text = asked.site.sign(certificate_content(project, tombstone))
    click.echo(text.decode(), nl=False)
    if output is not None:
        write_durably(output.absolute(), text)
