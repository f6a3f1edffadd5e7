"""The gateway's own parts as Dagster resources: settings, ledger, keys, rules."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource

if TYPE_CHECKING:
    from fiona_dagster.adapters.keyring import Keyring
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry
    from fiona_dagster.adapters.signing import SigningKey
    from fiona_dagster.domain.moments import Moment
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.rules.ruleset import RuleSet
    from fiona_dagster.settings import Settings


class GatewayResource(ConfigurableResource):  # type: ignore[type-arg]
    """Everything that config.json describes, opened when it is first asked for, once a process."""

    config_file: str = ""
    """Path of config.json; empty: `FIONA_CONFIG`, else `<FIONA_DATADIR>/config/config.json`."""

    @property
    def settings(self) -> Settings:
        return _settings(self.config_file)

    @property
    def ledger(self) -> Ledger:
        return _ledger(self.settings.ledger_url)

    @property
    def keyring(self) -> Keyring:
        from fiona_dagster.adapters.keyring import Keyring

        return Keyring(self.settings.keyring, self.settings.environment)

    @property
    def signing_key(self) -> SigningKey:
        from fiona_dagster.adapters.signing import SigningKey

        return SigningKey.beside(self.settings.keyring, self.settings.environment)

    @property
    def rules(self) -> RuleSet:
        from fiona_dagster.adapters.configuration import classification_rules

        return classification_rules(self.settings)

    @property
    def registry(self) -> RedcapRegistry | None:
        """REDCap, or None where none is configured."""
        from fiona_dagster.adapters.configuration import registry

        return registry(self.settings)

    def projects(self) -> dict[str, Project]:
        """The projects as REDCap has them now, else as it had them last, else as projects.yaml says."""
        from fiona_dagster.adapters.configuration import project_catalogue

        return project_catalogue(self.settings, self.ledger, self.registry).projects

    def project(self, name: str) -> Project:
        """The project that a study belongs to.

        Raises:
            Transient: a mistake in projects.yaml or in REDCap is in the way: the study waits until it is mended.
            Permanent: it is not there any more.
        """
        from fiona_dagster.adapters.configuration import project_catalogue
        from fiona_dagster.domain.errors import ConfigurationError, Transient

        try:
            catalogue = project_catalogue(self.settings, self.ledger, self.registry)
        except ConfigurationError as error:
            raise Transient(f"project {name} waits until this is mended: {error}") from None
        return catalogue.project(name)

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def moment(self) -> Moment:
        """Now, by the clock and by the machine's uptime."""
        from fiona_dagster.adapters.clock import moment

        return moment()

    def datadir(self, site: str) -> Path:
        """DATADIR of a site."""
        return self.settings.site(site).layout.datadir


@cache
def _settings(config_file: str) -> Settings:
    from fiona_dagster.settings import load_settings

    return load_settings(Path(config_file) if config_file else None)


@cache
def _ledger(url: str) -> Ledger:
    from fiona_dagster.adapters.ledger import Ledger

    return Ledger(url)
