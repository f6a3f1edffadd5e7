"""Store requests over real sockets, against the door in this process."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.access import Rejection
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.limits import Allowance, Limits
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.domain.stow import stow_from
from fiona_dagster.settings import Site
from scp_listener import door as limiter
from scp_listener import stow_server
from scp_listener.occupancy import Occupancy
from scp_listener.recorder import Recorder
from scp_listener.side_files import SideFiles
from scp_listener.store import Store
from scp_listener.stow_server import StowEntrance, StowServer
from tests.scp_listener.instances import SERIES, STUDY, instance, write

TOKEN = "0123456789abcdef-WEBPACS"
BOUNDARY = "fiona.boundary"
KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
SENDER = {"aetitle": "WEBPACS", "called": "PROJ", "token": "env:TOKEN"}
PATIENCE_SECONDS = 15.0


@dataclass
class Door:
    """The door, and what lies behind it."""

    layout: Layout
    ledger: Ledger
    recorder: Recorder
    store: Store
    port: int
    scheme: str = "http"

    def post(self, body: Any, study: str = "", **fields: str) -> requests.Response:
        """A Store request of the known sender; `fields` in place of its own header fields."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": KIND}
        for name, value in fields.items():
            headers[name.replace("_", "-")] = value
        url = f"{self.scheme}://127.0.0.1:{self.port}/studies{study}"
        return requests.post(url, data=body, headers=headers, timeout=PATIENCE_SECONDS)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the ledger has, once the door is closed."""
        assert self.recorder.stop(20.0)
        with self.ledger.begin() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]


NO_LIMITS = Limits(disk_free_bytes=0)


@contextmanager
def opened(
    layout: Layout,
    limits: Limits = NO_LIMITS,
    grace_seconds: float = 5.0,
    before_it_begins: Callable[[], object] = lambda: None,
    **values: Any,
) -> Iterator[Door]:
    section = {"port": 0, "ip": "127.0.0.1", "senders": [SENDER], **values}
    settings = stow_from(section, host="127.0.0.1", ae_title="FIONA", place="STOW")
    receiver = ReceiverSettings(limits=limits)
    site = replace(Site("ABCD", layout, "127.0.0.1", 0, "FIONA"), receiver=receiver, stow=settings)
    assert settings is not None
    with ExitStack() as behind:
        ledger = Ledger(f"sqlite:///{layout.ledger}")
        behind.callback(ledger.close)
        recorder = Recorder(ledger.reception, site="ABCD", worker="w")
        behind.callback(recorder.stop, 5.0)
        spool, side_files = Spool(layout), SideFiles(layout)
        behind.callback(side_files.stop, 5.0)
        store = Store("ABCD", spool, recorder, side_files)
        entrance = StowEntrance.open(settings, {"env:TOKEN": TOKEN, "env:SHORT": "short"}.__getitem__)
        behind.callback(entrance.socket.close)
        before_it_begins()
        limiting = limiter.Door(receiver, Occupancy(1).place(0), lambda *_: None, lambda: None, share=1)
        server = StowServer(entrance, site, store, limiting, spool.incoming("w"))
        behind.callback(server.stop, grace_seconds)
        scheme = "https" if settings.tls else "http"
        yield Door(layout, ledger, recorder, store, entrance.settings.port, scheme)


@pytest.fixture
def door(layout: Layout) -> Iterator[Door]:
    with opened(layout) as one:
        yield one


def part(tmp_path: Path, dataset: Dataset, name: str = "one.dcm") -> bytes:
    return write(tmp_path / name, dataset).read_bytes()


def multipart(*parts: bytes, kind: str = "application/dicom") -> bytes:
    heads = [f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + one + b"\r\n" for one in parts]
    return b"".join(heads) + f"--{BOUNDARY}--\r\n".encode()


def told(answer: requests.Response) -> dict[str, list[tuple[str, int]]]:
    """Last component of the SOP Instance UID and Failure Reason of each item, by sequence."""
    found = {}
    for keyword, sequence in Dataset.from_json(answer.json()).items() if answer.content else ():
        del keyword
        if sequence.VR == "SQ":
            found[sequence.keyword] = [
                (
                    str(one.get("ReferencedSOPInstanceUID", "")).rpartition(".")[2],
                    int(one.get("FailureReason", 0)),
                )
                for one in sequence.value
            ]
    return found


def test_instances_go_the_way_of_a_c_store(door: Door, tmp_path: Path) -> None:
    parts = [part(tmp_path, instance(number)) for number in (1, 2)]
    answer = door.post(multipart(*parts))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom+json")
    assert told(answer) == {"ReferencedSOPSequence": [("1", 0), ("2", 0)]}
    archived = dcmread(door.layout.archived_instance(STUDY, f"{SERIES}.1"))
    assert archived == dcmread(tmp_path / "one.dcm") or archived.InstanceNumber == 1
    assert archived.file_meta.SourceApplicationEntityTitle == "WEBPACS"
    assert (
        door.rows("select calling_ae, called_ae, address, receptions, aside from instance")
        == [("WEBPACS", "PROJ", "127.0.0.1", 1, 0)] * 2
    )
    assert door.rows(
        "select outcome, count(*) from association join association_study on id = association_id group by 1"
    ) == [("released", 1)]
    assert not list((door.layout.incoming / "w").iterdir())


def test_the_same_again_is_stored_and_other_content_is_kept_aside(door: Door, tmp_path: Path) -> None:
    assert door.post(multipart(part(tmp_path, instance(1)))).status_code == 200
    assert door.post(multipart(part(tmp_path, instance(1)))).status_code == 200
    other = door.post(multipart(part(tmp_path, instance(1, PatientName="Roe")), part(tmp_path, instance(2))))
    assert other.status_code == 202
    assert told(other) == {"FailedSOPSequence": [("1", 0x0111)], "ReferencedSOPSequence": [("2", 0)]}
    assert door.rows("select aside, receptions from instance order by sop_instance_uid, aside") == [
        (0, 2), (1, 1), (0, 1),
    ]  # fmt: skip
    assert len(list(door.layout.aside.iterdir())) == 1


def test_a_request_for_a_study_refuses_instances_of_another(door: Door, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)))
    assert door.post(body, f"/{STUDY}").status_code == 200
    answer = door.post(multipart(part(tmp_path, instance(2))), "/1.2.3")
    assert answer.status_code == 409
    assert told(answer) == {"FailedSOPSequence": [("2", 0xC106)]}
    assert door.rows("select status, path is not null from refusal") == [(0xC106, 1)]


def test_the_answer_comes_in_xml_to_those_who_like_it_best(door: Door, tmp_path: Path) -> None:
    answer = door.post(
        multipart(part(tmp_path, instance(1))), Accept="application/dicom+json;q=0.5, application/dicom+xml"
    )
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    found = ET.fromstring(answer.content).iter(f"{space}DicomAttribute")  # noqa: S314  our own
    assert [one.get("keyword") for one in found] == [
        "RetrieveURL", "ReferencedSOPSequence", "ReferencedSOPClassUID", "ReferencedSOPInstanceUID",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Content_Type": 'multipart/related; type="application/dicom+json"; boundary=x'}, 415),
        ({"Content_Type": 'multipart/related; type="application/dicom+xml"; boundary=x'}, 415),
        ({"Content_Type": "application/dicom"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content_Type": f'multipart/related; type="application/dicom"; boundary={"b" * 2000}'}, 400),
        ({"Content_Type": 'multipart/related; type="application/dicom"; boundary=other'}, 400),
        ({"Authorization": "Bearer 0123456789abcdef-NOBODY!"}, 401),
        ({"Authorization": "Basic " + TOKEN}, 401),
        ({"Authorization": ""}, 401),
    ],
)
def test_what_cannot_be_taken_is_named(
    door: Door, tmp_path: Path, fields: dict[str, str], status: int
) -> None:
    answer = door.post(multipart(part(tmp_path, instance(1))), **fields)
    assert answer.status_code == status
    assert TOKEN not in answer.text
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert not list(door.layout.archive.iterdir())
    boundary = fields.get("Content_Type", "").endswith("boundary=other")  # known once the body is read
    assert boundary or len(door.rows("select reason from refusal")) == 1


@pytest.mark.parametrize("study", ["/..%2f..%2fetc", "/1.2%00", "/%2e%2e", "/1..2", "/" + "1" * 65])
def test_a_study_in_the_path_is_a_uid(door: Door, tmp_path: Path, study: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=PATIENCE_SECONDS)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": KIND}
    connection.request("POST", f"/studies{study}", multipart(part(tmp_path, instance(1))), headers)
    assert connection.getresponse().status in (400, 404)
    connection.close()
    assert not list(door.layout.archive.iterdir())


def test_a_uid_with_path_characters_is_refused_and_kept(door: Door, tmp_path: Path) -> None:
    bad = [instance(1, SOPInstanceUID="1.2/../../../../evil"), instance(1, StudyInstanceUID="../../evil")]
    answer = door.post(multipart(*(part(tmp_path, one) for one in bad)))
    assert answer.status_code == 409
    assert b"evil" not in answer.content
    assert len(list(door.layout.refused.glob("*.dcm"))) == 2
    assert not list(tmp_path.rglob("*evil*"))


def test_parts_that_are_no_dicom_fail_alone(door: Door, tmp_path: Path) -> None:
    good, no_meta = part(tmp_path, instance(1)), b"\0" * 128 + b"DICM" + b"\xff" * 300
    cut = part(tmp_path, instance(2))[:-10]
    answer = door.post(multipart(b"", b"text", good, no_meta, cut, good[:140]))
    assert answer.status_code == 202
    assert told(answer) == {
        "FailedSOPSequence": [("2", 0xC000)],
        "OtherFailuresSequence": [("", 0xC104)] * 4,
        "ReferencedSOPSequence": [("1", 0)],
    }


def test_a_body_that_is_cut_stores_what_was_whole(door: Door, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)), part(tmp_path, instance(2)))
    answer = door.post(body[:-8])
    assert answer.status_code == 202
    assert told(answer) == {"FailedSOPSequence": [("2", 0xC000)], "ReferencedSOPSequence": [("1", 0)]}
    assert not list((door.layout.incoming / "w").iterdir())


def test_a_sender_that_goes_away_leaves_nothing_half(door: Door, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)), part(tmp_path, instance(2, PixelData=bytes(200_000))))
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as connection:
        connection.sendall(_head(len(body)) + body[:-50_000])
        wait_for(lambda: any((door.layout.incoming / "w").iterdir()))
    wait_for(lambda: not any((door.layout.incoming / "w").iterdir()))
    assert [one.name for one in door.layout.study_archive(STUDY).iterdir()] == [f"{SERIES}.1"]
    assert door.rows("select outcome, closed_at is not null from association") == [("aborted", 1)]


def test_a_stop_tells_a_sender_in_the_middle_what_was_stored(layout: Layout, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)), part(tmp_path, instance(2)))
    with ExitStack() as sender:
        with opened(layout, grace_seconds=1.0) as door:
            connection = sender.enter_context(
                socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS)
            )
            connection.sendall(_head(len(body)) + body[:-40])
            wait_for(lambda: layout.archived_instance(STUDY, f"{SERIES}.1").exists())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503")
    assert f"{SERIES}.1".encode() in answer
    reasons = Dataset.from_json(answer.partition(b"\r\n\r\n")[2].decode()).FailedSOPSequence
    assert [one.FailureReason for one in reasons] == [0xA700], "it was cut by us: it may be sent again"


def test_a_body_of_which_nothing_more_comes_is_ended(layout: Layout, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)))
    with (
        opened(layout, Limits(disk_free_bytes=0, idle_seconds=1)) as door,
        socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as connection,
    ):
        connection.sendall(_head(len(body)) + body[:-40])
        assert connection.recv(12) == b"HTTP/1.1 400"
        assert door.rows("select outcome from association") == [("aborted",)]
        assert not list(layout.archive.iterdir())


def test_a_connection_that_asks_for_nothing_is_ended(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow_server, "REQUEST_SECONDS", 0.2)
    with opened(layout) as door:
        for sent in (b"", b"POST /studies HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as connection:
                connection.sendall(sent)
                assert _ends(connection)


def test_an_endless_body_of_nobody_is_not_read_for_ever(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_server, "REQUEST_SECONDS", 0.2)
    with opened(layout) as door, socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as one:
        one.sendall(_head(1 << 40, token="nobody-knows-this-one"))
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe|aborted"):
            flood(one)


def test_an_endless_part_ends_at_the_limit_of_an_instance(layout: Layout, tmp_path: Path) -> None:
    large, small = instance(1, PixelData=bytes(300_000)), instance(2)
    with opened(layout, Limits(disk_free_bytes=0, object_bytes=100_000)) as door:
        answer = door.post(multipart(part(tmp_path, large), part(tmp_path, small)))
        assert answer.status_code == 202
        assert told(answer) == {"FailedSOPSequence": [("1", 0xC107)], "ReferencedSOPSequence": [("2", 0)]}
        assert door.rows("select status from refusal") == [(0xC107,)]


def test_requests_count_as_associations(layout: Layout, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)))
    with opened(layout, Limits(disk_free_bytes=0, associations_per_peer=1)) as door:
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as first:
            first.sendall(_head(1 << 20) + f"--{BOUNDARY}\r\n".encode())
            wait_for(lambda: len(list_open(door)) == 1)
            second = door.post(body)
            assert (second.status_code, second.headers["Retry-After"]) == (503, "60")
        wait_for(lambda: not list_open(door))
        assert door.post(body).status_code == 200, "who has ended counts no more"
        assert door.rows("select status, reason from refusal") == [
            (0xA700, Rejection.TOO_MANY_OF_PEER.reason)
        ]


def test_a_sender_is_read_no_faster_than_it_may_send(layout: Layout, tmp_path: Path) -> None:
    body = multipart(*(part(tmp_path, instance(number)) for number in (1, 2)))
    waited: list[float] = []
    with opened(layout, Limits(disk_free_bytes=0, bytes_per_second=len(body))) as door:
        take = Allowance.take

        def taken(self: Allowance, amount: float, now: float) -> float:
            waited.append(take(self, amount, now))
            return 0.0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Allowance, "take", taken)
            assert [door.post(body).status_code for _ in range(3)] == [200, 200, 200]
    assert max(waited) > 0.5, "three bodies in less than a second are more than one a second"


def test_a_request_longer_than_one_may_be_is_413(layout: Layout, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)), part(tmp_path, instance(2, PixelData=bytes(300_000))))
    with opened(layout, request_bytes=100_000) as door:
        assert door.post(body).status_code == 413
        assert not list(layout.archive.iterdir())
        chunked = door.post(
            iter([body[:2000], *(body[at : at + 9000] for at in range(2000, len(body), 9000))])
        )
        assert chunked.status_code == 413
        assert told(chunked)["ReferencedSOPSequence"] == [("1", 0)], "what was stored is told all the same"


def test_endless_part_headers_are_400(door: Door) -> None:
    body = f"--{BOUNDARY}\r\n".encode() + b"X-Long: " + b"a" * 1_000_000
    assert door.post(body).status_code == 400
    assert door.post(f"--{BOUNDARY}\r\n".encode() + b"a: b\r\n" * 10_000).status_code == 400


def test_a_full_disk_is_503_and_costs_only_what_did_not_fit(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Upload, "write", full)
        answer = door.post(multipart(part(tmp_path, instance(1))))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert told(answer) == {"FailedSOPSequence": [("1", 0xA700)]}
    assert not list((door.layout.incoming / "w").iterdir())
    assert door.post(multipart(part(tmp_path, instance(1)))).status_code == 200


def test_a_door_without_room_or_switched_off_is_503(layout: Layout, tmp_path: Path) -> None:
    body = multipart(part(tmp_path, instance(1)))
    with opened(layout, Limits(disk_free_bytes=1 << 60)) as door:
        assert door.post(body).status_code == 503
    with opened(layout) as door:
        layout.enabled.write_text("0")
        assert door.post(body).status_code == 503
        layout.enabled.write_text("1")
        assert door.post(body).status_code == 200
        assert door.rows("select status from refusal order by id") == [(0xA700,), (0x0124,)]


def test_a_sender_from_elsewhere_is_403(layout: Layout, tmp_path: Path) -> None:
    with opened(layout, senders=[{**SENDER, "addresses": ["10.0.0.0/8"]}]) as door:
        answer = door.post(multipart(part(tmp_path, instance(1))), X_Forwarded_For="10.0.0.1")
        assert answer.status_code == 403
        assert door.rows("select status, calling_ae, address from refusal") == [
            (0x0124, "WEBPACS", "127.0.0.1")
        ]


def test_a_token_that_can_be_guessed_opens_no_door(layout: Layout) -> None:
    with (
        pytest.raises(ConfigurationError, match="too short"),
        opened(layout, senders=[{**SENDER, "token": "env:SHORT"}]),
    ):
        pass


def test_only_studies_can_be_posted_to(door: Door) -> None:
    url = f"http://127.0.0.1:{door.port}"
    assert requests.get(f"{url}/studies", timeout=PATIENCE_SECONDS).status_code == 405
    assert requests.post(f"{url}/series", timeout=PATIENCE_SECONDS).status_code == 404
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_SECONDS) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_with_tls_a_sender_is_known_by_its_certificate(layout: Layout, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, known = authority.signed("server"), authority.signed("web.example")
    unknown = authority.signed("other.example")
    files = {"certificate": str(server), "key": str(server), "client_ca": str(authority.file)}
    senders = [{"aetitle": "WEBCERT", "certificate": "web.example"}]
    body = multipart(part(tmp_path, instance(1)))
    with opened(layout, senders=senders, **files) as door:
        for shown, status in ((known, 200), (unknown, 401)):
            context = ssl.create_default_context(cafile=str(authority.file))
            context.load_cert_chain(shown)
            client = http.client.HTTPSConnection(
                "127.0.0.1", door.port, context=context, timeout=PATIENCE_SECONDS
            )
            client.request("POST", "/studies", body, {"Content-Type": KIND})
            assert client.getresponse().status == status
            client.close()
        with pytest.raises(requests.ConnectionError):
            requests.post(
                f"https://127.0.0.1:{door.port}/studies", body, headers={"Content-Type": KIND},
                verify=str(authority.file), timeout=PATIENCE_SECONDS,
            )  # fmt: skip
        assert door.rows("select calling_ae, called_ae from instance") == [("WEBCERT", "FIONA")]


def test_a_certificate_that_is_replaced_is_shown_without_a_restart(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_server, "RENEWAL_SECONDS", 0)
    authority = Authority(tmp_path)
    server = authority.signed("server")
    with opened(layout, certificate=str(server), key=str(server)) as door:
        first = shown(door)
        server.write_bytes(authority.signed("renewed").read_bytes())
        wait_for(lambda: shown(door) != first)
        renewed = shown(door)
        server.write_text("no certificate")
        wait_for(lambda: shown(door) == renewed)


def test_a_process_that_begins_behind_a_renewal_shows_the_new_certificate(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the processes share was made before the first of them, which may be long ago."""
    monkeypatch.setattr(stow_server, "RENEWAL_SECONDS", 0)
    authority = Authority(tmp_path)
    server, renewed = authority.signed("server"), authority.signed("renewed")
    expected = x509.load_pem_x509_certificate(renewed.read_bytes()).serial_number

    def renew() -> None:
        server.write_bytes(renewed.read_bytes())

    with opened(layout, before_it_begins=renew, certificate=str(server), key=str(server)) as door:
        wait_for(lambda: shown(door) == expected)


