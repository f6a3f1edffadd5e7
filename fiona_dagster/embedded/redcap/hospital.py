"""The hospital's side of REDCap for a demo: projects, coupling list and routing rules, entered through the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.provision import provision, provision_project
from fiona_dagster.adapters.redcap.rate_limit import RateLimit

_CALLS_PER_MINUTE = 600
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class HospitalRedcap:
    """Where the gateway finds the API and its tokens. `project_ids` is for links to the page."""

    url: str
    token_files: dict[str, Path]
    project_ids: dict[str, int]

    @property
    def tokens(self) -> dict[str, str]:
        """`REDCAP.tokens` of config.json."""
        return {role: f"file:{path}" for role, path in self.token_files.items()}


def prepare_hospital(
    url: str,
    super_token: str,
    tokens_dir: Path,
    *,
    projects: Sequence[Fields] = (),
    coupling: Sequence[Fields] = (),
    routing: Sequence[Fields] = (),
    research_projects: Sequence[str] = (),
) -> HospitalRedcap:
    """Make the gateway's projects and enter what people would; doing it again changes nothing.

    Args:
        url: the API, ends in `/api/`.
        super_token: of the server.
        tokens_dir: tokens are kept here, mode 600.
        projects: fields of DataTransferProjects, `project_name` at least; `destinations` is a list of fields of that
            form (`dest_name`, `dest_url` ...).
        coupling: fields of CouplingList without `record_id` (`cl_accessionnumber`, `cl_projectname` ...).
        routing: fields of Routing; `record_id` is the rule's name.
        research_projects: names of projects that get a REDCap project of their own, from ProjectTemplate.
    """
    tokens_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    limit = RateLimit(tokens_dir / ".hospital-calls", _CALLS_PER_MINUTE)
    made = provision(url, super_token, tokens_dir, limit)
    made += [
        provision_project(url, super_token, tokens_dir, limit, role="ProjectTemplate", title=name)
        for name in research_projects
    ]
    hospital = HospitalRedcap(
        url, {one.title: one.token_file for one in made}, {one.title: one.project_id for one in made}
    )

    def opened(role: str) -> RedcapProject:
        return RedcapProject(url, hospital.token_files[role].read_text(encoding="ascii").strip(), limit)

    _enter_projects(opened("DataTransferProjects"), projects)
    _enter_coupling(opened("CouplingList"), coupling)
    opened("Routing").write_rows([{"routing_active": "1", **row} for row in routing])
    return hospital


def _enter_projects(project: RedcapProject, rows: Sequence[Fields]) -> None:
    entered: list[dict[str, Any]] = []
    for row in rows:
        fields = {name: value for name, value in row.items() if name != "destinations"}
        record = str(fields.get("record_id") or fields["project_name"])
        entered.append({"project_active": "1", **fields, "record_id": record, "projects_complete": "2"})
        for number, destination in enumerate(row.get("destinations", ()), start=1):
            place = {
                "record_id": record,
                "redcap_repeat_instrument": "destinations",
                "redcap_repeat_instance": number,
            }
            entered.append({**place, "dest_active": "1", **destination, "destinations_complete": "2"})
    project.write_rows(entered)


def _enter_coupling(project: RedcapProject, rows: Sequence[Fields]) -> None:
    """New entries get the next number; an entry that is there already is not entered twice."""
    present = project.rows()
    number = max((int(row["record_id"]) for row in present), default=0)
    entered = []
    for row in rows:
        if any(all(str(one.get(name, "")) == str(value) for name, value in row.items()) for one in present):
            continue
        number += 1
        entered.append({**row, "record_id": str(number), "coupling_list_complete": "2"})
    project.write_rows(entered)
