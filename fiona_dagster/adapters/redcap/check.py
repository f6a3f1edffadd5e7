"""Comparing a live REDCap with what the gateway needs, without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.provision import missing_repetitions
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.domain.dictionaries import GATEWAY_ROLES, RoleDictionary, choices_of, role_dictionary
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Permanent

NEEDED_ROLES = ("Incoming", "CouplingList", "Routing", "DataTransferProjects")
"""The gateway does not start work without these; the others are used by parts that may be absent."""
_WRITTEN_ROLES = {
    "Incoming", "CouplingList", "DataTransferProjects", "AutoID", "WhatIsInIDS7", "AutomationRules"
}  # fmt: skip
_OLDEST_VERSION = (8, 0, 0)
"""Repeating instruments by API."""

State = Literal["ok", "missing", "unknown"]


class Finding(NamedTuple):
    """One line of the table: what was looked at, how it stands, and what to do."""

    role: str
    subject: str
    state: State
    detail: str
    remedy: str = ""


def check(registry: RedcapRegistry, configured: Sequence[str]) -> list[Finding]:
    """Findings for every role that has a token, and for needed roles that have none."""
    findings: list[Finding] = []
    for role in GATEWAY_ROLES:
        if role in configured:
            findings.extend(_check_role(registry, role))
        elif role in NEEDED_ROLES:
            findings.append(
                Finding(role, "token", "missing", "REDCAP.tokens has none", "run `fiona redcap provision`")
            )
        else:
            findings.append(Finding(role, "token", "unknown", "REDCAP.tokens has none: it is not used"))
    return findings


def _check_role(registry: RedcapRegistry, role: str) -> Iterator[Finding]:
    dictionary = role_dictionary(role)
    try:
        project = registry.client(role)
        info = project.info
        yield Finding(role, "project", "ok", f"{info['project_title']} (project_id {info['project_id']})")
        yield _project_id(registry, role, int(info["project_id"]))
        yield _version(project, role)
        yield from _fields(project, dictionary)
        yield _repeating(project, dictionary)
        yield _export_rights(project, dictionary)
        if role in _WRITTEN_ROLES:
            yield _import_right(project, role)
    except FionaError as error:
        yield Finding(role, "access", "missing", str(error), getattr(error, "remedy", ""))


def _project_id(registry: RedcapRegistry, role: str, number: int) -> Finding:
    """Another number than the expected one was refused before."""
    if registry.expected_project_id(role) is not None:
        return Finding(role, "project_id", "ok", f"{number}, as REDCAP.project_ids says")
    remedy = f'add "{role}": {number} to REDCAP.project_ids, if this is the right project'
    return Finding(role, "project_id", "unknown", "a token of another project like it would be taken", remedy)


def _version(project: RedcapProject, role: str) -> Finding:
    version = project.export_version()
    if version is None:
        return Finding(role, "version", "unknown", "the server does not tell its version")
    new_enough = (version.major, version.minor, version.patch) >= _OLDEST_VERSION
    return Finding(
        role,
        "version",
        "ok" if new_enough else "missing",
        str(version),
        "" if new_enough else "update REDCap",
    )


def _fields(project: RedcapProject, dictionary: RoleDictionary) -> Iterator[Finding]:
    live = {row["field_name"]: row for row in project.metadata}
    missing = [row["field_name"] for row in dictionary.fields if row["field_name"] not in live]
    remedy = f"import {dictionary.role}.csv (Project Setup, Data Dictionary), or run `fiona redcap provision`"
    if missing:
        yield Finding(dictionary.role, "fields", "missing", ", ".join(missing), remedy)
    else:
        yield Finding(
            dictionary.role, "fields", "ok", f"{len(dictionary.fields)} of {len(dictionary.fields)}"
        )
    for row in dictionary.fields:
        found = live.get(row["field_name"])
        if found is None or row["field_type"] not in {"checkbox", "dropdown", "radio"}:
            continue
        column = "select_choices_or_calculations"
        codes = [code for code in choices_of(row[column]) if code not in choices_of(str(found[column]))]
        if found["field_type"] in {"checkbox", "dropdown", "radio"} and codes:
            detail = f"{row['field_name']} lacks the codes {', '.join(codes)}"
            yield Finding(dictionary.role, "choices", "missing", detail, "add the choices")


def _repeating(project: RedcapProject, dictionary: RoleDictionary) -> Finding:
    if not dictionary.repeating:
        return Finding(dictionary.role, "repeating", "ok", "nothing needs to repeat")
    try:
        missing = missing_repetitions(project, dictionary)
    except ConfigurationError:  # asking needs the right to design, which a service user should not have
        return Finding(
            dictionary.role, "repeating", "unknown", "the token may not ask", "look at Project Setup"
        )
    if missing:
        remedy = "enable repeating instruments in Project Setup"
        return Finding(dictionary.role, "repeating", "missing", ", ".join(missing), remedy)
    return Finding(dictionary.role, "repeating", "ok", ", ".join(dictionary.repeating))


def _export_rights(project: RedcapProject, dictionary: RoleDictionary) -> Finding:
    """Every field must come back: with limited export rights fields vanish, and REDCap does not say so."""
    answer = project.export_records(format_type="csv", filter_logic=f"[{project.def_field}] = ''")
    header = [line for line in answer.splitlines() if line.strip()]
    if not header:
        detail = "there is no record yet to see which fields come back"
        return Finding(dictionary.role, "export right", "unknown", detail)
    columns = set(header[0].replace('"', "").split(","))
    expected = {row["export_field_name"] for row in project.export_field_names()}
    hidden = sorted(expected - columns)
    if hidden:
        remedy = "give the token's user the export right Full Data Set"
        return Finding(
            dictionary.role, "export right", "missing", f"not exported: {', '.join(hidden[:8])}", remedy
        )
    return Finding(dictionary.role, "export right", "ok", "every field comes back")


def _import_right(project: RedcapProject, role: str) -> Finding:
    """Importing no rows changes nothing and yet needs the right."""
    try:
        project.import_records([])
    except ConfigurationError:
        return Finding(
            role, "import right", "missing", "the token may not import", "give its user API Import"
        )
    except Permanent:
        return Finding(role, "import right", "unknown", "the server does not take an import without rows")
    return Finding(role, "import right", "ok", "the token may import")
