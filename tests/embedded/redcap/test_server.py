"""The server as a process, a page and a peer that fails on demand."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from redcap.project import Project

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.embedded.redcap.faults import Fault
from fiona_dagster.embedded.redcap.server import RedcapServer, super_token_from
from tests.contract.api import Api

EVERYWHERE = "0.0.0.0"  # noqa: S104 — the test is about what is then not served


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    with RedcapServer(tmp_path / "r.sqlite") as server:
        project = Api(server.url, server.super_token).project()
        project.import_records([{"record_id": "1", "name": "Ada"}])
    with RedcapServer(tmp_path / "r.sqlite") as server:
        assert Project(server.url, project.token).export_records()[0]["name"] == "Ada"


def test_as_a_process_it_prints_its_address_and_stops_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fiona_dagster.embedded.redcap", "--data", str(tmp_path / "r.sqlite"),
               "--super-token-file", str(tmp_path / "token")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        try:
            token = (tmp_path / "token").read_text().strip()
            project = Api(url, token).project()
            project.import_records([{"record_id": "1", "name": "Secretive Person"}])
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_stop_in_the_moment_of_starting_is_not_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fiona_dagster.embedded.redcap", "--data", str(tmp_path / "r.sqlite"),
               "--super-token-file", str(tmp_path / "token")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_a_super_token_file_is_made_once_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "token"
    assert super_token_from(path) == super_token_from(path)
    path.write_text("password")
    with pytest.raises(ConfigurationError, match="does not hold a super token"):
        super_token_from(path)


def test_a_taken_port_is_said_so(tmp_path: Path) -> None:
    with RedcapServer(tmp_path / "one.sqlite") as server:
        port = int(server.page_url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigurationError, match="cannot listen"):
            RedcapServer(tmp_path / "other.sqlite", port=port)


def test_two_servers_on_one_file_share_its_records(tmp_path: Path) -> None:
    path, token = tmp_path / "r.sqlite", "A" * 64
    with RedcapServer(path, super_token=token) as one, RedcapServer(path, super_token=token) as other:
        project = Api(one.url, token).project()

        def write(number: int) -> None:
            place = {"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": "new"}
            data = json.dumps([{**place, "scan_uid": str(number)}])
            server = (one, other)[number % 2]
            answer = Api(server.url).post(token=project.token, content="record", format="json", data=data)
            assert answer.json() == {"count": 1}

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(12)))
        rows = [row for row in project.export_records(forms=["scans"]) if row["redcap_repeat_instrument"]]
    assert sorted(row["redcap_repeat_instance"] for row in rows) == list(range(1, 13))
    assert len({row["scan_uid"] for row in rows}) == 12


def test_files_and_forms_may_come_as_multipart(own: Api) -> None:
    token = own.project().token
    answer = requests.post(own.url, files={"token": (None, token), "content": (None, "version")}, timeout=30)
    assert answer.text.count(".") == 2


def test_escapes_of_every_kind_arrive(own: Api) -> None:
    project = own.project()
    text = 'å+b %41 100%25 & = "quote"\ttab\nline \\ 日本'
    project.import_records([{"record_id": "1", "remark": text}])
    assert project.export_records()[0]["remark"] == text


def test_a_wrong_address_is_a_page_not_json(own: Api) -> None:
    answer = requests.post(own.url + "more", timeout=30)
    assert answer.status_code == 404
    assert "json" not in answer.headers["content-type"]


class TestFaults:
    def test_a_bad_gateway_carries_nothing_out(self, own: Api) -> None:
        project = own.project()
        assert own.server is not None
        own.server.faults.upcoming(Fault.BAD_GATEWAY)
        form = {"token": project.token, "content": "record", "format": "json", "data": '[{"record_id":"1"}]'}
        answer = own.post(**form)
        assert (answer.status_code, "502 Bad Gateway" in answer.text) == (502, True)
        assert project.export_records() == []

    def test_a_lost_answer_belongs_to_a_call_that_was_carried_out(self, own: Api) -> None:
        project = own.project()
        assert own.server is not None
        own.server.faults.upcoming(Fault.ANSWER_LOST)
        form = {"token": project.token, "content": "record", "format": "json", "data": '[{"record_id":"1"}]'}
        assert own.post(**form).status_code == 502
        assert [row["record_id"] for row in project.export_records()] == ["1"]

    def test_memory_runs_out_with_status_200(self, own: Api) -> None:
        project = own.project()
        assert own.server is not None
        own.server.faults.upcoming(Fault.HTML_IN_200)
        answer = own.post(token=project.token, content="record", format="json")
        assert answer.status_code == 200
        assert answer.text.startswith("<br />")
        assert '{"error":"REDCap ran out of server memory.' in answer.text

    def test_calling_too_often_bans_until_an_administrator_lifts_it(self, own: Api) -> None:
        project = own.project()
        assert own.server is not None
        own.server.faults.lift_ban()
        own.server.faults.calls_per_minute = 2
        form = {"token": project.token, "content": "version"}
        assert [own.post(**form).status_code for _ in range(4)] == [200, 200, 403, 403]
        own.server.faults.lift_ban()
        assert own.post(**form).status_code == 200

    def test_rights_vanish_for_everybody_until_they_are_given_back(self, own: Api) -> None:
        project = own.project()
        project.import_records([{"record_id": "1", "name": "Ada", "age": "36"}])
        assert own.server is not None
        own.server.faults.removed_rights = {"forms_export": {"baseline": 3}, "api_import": 0}
        row = project.export_records()[0]
        assert "name" not in row
        assert row["age"] == "36"
        answer = own.post(token=project.token, content="record", format="json", data="[]")
        assert answer.status_code == 403
        own.server.faults.removed_rights = {}
        assert project.export_records()[0]["name"] == "Ada"

    def test_a_slow_answer_comes_late(self, own: Api) -> None:
        project = own.project()
        assert own.server is not None
        own.server.faults.delay_seconds = 0.2
        with pytest.raises(requests.Timeout):
            requests.post(own.url, data={"token": project.token, "content": "version"}, timeout=0.05)
        own.server.faults.delay_seconds = 0.0


class TestPage:
    def test_newcomers_see_projects_and_values_escaped(self, own: Api) -> None:
        project = own.project(title="Trial <1>")
        project.import_records(
            [{"record_id": "1", "remark": "<script>alert(1)</script>", "sex": "0"},
             {"record_id": "1", "redcap_repeat_instrument": "scans", "redcap_repeat_instance": 2, "scan_uid": "1.2"}]
        )  # fmt: skip
        assert own.server is not None
        index = requests.get(own.server.page_url, timeout=30)
        assert "Trial &lt;1&gt;" in index.text
        page = requests.get(f"{own.server.page_url}project/1", timeout=30)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "<script" not in page.text
        assert "<td>Female</td>" in page.text
        assert '<a href="/project/1/record?name=1">1</a></th><td>2</td><td>1.2</td>' in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert requests.get(f"{own.server.page_url}project/99", timeout=30).status_code == 404

    def test_a_record_has_a_page_with_labels_instances_and_its_log(self, own: Api) -> None:
        project = own.project()
        name = "a/b <1>"
        place = {"redcap_repeat_instrument": "scans", "redcap_repeat_instance": 2}
        project.import_records(
            [
                {"record_id": name, "name": "Ada", "drugs___1": "1"},
                {"record_id": name, **place, "scan_uid": "1.2"},
            ]
        )
        project.import_file(name, "picture", "a&b.png", io.BytesIO(b"x"))
        assert own.server is not None
        index = requests.get(f"{own.server.page_url}project/1", timeout=30).text
        path = re.search(r'href="(/project/1/record[^"]+)"', index)
        assert path is not None
        page = requests.get(f"{own.server.page_url}{path[1].lstrip('/')}", timeout=30)
        assert "<h1>Record a/b &lt;1&gt;</h1>" in page.text
        assert "<td>The name <span" in page.text
        assert "<td>Aspirin </td><td>Checked</td>" in page.text
        assert "a&amp;b.png" in page.text
        assert "instance 2" in page.text
        assert "Create record a/b &lt;1&gt;" in page.text
        assert requests.get(f"{own.server.page_url}project/1/record?name=2", timeout=30).status_code == 404

    def test_many_records_come_in_parts(self, own: Api) -> None:
        project = own.project()
        project.import_records(
            [{"record_id": str(number), "name": f"n{number}."} for number in range(1, 151)]
        )
        assert own.server is not None
        first = requests.get(f"{own.server.page_url}project/1", timeout=30).text
        second = requests.get(f"{own.server.page_url}project/1?start=100", timeout=30).text
        assert "n100." in first
        assert "n101." not in first
        assert "n101." in second

    def test_another_host_name_gets_nothing(self, own: Api) -> None:
        assert own.server is not None
        answer = requests.get(own.server.page_url, headers={"Host": "evil.example"}, timeout=30)
        assert answer.status_code == 400

    def test_beyond_loopback_there_is_no_page(self, tmp_path: Path) -> None:
        with RedcapServer(tmp_path / "r.sqlite", host=EVERYWHERE) as server:
            address = server.page_url.replace(EVERYWHERE, "127.0.0.1")
            assert requests.get(address, timeout=30).status_code == 404
            assert requests.get(f"{address}api/", timeout=30).status_code == 501