def shown(door: Door) -> int:
    """Serial number of the certificate that a door shows."""
    pem = ssl.get_server_certificate(("127.0.0.1", door.port), timeout=PATIENCE_SECONDS)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_door_that_ends_by_itself_takes_its_process_along(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(stow_server.os, "kill", lambda _, number: number == signal.SIGTERM and ended.set())
    monkeypatch.setattr(stow_server.uvicorn.Server, "run", lambda *_, **__: 1 / 0)
    with opened(layout):
        assert ended.wait(20.0)


def flood(connection: socket.socket) -> None:
    """Send for ever."""
    while True:
        connection.sendall(bytes(65536))


class Authority:
    """A certificate authority of this test."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.file = folder / "ca.pem"
        made = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        made = made.sign(self._key, hashes.SHA256())
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def signed(self, name: str) -> Path:
        """A file with key and certificate of `name`, good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = (
            self._builder(subject, key)
            .add_extension(addresses, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


def _head(length: int, token: str = TOKEN) -> bytes:
    return (
        f"POST /studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {KIND}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _ends(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def list_open(door: Door) -> list[Any]:
    """Associations that the ledger has as open; they are recorded at once."""
    with door.ledger.begin() as connection:
        return list(connection.execute(text("select 1 from association where closed_at is null")))


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_class_of_a_stored_instance_is_told(door: Door, tmp_path: Path) -> None:
    answer = door.post(multipart(part(tmp_path, instance(1))))
    item = json.loads(answer.content)["00081199"]["Value"][0]
    assert item["00081150"] == {"vr": "UI", "Value": [str(CTImageStorage)]}
