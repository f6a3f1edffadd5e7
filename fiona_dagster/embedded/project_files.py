"""The gateway's REDCap projects as files for REDCap's web pages, for sites that hand out no super token.

`<Role>.csv` is the dictionary; `<Role>.xml` (CDISC ODM with REDCap's extensions) the whole project: dictionary,
events, what repeats and settings. REDCap makes a project of the XML in one step (New Project, upload a project XML).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.redcap.provision import provision
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain import dictionaries
from fiona_dagster.domain.dictionaries import ROLES, role_dictionary
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.embedded.redcap.dispatch import answer
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.server import RedcapServer

_CALLS_PER_MINUTE = 60_000
"""Of a server that nobody else talks to."""


def write_project_files(folder: Path, *, roles: Sequence[str] = ROLES) -> list[Path]:
    """Write CSV and XML of each role into `folder`; returns the files.

    The projects are made in an embedded REDCap for the purpose, with the code that makes them on a live one.

    Raises:
        ConfigurationError: there is no such role.
    """
    for role in roles:
        role_dictionary(role)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with tempfile.TemporaryDirectory() as scratch, RedcapServer(Path(scratch) / "redcap.sqlite") as server:
        limit = RateLimit(Path(scratch) / "calls", _CALLS_PER_MINUTE)
        for made in provision(server.url, server.super_token, Path(scratch) / "tokens", limit, roles=roles):
            token = made.token_file.read_text(encoding="ascii").strip()
            asked = {"token": token, "content": "project_xml", "returnMetadataOnly": "true"}
            found = answer(server.database, Parameters(asked.items()), server.page_url)
            if found.status != 200 or not isinstance(found.body, str):
                raise Permanent(f"the project {made.role} could not be written as XML")
            contents = {
                "csv": (files(dictionaries.__name__) / f"{made.role}.csv").read_bytes(),
                "xml": found.body.encode(),
            }
            for kind, content in contents.items():
                path = folder / f"{made.role}.{kind}"
                write_durably(path, content, mode=0o644)
                written.append(path)
    return written
