"""The files for REDCap's web pages make projects that lack nothing."""

from __future__ import annotations

import json
from pathlib import Path

import requests

from fiona_dagster.adapters.redcap.provision import provision
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.dictionaries import ROLES
from fiona_dagster.embedded.project_files import write_project_files
from fiona_dagster.embedded.redcap.server import RedcapServer


def test_a_project_made_of_the_xml_needs_nothing_more(tmp_path: Path) -> None:
    written = write_project_files(tmp_path / "files")
    assert {path.name for path in written} == {f"{role}.{kind}" for role in ROLES for kind in ("csv", "xml")}
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    with RedcapServer(tmp_path / "r.sqlite", durable=False) as server:
        for role in ROLES:
            form = {
                "token": server.super_token,
                "content": "project",
                "format": "json",
                "data": json.dumps([{"project_title": role, "purpose": 0}]),
                "odm": (tmp_path / "files" / f"{role}.xml").read_text(),
            }
            made = requests.post(server.url, data=form, timeout=30)
            assert made.status_code == 200, made.text
            (tokens / f"{role}.token").write_text(made.text[-32:])
        found = provision(server.url, None, tokens, RateLimit(tmp_path / "calls", 60_000), roles=ROLES)
    assert {one.role: one.changes for one in found} == dict.fromkeys(ROLES, ())
