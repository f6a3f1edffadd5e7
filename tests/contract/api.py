"""A REDCap to test against: the embedded one, or any by its URL and tokens.

    REDCAP_URL, REDCAP_SUPER_TOKEN                        projects are made for each test, and stay behind
    REDCAP_URL, REDCAP_CLASSIC_TOKEN, REDCAP_LONGITUDINAL_TOKEN
                                                          two projects in development whose content is lost

Tests that need more than the tokens allow skip and say so. Titles of new projects begin with `contract test`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as field_of
from pathlib import Path
from typing import Any

import pytest
import requests
from redcap.project import Project

from fiona_dagster.domain.dictionaries import COLUMNS
from fiona_dagster.embedded.redcap.groups import permit_switching
from fiona_dagster.embedded.redcap.reports import all_reports
from fiona_dagster.embedded.redcap.server import RedcapServer

TITLE = "contract test"
TESTER = "contract_tester"
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
GROUPS = (
    '<redcap:DataAccessGroupsGroup><redcap:DataAccessGroups group_name="Test Site"/></redcap:DataAccessGroupsGroup>'
    '<redcap:SurveysGroup><redcap:Surveys form_name="lifestyle" title="Lifestyle" survey_enabled="1" '
    'save_and_return="1"/></redcap:SurveysGroup>'
    '<redcap:ReportsGroup><redcap:Reports title="Ages" redcap_reports_fields="record_id,age" '
    'advanced_logic="[event-name][age] &gt; 30"/></redcap:ReportsGroup></GlobalVariables>'
)
"""What a project export has for a survey, a report and a data access group."""


@dataclass
class Api:
    """A server's address and tokens; `server` where it is ours."""

    url: str
    super_token: str = ""
    server: RedcapServer | None = None
    classic_token: str = ""
    longitudinal_token: str = ""
    taken: set[str] = field_of(default_factory=set)
    """Projects that the running test has got already."""

    def post(self, **form: Any) -> requests.Response:
        return requests.post(self.url, data=form, timeout=60)

    def upload(self, data: bytes, name: str, /, **form: Any) -> requests.Response:
        return requests.post(self.url, data=form, files={"file": (name, data)}, timeout=60)

    def create(self, *, title: str = TITLE, odm: str = "", **attributes: Any) -> str:
        """Token of an empty project: a new one, or one of the two, emptied."""
        if not self.super_token:
            return self._emptied(title, odm, attributes)
        values = {"project_title": title, "purpose": 0, **attributes}
        form = {"odm": odm} if odm else {}
        answer = self.post(
            token=self.super_token, content="project", format="json", data=json.dumps([values]), **form
        )
        assert answer.status_code == 200, answer.text
        token = answer.text.strip()[-32:]
        self._grant(token)
        return token

    def _grant(self, token: str) -> None:
        """On a real server the creator of a project may neither delete nor rename records at first."""
        me = self.post(token=token, content="user", format="json").json()[0]
        wanted = {"username": me["username"], "record_delete": 1, "record_rename": 1}
        if me["record_delete"] != 1 or me["record_rename"] != 1:
            self.post(token=token, content="user", format="json", data=json.dumps([wanted]))

    def _emptied(self, title: str, odm: str, attributes: dict[str, Any]) -> str:
        longitudinal = bool(attributes.pop("is_longitudinal", 0))
        kind = "longitudinal" if longitudinal else "classic"
        token = self.longitudinal_token if longitudinal else self.classic_token
        if not token or token in self.taken or odm or attributes or title != TITLE:
            pytest.skip(f"needs REDCAP_SUPER_TOKEN: another {kind} project, or one with settings of its own")
        self.taken.add(token)
        form = {"token": token, "format": "json", "returnFormat": "json"}
        rows = self.post(**form, content="record", type="eav").json()
        records = {f"records[{n}]": name for n, name in enumerate(sorted({row["record"] for row in rows}))}
        if records:
            answer = self.post(**form, content="record", action="delete", **records)
            if answer.status_code == 403:
                pytest.skip("needs the right Delete Record in the two projects")
            assert answer.status_code == 200, answer.text
        for content, name, array in (
            ("dag", "unique_group_name", "dags"),
            ("userRole", "unique_role_name", "roles"),
            ("user", "username", "users"),
        ):
            found = [row[name] for row in self.post(**form, content=content).json()]
            ours = [one for one in found if content != "user" or one == TESTER]
            if ours:
                numbered = {f"{array}[{n}]": one for n, one in enumerate(ours)}
                self.post(**form, content=content, action="delete", **numbered)
        return token

    def survey_project(self) -> str:
        """Token of a longitudinal project with a survey, a report and a group, which only ODM can make."""
        plain = self.project(events=("Visit 1",), surveys_enabled=1)
        document = self.post(token=plain.token, content="project_xml", returnMetadataOnly="true").text
        return self.create(title=f"{TITLE} with a survey", odm=document.replace("</GlobalVariables>", GROUPS))

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
        if not rows and not self.super_token:
            self.post(token=token, content="repeatingFormsEvents", format="json", data="[]")
        if rows:
            project.import_repeating_instruments_events([{**row, "custom_form_label": ""} for row in rows])
        return Project(self.url, token)


@contextmanager
def any_api(folder: Path) -> Iterator[Api]:
    """The REDCap of the environment, else an embedded one in `folder`."""
    kinds = ("SUPER", "CLASSIC", "LONGITUDINAL")
    url, (token, classic, longitudinal) = (
        os.environ.get("REDCAP_URL"),
        (os.environ.get(f"REDCAP_{kind}_TOKEN", "") for kind in kinds),
    )
    if url and (token or classic or longitudinal):
        yield Api(url, token, classic_token=classic, longitudinal_token=longitudinal)
        return
    with RedcapServer(folder / "redcap.sqlite", durable=False) as server:
        yield Api(server.url, server.super_token, server)


def refusal(answer: requests.Response) -> str:
    """The message of a refused call."""
    assert answer.status_code >= 400, answer.text
    return str(answer.json()["error"])


def allow_switching(api: Api, project: Project, group: str) -> None:
    """Let the project's creator switch to a data access group, which no API does."""
    if api.server is None:
        pytest.skip("the DAG Switcher of the project must be set up by hand")
    with api.server.database.transaction(write=True) as connection:
        pid = int(project.export_project_info()["project_id"])
        permit_switching(connection, pid, project.export_users()[0]["username"], [group])


def report_number(api: Api, project: Project) -> int:
    """The number of the project's only report, which no API tells."""
    if api.server is None:
        pytest.skip("the number of a report stands on the page of reports only")
    with api.server.database.transaction(write=False) as connection:
        return int(all_reports(connection, int(project.export_project_info()["project_id"]))[0]["report_id"])
