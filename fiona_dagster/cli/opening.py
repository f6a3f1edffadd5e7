"""What a command needs of the gateway: settings, ledger, registry, projects, without Dagster."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from fiona_dagster.adapters.configuration import Catalogue
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.ledger.studies import StudyRecord
    from fiona_dagster.domain.project import Project


@dataclass(frozen=True)
class Opened:
    """Settings and ledger of the gateway that the command is about."""

    settings: Settings
    ledger: Ledger

    def projects(self) -> dict[str, Project]:
        """The projects by name; problems of others are shown, not raised."""
        catalogue = self.catalogue()
        for problem in catalogue.problems:
            click.echo(f"fiona: {problem}", err=True)
        return catalogue.projects

    def catalogue(self) -> Catalogue:
        """The projects by name, and what is wrong with those that cannot be used."""
        from fiona_dagster.adapters.configuration import project_catalogue, registry

        return project_catalogue(self.settings, self.ledger, registry(self.settings))

    def study(self, text: str) -> StudyRecord:
        """The one study that `text` names: ledger key, accession number or Study Instance UID.

        Raises:
            ConfigurationError: none or several.
        """
        found = self.ledger.studies.find(text)
        if len(found) != 1:
            what = "no study is" if not found else f"{len(found)} studies are"
            raise ConfigurationError(
                f"{what} known by that name",
                remedy="use the study key; `fiona find` and `fiona status` show it",
            )
        return found[0]

    def study_with_images(self, text: str) -> StudyRecord:
        """As `study`, for what needs the images.

        Raises:
            ConfigurationError: they were cleaned up after delivery.
        """
        record = self.study(text)
        if record.purged_at is not None:
            raise ConfigurationError(
                f"the images of {record.key} were cleaned up after delivery",
                remedy="have the source send the study again",
            )
        return record


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--config FILE`, the same for every command."""
    return click.option(
        "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False),
        help="config.json (default: $FIONA_CONFIG, else $FIONA_DATADIR/config/config.json).",
    )(command)  # fmt: skip


def open_gateway(config_file: Path | None) -> Opened:
    """Read the settings and open the ledger.

    Raises:
        ConfigurationError: there is no gateway there.
        Transient: the ledger's database does not answer.
    """
    from fiona_dagster.adapters.ledger import Ledger

    settings = load_settings(config_file)
    if not has_ledger(settings):
        raise ConfigurationError(
            f"there is no ledger in {settings.layout.datadir}",
            remedy="run `fiona up` first; or name another gateway with --config or FIONA_CONFIG "
            "(the demo's: --config .demo/config/config.json)",
        )
    return Opened(settings, Ledger(settings.ledger_url))


def has_ledger(settings: Settings) -> bool:
    """Whether a gateway was ever started with these settings; of a ledger on a server we cannot tell."""
    kind, _, place = settings.ledger_url.partition(":///")
    return not kind.startswith("sqlite") or Path(place).exists()


def whoami() -> str:
    """The operator's login name, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()
