"""A REDCap to test against: the embedded one, or any by REDCAP_URL and REDCAP_SUPER_TOKEN.

Against a real server the contract tests leave projects behind whose titles begin with `contract test`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from redcap.project import Project

from fiona_dagster.domain.dictionaries import COLUMNS
from fiona_dagster.embedded.redcap.server import RedcapServer

ROW = dict.fromkeys(COLUMNS.values(), "")


def field(name: str, form: str, kind: str = "text", **columns: str) -> dict[str, str]:
    """One row of a data dictionary."""
    return {
        **ROW,
        "field_name": name,
        "form_name": form,
        "field_type": kind,
        "field_label": f"The {name}",
        **columns,
    }


def choices(text: str) -> dict[str, str]:
    return {"select_choices_or_calculations": text}


def validated(kind: str) -> dict[str, str]:
    return {"text_validation_type_or_show_slider_number": kind}


VISITS = (
    field("record_id", "baseline"),
    field("name", "baseline", identifier="y"),
    field("age", "baseline", **validated("integer")),
    field("born", "baseline", **validated("date_dmy")),
    field("sex", "baseline", "radio", **choices("0, Female | 1, Male")),
    field("drugs", "baseline", "checkbox", **choices("1, Aspirin | -2, None, really | A, Other")),
    field("remark", "baseline", "notes"),
    field("score", "baseline", "calc", **choices("[age] + 1")),
    field("picture", "baseline", "file"),
    field("advice", "baseline", "descriptive"),
    field("scan_uid", "scans"),
    field("scan_count", "scans", **validated("integer")),
    field("smoker", "lifestyle", "yesno"),
)
"""A small dictionary with every kind of field; `scans` is meant to repeat."""


@dataclass
class Api:
    """A server's address and super token; `server` where it is ours."""

    url: str
    super_token: str
    server: RedcapServer | None = None

    def post(self, **form: Any) -> requests.Response:
        return requests.post(self.url, data=form, timeout=30)

    def create(self, *, title: str = "contract test", **attributes: Any) -> str:
        """Token of a new, empty project."""
        values = {"project_title": title, "purpose": 0, **attributes}
        answer = self.post(
            token=self.super_token, content="project", format="json", data=json.dumps([values])
        )
        assert answer.status_code == 200, answer.text
        return answer.text.strip()[-32:]

    def project(
        self,
        fields: Sequence[dict[str, str]] = VISITS,
        *,
        repeating: Sequence[str] = ("scans",),
        events: Sequence[str] = (),
        **attributes: Any,
    ) -> Project:
        """A project with a dictionary; longitudinal when `events` are given, each with every instrument."""
        token = self.create(is_longitudinal=int(bool(events)), **attributes)
        project = Project(self.url, token)
        project.import_metadata([dict(one) for one in fields])
        forms = list(dict.fromkeys(one["form_name"] for one in fields))
        if events:
            project.import_events([{"event_name": name, "arm_num": 1} for name in events], override=1)
            names = [one["unique_event_name"] for one in project.export_events()]
            project.import_instrument_event_mappings(
                [{"arm_num": 1, "unique_event_name": name, "form": form} for name in names for form in forms]
            )
            rows = [{"event_name": name, "form_name": form} for name in names for form in repeating]
        else:
            rows = [{"form_name": form} for form in repeating]
        if rows:
            project.import_repeating_instruments_events([{**row, "custom_form_label": ""} for row in rows])
        return Project(self.url, token)


@contextmanager
def any_api(folder: Path) -> Iterator[Api]:
    """The REDCap of the environment, else an embedded one in `folder`."""
    url, token = os.environ.get("REDCAP_URL"), os.environ.get("REDCAP_SUPER_TOKEN")
    if url and token:
        yield Api(url, token)
        return
    with RedcapServer(folder / "redcap.sqlite") as server:
        yield Api(server.url, server.super_token, server)


def refusal(answer: requests.Response) -> str:
    """The message of a refused call."""
    assert answer.status_code >= 400, answer.text
    return str(answer.json()["error"])
