"""The client against a server that is slow, broken, banned or not REDCap at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters.redcap import patience
from fiona_dagster.adapters.redcap.answers import value_of
from fiona_dagster.adapters.redcap.client import ATTEMPTS, RedcapProject, batches, is_repeatable
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient
from fiona_dagster.embedded.redcap import rights
from fiona_dagster.embedded.redcap.faults import Fault
from tests.adapters.redcap.conftest import PLENTY, Hospital, follow

STUDY = {"study_instance_uid": "1.2.3", "study_description": "Head"}
TOKEN = "A1" * 16


@pytest.mark.parametrize("fault", [Fault.BAD_GATEWAY, Fault.HTML_IN_200, Fault.ANSWER_LOST])
def test_a_passing_fault_is_survived(hospital: Hospital, fault: Fault) -> None:
    client = hospital.client("Incoming")
    hospital.server.faults.upcoming(fault, fault)
    assert client.info["project_title"] == "Incoming"
    hospital.server.faults.upcoming(fault, fault)
    assert client.write_rows([STUDY]) == 1
    hospital.server.faults.upcoming(fault)
    assert str(client.export_version()) == "15.5.0"
    assert client.rows(records=["1.2.3"])[0]["study_description"] == "Head"


@pytest.mark.parametrize("fault", [Fault.BAD_GATEWAY, Fault.HTML_IN_200])
def test_a_lasting_fault_is_transient_and_never_data(hospital: Hospital, fault: Fault) -> None:
    client = hospital.client("Incoming")
    hospital.server.faults.upcoming(*[fault] * (4 * ATTEMPTS))
    for call in (
        client.export_metadata,
        client.export_version,
        lambda: client.export_records(format_type="csv"),
        client.export_pdf,
    ):
        with pytest.raises(Transient):
            call()


def test_a_slow_server_is_transient(hospital: Hospital) -> None:
    client = hospital.client("Incoming", timeout_seconds=(1.0, 0.1))
    hospital.server.faults.delay_seconds = 0.4
    with pytest.raises(Transient, match="cannot be reached"):
        client.export_project_info()


def test_who_waits_for_a_slow_server_is_told(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = hospital.client("Incoming")
    client.export_project_info()
    assert not caplog.records
    monkeypatch.setattr(patience, "SLOW_SECONDS", 0.05)
    hospital.server.faults.delay_seconds = 0.5
    client.export_project_info()
    assert [one.getMessage().partition(":")[2] for one in caplog.records] == [" it is waited for, up to 30 s"]


def test_no_server_is_transient(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{one.getsockname()[1]}/api/"
        client = RedcapProject(url, TOKEN, RateLimit(tmp_path / "l", PLENTY), first_wait_seconds=0.01)
        with pytest.raises(Transient, match="cannot be reached"):
            client.export_version()


def test_a_deletion_is_not_repeated(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    client.write_rows([STUDY])
    hospital.server.faults.upcoming(Fault.ANSWER_LOST)
    with pytest.raises(Transient, match="read back first"):
        client.delete_records(["1.2.3"])
    assert client.rows(records=["1.2.3"]) == []


@pytest.mark.parametrize(
    ("payload", "repeatable"),
    [
        ({"content": "record"}, True),
        ({"content": "record", "data": '[{"a":"new"}]'}, True),
        ({"content": "record", "data": '[{"redcap_repeat_instance":"new"}]'}, False),
        ({"content": "record", "data": "id,redcap_repeat_instance\n1,new\n"}, False),
        ({"content": "record", "data": "[]", "forceAutoNumber": True}, False),
        ({"content": "record", "data": "[]", "forceAutoNumber": False}, True),
        ({"content": "record", "action": "delete"}, False),
        ({"content": "record", "action": "rename"}, False),
        ({"content": "file", "action": "import"}, False),
        ({"content": "file", "action": "export"}, True),
        ({"content": "metadata", "data": "[]"}, True),
    ],
)
def test_only_what_may_happen_twice_is_repeated(payload: dict[str, Any], repeatable: bool) -> None:
    assert is_repeatable(payload) is repeatable


def test_a_ban_says_whom_to_ask(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    hospital.server.faults.calls_per_minute = 0
    with pytest.raises(ConfigurationError, match="banned us") as caught:
        client.export_version()
    assert "calls_per_minute" in caught.value.remedy


def test_refusals_name_fields_but_no_values(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    rows = [
        {"study_instance_uid": "1.2.840.99", "study_arrival_date": "Nansen Fridtjof", "study_source": "17"}
    ]
    with pytest.raises(Permanent) as caught:
        client.write_rows(rows)
    text = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "study_arrival_date: The value you provided could not be validated" in text
    assert "study_source: The value is not a valid category" in text
    assert not {"1.2.840.99", "Nansen", '"17"'} & set(text.replace(":", " ").replace(";", " ").split())
    assert "Nansen" not in text


def test_tokens_are_in_no_message(hospital: Hospital) -> None:
    limit = RateLimit(hospital.folder / "l", PLENTY)
    client = RedcapProject(hospital.server.url, TOKEN, limit)
    with pytest.raises(ConfigurationError, match="do not have permissions") as caught:
        client.export_version()
    assert TOKEN not in f"{caught.value!r}{client!r}"
    with pytest.raises(ConfigurationError, match="32 letters") as caught:
        RedcapProject(hospital.server.url, "secret-token", limit)
    assert "secret-token" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="/api/"):
        RedcapProject(hospital.server.page_url, TOKEN, limit)


def test_a_missing_right_is_a_matter_of_configuration(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    with hospital.server.database.transaction(write=True) as connection:
        rights.set_rights(connection, int(client.info["project_id"]), rights.ADMINISTRATOR, {"api_import": 0})
    with pytest.raises(ConfigurationError, match="API Import/Update"):
        client.write_rows([STUDY])


def test_a_token_of_another_project_is_refused(hospital: Hospital) -> None:
    client = hospital.client("CouplingList")
    with pytest.raises(ConfigurationError, match="belongs to another project than 'Incoming'"):
        client.require(title="Incoming")
    with pytest.raises(ConfigurationError, match="belongs to project 2, not 1"):
        client.require(project_id=1)
    with pytest.raises(ConfigurationError, match="has no field study_patient_id"):
        client.require(fields=["study_patient_id"])
    client.require(title="CouplingList", project_id=2, fields=["cl_date"])


def test_an_outage_is_not_taken_for_a_classic_project(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    hospital.server.faults.upcoming(*[Fault.BAD_GATEWAY] * ATTEMPTS)
    with pytest.raises(Transient):
        client.is_longitudinal  # noqa: B018
    assert client.is_longitudinal is False


def test_long_lists_go_in_parts(hospital: Hospital) -> None:
    client = hospital.client("CouplingList")
    names = [str(number) for number in range(1, 451)]
    assert client.write_rows([{"record_id": name, "cl_projectname": "P"} for name in names]) == 450
    log = client.export_logging(log_type="record_add")
    assert len(log) == 450
    assert [row["record_id"] for row in client.rows(records=names, fields=["cl_projectname"])] == names
    assert len(client.rows()) == 450


def test_each_thread_has_its_own_session(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    found: list[int] = [id(client._session)]
    other = threading.Thread(target=lambda: found.append(id(client._session)))
    other.start()
    other.join()
    assert found[0] != found[1]
    assert id(client._session) == found[0]


def test_batches_lose_nothing() -> None:
    assert [list(part) for part in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert list(batches([], 2)) == []


class _NotRedcap(BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Location", "/elsewhere/")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def stranger() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), type("Handler", (_NotRedcap,), {})) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (302, b"", ConfigurationError, "redirects"),
        (404, b"<html>", ConfigurationError, "no REDCap API"),
        (200, b"<html>login</html>", Transient, "a page instead of data"),
        (200, b"pardon?", Transient, "7 characters that are not JSON"),
        (200, b"7", Permanent, "int where json was expected"),
        (200, b'{"error":"The record \\"Nansen\\" is locked"}', Permanent, "not shown"),
        (406, b'{"error":"You cannot do this"}', Permanent, "You cannot do this"),
        (403, b"<html>", ConfigurationError, "web server refuses us"),
        (503, b"", Transient, "HTTP 503"),
    ],
)
def test_whatever_a_stranger_answers_is_no_data(
    stranger: HTTPServer, tmp_path: Path, status: int, body: bytes, error: type[Exception], message: str
) -> None:
    handler: Any = stranger.RequestHandlerClass
    handler.status, handler.body = status, body
    url = f"http://127.0.0.1:{stranger.server_address[1]}/api/"
    client = RedcapProject(url, TOKEN, RateLimit(tmp_path / "l", PLENTY), first_wait_seconds=0.01)
    with pytest.raises(error, match=message) as caught:
        client.export_metadata()
    assert "Nansen" not in str(caught.value)


def chunked(hospital: Hospital, role: str, records: int) -> RedcapProject:
    token = follow(f"file:{hospital.tokens / role}.token")
    return RedcapProject(
        hospital.server.url, token, hospital.limit, first_wait_seconds=0.01, export_records=records
    )


def entered(hospital: Hospital, count: int) -> list[str]:
    """Studies with two series each, in Incoming."""
    names = [f"2.25.{number}" for number in range(1, count + 1)]
    rows: list[dict[str, Any]] = [{"study_instance_uid": one, "study_modalities": "CT"} for one in names]
    rows += [
        {"study_instance_uid": one, "redcap_repeat_instrument": "series", "redcap_repeat_instance": number,
         "series_instance_uid": f"{one}.{number}"}
        for one in names for number in (1, 2)
    ]  # fmt: skip
    hospital.client("Incoming").write_rows(rows)
    return names


def test_a_whole_project_is_read_in_parts_and_complete(hospital: Hospital) -> None:
    names = entered(hospital, 230)
    client = chunked(hospital, "Incoming", 7)
    asked: list[int] = []
    export = client.export_records

    def counted(**options: Any) -> Any:
        answer = export(**options)
        asked.append(len({row["study_instance_uid"] for row in answer}) if "records" in options else 0)
        return answer

    client.export_records = counted  # type: ignore[method-assign]
    rows = client.each_row()
    first = next(rows)
    assert len(asked) == 2  # names and one part: nothing more is held than that
    found = [first, *rows]
    assert max(asked) == 7
    assert len(asked) == 1 + 33
    whole = hospital.client("Incoming").rows()
    assert found == whole
    assert len(found) == len({str(sorted(row.items())) for row in found}) == 3 * len(names)


def test_rows_that_come_and_go_while_a_project_is_read_do_no_harm(hospital: Hospital) -> None:
    names = entered(hospital, 40)
    client, other = chunked(hospital, "Incoming", 5), hospital.client("Incoming")
    found: list[dict[str, Any]] = []
    for number, row in enumerate(client.each_row()):
        found.append(row)
        if (
            number == 10
        ):  # gone: a whole part, one of another; new ones before, between and behind; a row more
            other.delete_records([*names[20:25], names[30]])
            other.write_rows(
                [{"study_instance_uid": one, "study_modalities": "MR"} for one in ("2.1", "2.26.1")]
            )
            more = {"study_instance_uid": names[35], "redcap_repeat_instrument": "series",
                    "redcap_repeat_instance": 3, "series_instance_uid": "2.25.999"}  # fmt: skip
            other.write_rows([more])
    gone = {*names[20:25], names[30]}
    read = [row["study_instance_uid"] for row in found]
    assert set(read) == set(names) - gone
    assert read.count(names[35]) == 4
    assert len(found) == 3 * (40 - 6) + 1
    assert {row["study_instance_uid"] for row in client.each_row()} == (set(names) - gone) | {"2.1", "2.26.1"}


def test_a_server_that_answers_with_everything_for_names_that_are_gone_gives_no_row_twice(
    hospital: Hospital,
) -> None:
    names = entered(hospital, 6)
    client = chunked(hospital, "Incoming", 2)
    export = client.export_records
    client.export_records = lambda **options: export(  # type: ignore[method-assign]
        **{name: value for name, value in options.items() if name != "records"}
    )
    assert len(client.rows()) == 3 * len(names)


def test_a_condition_finds_records_by_their_repeating_rows(hospital: Hospital) -> None:
    names = entered(hospital, 4)
    client = chunked(hospital, "Incoming", 2)
    logic = f"[series_instance_uid] = '{names[2]}.2'"
    found = client.rows(forms=["series"], filter_logic=logic)
    assert [row["redcap_repeat_instance"] for row in found if row["redcap_repeat_instance"]] == [2]


@pytest.mark.parametrize(
    "page",
    [
        "<h1>502 Bad Gateway</h1>", "<!-- proxy --><html>", "<center>nginx</center>", " <title>Down</title>",
        '<?xml version="1.0"?>\n<!DOCTYPE html><html>',
    ],
)  # fmt: skip
def test_no_page_is_taken_for_text(page: str) -> None:
    with pytest.raises(Transient, match="a page instead of data"):
        value_of(200, page, "str")


def test_xml_that_is_no_page_is_text() -> None:
    assert value_of(200, '<?xml version="1.0" encoding="UTF-8" ?><ODM/>', "str").endswith("<ODM/>")
