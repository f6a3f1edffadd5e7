"""From settings to working parts: rules, REDCap, the catalogue of projects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.pixel_templates import load_templates
from fiona_dagster.adapters.projects_file import ProjectRow, project_rows
from fiona_dagster.domain.dictionaries import role_dictionary
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient
from fiona_dagster.domain.pixels.policy import EXCLUSIONS
from fiona_dagster.domain.pixels.templates import device_templates
from fiona_dagster.domain.project import Project, project_from_fields
from fiona_dagster.domain.project_life import EndStep
from fiona_dagster.domain.rules.ruleset import RuleSet, default_rules, load_rules
from fiona_dagster.settings import Settings

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry

_SNAPSHOT = "projects"
_FRESH_SECONDS = 30.0
_IMPATIENT_SECONDS = (2.0, 3.0)


@dataclass(frozen=True)
class Catalogue:
    """The projects by name, and what was wrong with those that could not be read, by name.

    The name is '' where that could not be read either: which project it is, nobody knows.
    """

    projects: dict[str, Project]
    blocked: tuple[tuple[str, str], ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong, a sentence each."""
        return tuple(problem for _, problem in self.blocked)

    def project(self, name: str) -> Project:
        """The project that a study belongs to.

        Raises:
            Transient: it is there and cannot be used, or may be: its studies wait until the mistake is mended.
            Permanent: it is not there any more.
        """
        found = self.projects.get(name)
        if found is not None:
            return found
        for blocked, problem in self.blocked:
            if blocked in {name, ""}:
                raise Transient(f"project {name} waits until its mistake is mended: {problem}")
        raise Permanent(f"project {name} does not exist any more: restore it in DataTransferProjects")


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

        _registries[name] = RedcapRegistry(settings.redcap, settings.secret, settings.redcap_calls)
    return _registries[name]


def impatient_registry(settings: Settings) -> RedcapRegistry | None:
    """The same for a command that a person or a site's monitoring waits for: a REDCap that hangs costs it seconds."""
    if settings.redcap is None:
        return None
    from fiona_dagster.adapters.redcap.registry import RedcapRegistry

    quick = replace(settings.redcap, timeout_seconds=_IMPATIENT_SECONDS)
    return RedcapRegistry(quick, settings.secret, settings.redcap_calls, first_wait_seconds=0.1)


_registries: dict[tuple[str, Path], RedcapRegistry] = {}


def project_catalogue(settings: Settings, ledger: Ledger, redcap: RedcapRegistry | None) -> Catalogue:
    """The projects as `_written_catalogue` has them, locked where their end was decided, whatever is written there."""
    catalogue = _written_catalogue(settings, ledger, redcap)
    ending = ledger.projects.all_steps()
    projects = {
        name: _as_ended(project, [one.step for one in ending.get(name, ())])
        for name, project in catalogue.projects.items()
    }
    return replace(catalogue, projects=projects)


def _as_ended(project: Project, steps: list[EndStep]) -> Project:
    if EndStep.LOCKED not in steps:
        return project
    return replace(
        project, active=False, life=replace(project.life, locked=True, ended=EndStep.DELETED in steps)
    )


def _written_catalogue(settings: Settings, ledger: Ledger, redcap: RedcapRegistry | None) -> Catalogue:
    """The projects as REDCap has them, else as it had them last; without REDCap as projects.yaml says.

    REDCap is asked at most every 30 s by a process; its last good answer is kept in the ledger, so that an outage
    stops no study that is already routed.
    """
    if redcap is None:
        return _with_templates(settings, _catalogue(project_rows(settings.projects_file), _known_fields()))
    stored = ledger.inventory.snapshot(_SNAPSHOT)
    if stored and time.time() - float(stored["at"]) < _FRESH_SECONDS:
        return _with_templates(settings, _from_rows(stored["rows"], redcap.url))
    try:
        rows = redcap.project_rows()
    except Transient:
        if not stored:
            raise
        rows = stored["rows"]
    else:
        ledger.inventory.save_snapshot(_SNAPSHOT, {"at": time.time(), "rows": rows}, now=time.time())
    return _with_templates(settings, _from_rows(rows, redcap.url))


def _with_templates(settings: Settings, catalogue: Catalogue) -> Catalogue:
    """The projects that have pixels masked get the site's templates and ours, or are blocked by a mistake in these."""
    masking = {name: one for name, one in catalogue.projects.items() if one.pixels.masks_any}
    if not masking:
        return catalogue
    try:
        templates = load_templates(settings.layout.pixel_templates) + device_templates()
    except ConfigurationError as error:
        others = {name: one for name, one in catalogue.projects.items() if name not in masking}
        return Catalogue(others, (*catalogue.blocked, *((name, str(error)) for name in sorted(masking))))
    masked = {
        name: replace(one, pixels=replace(one.pixels, templates=templates)) for name, one in masking.items()
    }
    return replace(catalogue, projects=catalogue.projects | masked)


def _known_fields() -> frozenset[str]:
    """What projects.yaml may say of a project: REDCap's fields, and what only we have."""
    fields = {field["field_name"] for field in role_dictionary("DataTransferProjects").fields}
    return frozenset(fields | {"destinations", "export_profiles", EXCLUSIONS})


def _check_fields(row: Mapping[str, Any], known: frozenset[str], project: str) -> None:
    """A misspelt field would leave a project with a default that nobody chose."""
    for field in row:
        if str(field).partition("___")[0] not in known:
            near = get_close_matches(str(field), known, 1)
            raise ConfigurationError(
                f"{project}: '{field}' is not known",
                remedy=f"did you mean {near[0]}?" if near else "see docs/configuration.md",
            )


def _from_rows(rows: list[dict[str, Any]], place: str) -> Catalogue:
    return _catalogue([ProjectRow(row, place) for row in rows], None)


def _catalogue(rows: list[ProjectRow], known: frozenset[str] | None) -> Catalogue:
    """A bad row costs no other project; of two with one name nobody knows which is meant."""
    projects: dict[str, Project] = {}
    blocked: list[tuple[str, str]] = []
    names: set[str] = set()
    for row in rows:
        try:
            if row.problem:
                raise ConfigurationError(row.problem, place=row.place)
            if known is not None:
                for one in (row.fields, *(row.fields.get("destinations") or ())):
                    _check_fields(one, known, str(row.fields.get("project_name") or "a project"))
            fields = dict(row.fields)
            project = project_from_fields(fields, list(fields.get("destinations") or []), place="")
            if project.name in names:
                projects.pop(project.name, None)
                raise ConfigurationError(
                    f"the project {project.name} stands there twice", remedy="take out the one or the other"
                )
            names.add(project.name)
        except ConfigurationError as error:
            place = error.place or row.place_of(error.problem)
            problem = str(ConfigurationError(error.problem, place=place, remedy=error.remedy))
            blocked.append((row.name or str(row.fields.get("project_name") or "").strip(), problem))
            continue
        projects[project.name] = project
    return Catalogue(projects, tuple(blocked))
