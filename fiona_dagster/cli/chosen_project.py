"""The project that a command names, and its keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fiona_dagster.adapters.keyring import Keyring
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.domain.project import Project
    from fiona_dagster.settings import Settings

_NO_LEDGER = "sqlite://"
"""In memory: what stands in none is asked of REDCap."""


def project_and_keys(
    name: str, config_file: Path | None, keyring_file: Path | None
) -> tuple[Project, Keyring, SigningKey]:
    """The project of that name, the keyring, and the key that signs."""
    from fiona_dagster.adapters.keyring import Keyring
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.settings import load_settings

    settings = load_settings(config_file)
    project, keyring = _project_and_keyring(name, settings, keyring_file)
    environment = settings.environment
    return project, Keyring(keyring, environment), SigningKey.beside(keyring, environment)


def project_without_ledger(name: str, config_file: Path | None) -> Project:
    """The project of that name, with no look at the ledger: opening it may bring it forward."""
    from fiona_dagster.settings import load_settings

    return _project(name, load_settings(config_file), _NO_LEDGER)


def destroyed_at(name: str, config_file: Path | None, keyring_file: Path | None) -> str:
    """When the project's keys were destroyed, '' where they were not."""
    from fiona_dagster.adapters.keyring import Keyring
    from fiona_dagster.settings import load_settings

    settings = load_settings(config_file)
    known = Keyring(keyring_file or _own_keyring(settings), settings.environment).projects().get(name)
    return (known.destroyed_at or "") if known is not None else ""


def _own_keyring(settings: Settings) -> Path:
    """The gateway's, else the user's own where no gateway is configured."""
    folder = settings.layout.config
    configured = folder.is_dir() and any(folder.iterdir())
    return settings.keyring if configured else Path.home() / ".fiona" / "keyring.json"


def _project_and_keyring(name: str, settings: Settings, keyring_file: Path | None) -> tuple[Project, Path]:
    """The configured project, else one with defaults; the named keyring, else the gateway's, else the user's own."""
    known = settings.layout.ledger.exists() or not settings.ledger_url.startswith("sqlite")
    return _project(
        name, settings, settings.ledger_url if known else _NO_LEDGER
    ), keyring_file or _own_keyring(settings)


def _project(name: str, settings: Settings, ledger_url: str) -> Project:
    """The configured project; one with defaults where no gateway is configured, or it has no projects at all.

    Raises ConfigurationError where the name is none, nobody's or an inactive project's.
    """
    from fiona_dagster.adapters.configuration import project_catalogue, registry
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.errors import ConfigurationError
    from fiona_dagster.domain.project import PROJECT_NAME

    if not PROJECT_NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{name}' cannot name a project",
            place="--project",
            remedy="use 5 to 20 letters, digits, '_' or '-', beginning with a letter or digit",
        )
    if not settings.layout.config.is_dir():
        return _with_defaults(name, settings)
    catalogue = project_catalogue(settings, Ledger(ledger_url), registry(settings))
    project = catalogue.projects.get(name)
    if project is None and catalogue.problems:  # its rules may be among those that cannot be read
        raise ConfigurationError(
            next((one for one in catalogue.problems if name in one), catalogue.problems[0])
        )
    if project is None and catalogue.projects:
        raise ConfigurationError(
            f"there is no project {name}",
            place="--project",
            remedy=f"projects are: {', '.join(sorted(catalogue.projects))}",
        )
    if project is not None and not project.active:
        raise ConfigurationError(
            f"project {name} is not active",
            place="--project",
            remedy="activate it (project_active), or take another",
        )
    return project or _with_defaults(name, settings)


def _with_defaults(name: str, settings: Settings) -> Project:
    from fiona_dagster.domain.project import Project

    click.echo(
        f"fiona: no project is configured below {settings.layout.config}: {name} has the defaults", err=True
    )
    return Project(name=name)
