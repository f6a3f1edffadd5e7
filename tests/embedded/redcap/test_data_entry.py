"""Saving at the screen, and the Data Entry Trigger behind it (redcap-contract 1.9)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl

import pytest
from redcap.project import Project

from fiona_dagster.embedded.redcap.data_entry import set_trigger
from fiona_dagster.embedded.redcap.problems import ApiError
from tests.contract.api import Api


@contextmanager
def listener(status: int = 200) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Somebody who is told: its URL and what it was sent."""
    heard: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            heard.append(dict(parse_qsl(body, keep_blank_values=True)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def triggered(api: Api, project: Project, url: str) -> int:
    assert api.server is not None
    pid = int(project.export_project_info()["project_id"])
    with api.server.database.transaction(write=True) as connection:
        set_trigger(connection, pid, url)
    return pid


def test_saving_an_instance_tells_what_was_saved_and_where(own: Api) -> None:
    project = own.project()
    assert own.server is not None
    with listener() as (url, heard):
        pid = triggered(own, project, url)
        values = {"scan_uid": "1.2", "scans_complete": "2"}
        assert own.server.save_form(pid, "scans", "1", values, instance=3) is True
    assert heard == [
        {
            "project_id": str(pid),
            "username": "site_admin",
            "instrument": "scans",
            "record": "1",
            "scans_complete": "2",
            "redcap_repeat_instance": "3",
            "redcap_repeat_instrument": "scans",
            "redcap_url": own.server.page_url,
            "project_url": f"{own.server.page_url}project/{pid}",
        }
    ]
    assert project.export_records(forms=["scans"])[1]["scan_uid"] == "1.2"


def test_in_a_longitudinal_project_the_event_is_told(own: Api) -> None:
    project = own.project(events=("Visit 1",))
    assert own.server is not None
    with listener() as (url, heard):
        pid = triggered(own, project, url)
        own.server.save_form(pid, "baseline", "1", {"name": "Ada"}, event="visit_1_arm_1")
    assert heard[0]["redcap_event_name"] == "visit_1_arm_1"
    assert "redcap_repeat_instance" not in heard[0]


def test_an_import_by_api_calls_nobody(own: Api) -> None:
    project = own.project()
    with listener() as (url, heard):
        triggered(own, project, url)
        project.import_records([{"record_id": "1", "name": "Ada"}])
    assert heard == []


def test_who_does_not_answer_is_not_asked_again_and_the_form_is_saved(own: Api) -> None:
    project = own.project()
    assert own.server is not None
    with listener(500) as (url, heard):
        pid = triggered(own, project, url)
        assert own.server.save_form(pid, "baseline", "1", {"name": "Ada"}) is False
    assert len(heard) == 1
    assert own.server.save_form(pid, "baseline", "1", {"name": "Bob"}) is False
    assert project.export_records()[0]["name"] == "Bob"


def test_what_is_refused_calls_nobody(own: Api) -> None:
    project = own.project()
    assert own.server is not None
    with listener() as (url, heard):
        pid = triggered(own, project, url)
        with pytest.raises(ApiError, match="not a valid category"):
            own.server.save_form(pid, "baseline", "1", {"sex": "9"})
    assert heard == []
    assert own.server.save_form(triggered(own, project, ""), "baseline", "1", {"sex": "1"}) is None
