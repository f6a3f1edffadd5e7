"""Making the gateway's projects on a REDCap, with a super token; and bringing existing ones up to date.

Idempotent: a project whose token file exists is compared and completed, never made twice. Fields that a site added
stay, because importing a dictionary replaces all of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.redcap.answers import value_of
from fiona_dagster.adapters.redcap.client import RedcapProject, require_api
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.dictionaries import GATEWAY_ROLES, RoleDictionary, role_dictionary
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

_TIMEOUT_SECONDS = (5.0, 120.0)
_OTHER_PURPOSE = 1


@dataclass(frozen=True)
class ProvisionedProject:
    """A project and what was done to it: `created`, or sentences about what was completed; empty: nothing."""

    role: str
    title: str
    project_id: int
    token_file: Path
    changes: tuple[str, ...]


def provision(
    url: str,
    super_token: str | None,
    tokens_dir: Path,
    limit: RateLimit,
    *,
    roles: Sequence[str] = GATEWAY_ROLES,
    ca_bundle: str = "",
) -> list[ProvisionedProject]:
    """Make or complete a project for each role; tokens go to `<tokens_dir>/<role>.token`, mode 600.

    Args:
        url: ends in `/api/`.
        super_token: 64 characters; needed only where a project has to be made.
        tokens_dir: made with mode 700 when it does not exist.
        limit: of all processes that talk to this REDCap from here.
        roles: see `domain.dictionaries.ROLES`.
        ca_bundle: certificates to trust; empty: the system's.

    Raises:
        ConfigurationError: a token is refused, or a project in production lacks something.
        Transient: REDCap is down.
    """
    return [
        provision_project(url, super_token, tokens_dir, limit, role=role, title=role, ca_bundle=ca_bundle)
        for role in roles
    ]


def provision_project(
    url: str,
    super_token: str | None,
    tokens_dir: Path,
    limit: RateLimit,
    *,
    role: str,
    title: str,
    ca_bundle: str = "",
) -> ProvisionedProject:
    """One project called `title` with the dictionary of `role`; its token in `<tokens_dir>/<title>.token`."""
    require_api(url)
    dictionary = role_dictionary(role)
    # before a project is made whose token would have no place
    tokens_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    token_file = tokens_dir / f"{title}.token"
    changes: list[str] = []
    if not token_file.exists():
        token = _create(url, super_token, title, dictionary, limit, ca_bundle)
        # Kept before anything else: a project whose token is lost cannot be found again by API.
        write_durably(token_file, f"{token}\n".encode(), mode=0o600)
        changes.append("created")
    try:
        token = token_file.read_text(encoding="ascii").strip()
        project = RedcapProject(url, token, limit, ca_bundle=ca_bundle)
        project.require(title=title)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, place=str(token_file), remedy=error.remedy) from None
    changes += _complete(project, dictionary)
    return ProvisionedProject(role, title, int(project.info["project_id"]), token_file, tuple(changes))


def _create(
    url: str,
    super_token: str | None,
    title: str,
    dictionary: RoleDictionary,
    limit: RateLimit,
    ca_bundle: str,
) -> str:
    if not super_token or len(super_token) != 64:
        raise ConfigurationError(
            f"project {title} has to be made, which needs a super token (64 characters)",
            remedy="give --super-token-file; or make the project by hand from its dictionary and store its token",
        )
    limit.acquire()
    attributes = {
        "project_title": title,
        "purpose": _OTHER_PURPOSE,
        "purpose_other": "DICOM research gateway",
        "is_longitudinal": int(dictionary.longitudinal),
        "record_autonumbering_enabled": int(dictionary.autonumber),
    }
    form = {"token": super_token, "content": "project", "format": "json", "data": json.dumps([attributes])}
    try:
        # Not repeated when it fails: a second try might make a second project.
        response = requests.post(
            url, data=form, timeout=_TIMEOUT_SECONDS, allow_redirects=False, verify=ca_bundle or True
        )
    except requests.RequestException as error:
        raise Transient(
            f"REDCap cannot be reached ({type(error).__name__}); if it made project {title}, remove that one first"
        ) from None
    token = str(value_of(response.status_code, response.text, "str"))[-32:]
    if len(token) != 32 or not token.isalnum():
        raise Permanent("REDCap did not answer with a token for the project it was to make")
    return token


def _complete(project: RedcapProject, dictionary: RoleDictionary) -> list[str]:
    """Add what is missing; returns sentences about it."""
    changes = []
    merged, added = merged_dictionary([dict(row) for row in project.metadata], dictionary)
    if added:
        _refuse_in_production(project, f"fields {', '.join(added[:5])}")
        project.import_metadata(merged)
        project.forget_structure()
        changes.append(f"{len(added)} fields")
    if dictionary.longitudinal:
        changes += _designate(project, dictionary)
    missing = missing_repetitions(project, dictionary)
    if missing:
        _refuse_in_production(project, f"repeating instruments {', '.join(missing)}")
        present = project.export_repeating_instruments_events()
        project.import_repeating_instruments_events([*present, *_repetitions(project, missing)])
        changes.append(f"repeating instruments {', '.join(missing)}")
    return changes


def merged_dictionary(
    live: list[dict[str, Any]], dictionary: RoleDictionary
) -> tuple[list[dict[str, Any]], list[str]]:
    """The live dictionary with our missing fields behind the last field of their instrument; and their names."""
    known = {row["field_name"] for row in live}
    added = [row for row in dictionary.fields if row["field_name"] not in known]
    if live and dictionary.record_id_field not in known:
        # A new project of a real REDCap has one field `record_id` on `my_first_instrument`: it is not kept.
        if len(live) > 1:
            raise ConfigurationError(
                f"the project's first field is not {dictionary.record_id_field}", remedy="use another project"
            )
        live, added = [], list(dictionary.fields)
    elif len(live) == 1 and live[0]["form_name"] not in dictionary.forms:
        live, added = [], list(dictionary.fields)
    merged = list(live)
    for row in added:
        places = [n for n, one in enumerate(merged, start=1) if one["form_name"] == row["form_name"]]
        merged.insert(places[-1] if places else len(merged), dict(row))
    return merged, [row["field_name"] for row in added]


def missing_repetitions(project: RedcapProject, dictionary: RoleDictionary) -> list[str]:
    """Instruments that should repeat and do not. REDCap refuses the question where nothing repeats: that is `none`."""
    try:
        rows = project.export_repeating_instruments_events()
    except Permanent:
        rows = []
    present = {row["form_name"] for row in rows}
    return [form for form in dictionary.repeating if form not in present]


def _designate(project: RedcapProject, dictionary: RoleDictionary) -> list[str]:
    present = project.export_instrument_event_mappings()
    events = project.export_events()
    event = events[0]
    missing = [form for form in dictionary.forms if form not in {row["form"] for row in present}]
    if not missing:
        return []
    _refuse_in_production(project, f"designations of {', '.join(missing)}")
    common = {"arm_num": event["arm_num"], "unique_event_name": event["unique_event_name"]}
    project.import_instrument_event_mappings([*present, *({**common, "form": form} for form in missing)])
    return [f"instruments of {event['event_name']}"]


def _repetitions(project: RedcapProject, forms: Sequence[str]) -> list[dict[str, str]]:
    rows = [{"form_name": form, "custom_form_label": ""} for form in forms]
    if project.is_longitudinal:
        mapping = {
            row["form"]: row["unique_event_name"] for row in project.export_instrument_event_mappings()
        }
        return [{"event_name": mapping[row["form_name"]], **row} for row in rows]
    return rows


def _refuse_in_production(project: RedcapProject, what: str) -> None:
    if int(project.info.get("in_production") or 0):
        raise ConfigurationError(
            f"project {project.info.get('project_title')} lacks {what}, but is in production",
            remedy="import the dictionary by hand in draft mode, and have it approved",
        )
