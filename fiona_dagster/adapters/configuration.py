"""From settings to working parts: rules, REDCap, the catalogue of projects."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fiona_dagster.domain.dictionaries import role_dictionary
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.project import Project, project_from_fields
from fiona_dagster.domain.rules.ruleset import RuleSet, default_rules, load_rules
from fiona_dagster.settings import Settings

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry

_SNAPSHOT = "projects"
_FRESH_SECONDS = 30.0


@dataclass(frozen=True)
class Catalogue:
    """The projects by name, and what was wrong with those that could not be read."""

    projects: dict[str, Project]
    problems: tuple[str, ...] = ()


def classification_rules(settings: Settings) -> RuleSet:
    """The site's classifyRules.json, or ours where none is configured.

    Raises:
        ConfigurationError: the file cannot be understood completely.
    """
    if settings.classify_rules is None:
        return default_rules()
    return load_rules(settings.classify_rules)


def registry(settings: Settings) -> RedcapRegistry | None:
    """REDCap as configured, one client a process, or None."""
    if settings.redcap is None:
        return None
    name = (settings.redcap.url, settings.layout.datadir)
    if name not in _registries:
        from fiona_dagster.adapters.redcap.registry import RedcapRegistry

        _registries[name] = RedcapRegistry(
            settings.redcap, settings.secret, settings.layout.datadir / ".redcap-calls"
        )
    return _registries[name]


_registries: dict[tuple[str, Path], RedcapRegistry] = {}


def project_catalogue(settings: Settings, ledger: Ledger, redcap: RedcapRegistry | None) -> Catalogue:
    """The projects as REDCap has them, else as it had them last; without REDCap as projects.yaml says.

    REDCap is asked at most every 30 s by a process; its last good answer is kept in the ledger, so that an outage
    stops no study that is already routed.
    """
    if redcap is None:
        return _from_rows(_yaml_rows(settings.projects_file), str(settings.projects_file), _known_fields())
    stored = ledger.inventory.snapshot(_SNAPSHOT)
    if stored and time.time() - float(stored["at"]) < _FRESH_SECONDS:
        return _from_rows(stored["rows"], redcap.url)
    try:
        rows = redcap.project_rows()
    except Transient:
        if not stored:
            raise
        rows = stored["rows"]
    else:
        ledger.inventory.save_snapshot(_SNAPSHOT, {"at": time.time(), "rows": rows}, now=time.time())
    return _from_rows(rows, redcap.url)


def _yaml_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError("is not YAML", place=place, remedy="mend that line") from None
    rows = content.get("projects") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ConfigurationError(
            "has no list 'projects'", place=str(path), remedy="see docs/configuration.md"
        )
    for row in rows:
        destinations = row.get("destinations") or [] if isinstance(row, dict) else None
        if not isinstance(destinations, list) or not all(isinstance(one, dict) for one in destinations):
            raise ConfigurationError(
                "a project or its destinations is not a list of fields",
                place=str(path),
                remedy="see docs/configuration.md",
            )
    return rows


def _known_fields() -> frozenset[str]:
    """What projects.yaml may say of a project: REDCap's fields, and what only we have."""
    fields = {field["field_name"] for field in role_dictionary("DataTransferProjects").fields}
    return frozenset(
        fields | {"destinations", "deid_uid_scheme", "deid_restore_dates", "deid_release_raw_data"}
    )


def _check_fields(row: dict[str, Any], known: frozenset[str], place: str) -> None:
    """A misspelt field would leave a project with a default that nobody chose."""
    for field in row:
        if str(field).partition("___")[0] not in known:
            near = get_close_matches(str(field), known, 1)
            raise ConfigurationError(
                f"{row.get('project_name') or 'a project'}: '{field}' is not known",
                place=place,
                remedy=f"did you mean {near[0]}?" if near else "see docs/configuration.md",
            )


def _from_rows(rows: list[dict[str, Any]], place: str, known: frozenset[str] | None = None) -> Catalogue:
    projects: dict[str, Project] = {}
    problems: list[str] = []
    for row in rows:
        try:
            if known is not None:
                _check_fields(row, known, place)
            project = project_from_fields(row, list(row.get("destinations") or []), place=place)
        except ConfigurationError as error:  # a bad row must not cost the other projects
            problems.append(str(error))
            continue
        projects[project.name] = project
    return Catalogue(projects, tuple(problems))
