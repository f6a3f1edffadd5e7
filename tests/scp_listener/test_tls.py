"""TLS under Associations, with DCMTK as peer; certificates are made by the test."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.domain.access import access_from
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.domain.transport_security import ClientCertificate, Profile, TransportSecurity
from fiona_dagster.settings import standalone_site
from scp_listener.manner import Manner
from scp_listener.server import Listener
from scp_listener.tls import ServerTls, refusal_reason, server_context
from tests.certificates import Authority, Pair
from tests.conftest import need_program
from tests.scp_listener.conftest import wait_for
from tests.scp_listener.hostile_bytes import BEFORE_ASSOCIATION, BROKEN_REQUESTS, IN_DATA_TRANSFER
from tests.scp_listener.instances import SERIES, STUDY, instance, write
from tests.scp_listener.raw_peer import RawPeer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("gateway.example")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    return authority.issue("ct1.example")


class Rig:
    """A listener with TLS, and its ledger."""

    def __init__(
        self, layout: Layout, tls: TransportSecurity, *callers: dict[str, object], streamed: bool = True
    ) -> None:
        access = access_from({"callers": list(callers)} if callers else {}, place="test")
        site = standalone_site(layout.datadir, host="127.0.0.1", port=0, ae_title="FIONA")
        site = replace(site, receiver=ReceiverSettings(access=access, tls=tls))
        self.layout, self.ledger = layout, Ledger(f"sqlite:///{layout.ledger}")
        self.listener = Listener(site, self.ledger, worker="w", manner=Manner(streamed=streamed))
        _, self.plain_port = self.listener.start()
        self.port = self.listener.tls_port or 0

    def refusals(self) -> set[str]:
        """Reasons of everything that was refused, once it is recorded."""
        self.listener.stop(10.0)
        with self.ledger.begin() as connection:
            return {row.reason for row in connection.execute(text("select reason from refusal"))}

    def close(self) -> None:
        self.listener.stop(10.0)
        self.ledger.close()


@pytest.fixture
def rigs() -> Iterator[list[Rig]]:
    made: list[Rig] = []
    yield made
    for one in made:
        one.close()


def security(server: Pair, **more: object) -> TransportSecurity:
    return replace(TransportSecurity(port=0, certificate=server.certificate, key=server.key), **more)  # type: ignore[arg-type]


def call(
    program: str, port: int, pair: Pair | None, authority: Authority, *more: str, title: str = "CT1"
) -> subprocess.CompletedProcess[str]:
    """Run a DCMTK tool over TLS with a certificate, or anonymously."""
    own = ["+tls", str(pair.key), str(pair.certificate)] if pair else ["+tla"]
    command = [need_program(program), *own, "+cf", str(authority.certificate), "-aet", title]
    return subprocess.run(
        [*command, "127.0.0.1", str(port), *more], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("streamed", [True, False])
def test_images_come_over_tls_from_a_known_peer_and_both_ports_serve(
    layout: Layout,
    rigs: list[Rig],
    authority: Authority,
    server: Pair,
    client: Pair,
    tmp_path: Path,
    streamed: bool,
) -> None:
    tls = security(server, client_ca=authority.certificate, client_certificate=ClientCertificate.REQUIRED)
    caller: dict[str, object] = {"aetitle": "CT1", "certificate": "ct1.example"}
    rig = Rig(layout, tls, caller, streamed=streamed)
    rigs.append(rig)
    large = instance(2, Rows=1024, Columns=1024, PixelData=bytes(2 * 1024 * 1024))
    files = [write(tmp_path / f"{number}.dcm", one) for number, one in ((1, instance(1)), (2, large))]
    done = call("storescu", rig.port, client, authority, *map(str, files))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in layout.study_archive(STUDY).iterdir()) == [
        f"{SERIES}.1",
        f"{SERIES}.2",
    ]
    assert call("storescu", rig.port, client, authority, str(files[0]), title="CT2").returncode != 0
    subprocess.run([need_program("echoscu"), "127.0.0.1", str(rig.plain_port)], check=True, timeout=30)
    assert rig.refusals() == {"the calling AE title is not on the list"}


HANDSHAKES = {
    "half a record head": b"\x16\x03",
    "a record without an end": b"\x16\x03\x01\xff\xff" + bytes(1000),
    "a hello of no bytes": b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    "an alert": b"\x15\x03\x01\x00\x02\x02\x00",
    "data before the handshake": b"\x17\x03\x03\x00\x04data",
    "SSL 2": b"\x80\x2e\x01\x00\x02" + bytes(41),
    "zeros": bytes(20_000),
}


def test_what_no_peer_should_send_harms_nobody_over_tls_either(
    layout: Layout, rigs: list[Rig], authority: Authority, server: Pair, client: Pair, tmp_path: Path
) -> None:
    rig = Rig(layout, security(server))
    rigs.append(rig)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.load_cert_chain(client.certificate, client.key)
    for content in (*HANDSHAKES.values(), *BEFORE_ASSOCIATION.values()):
        peer = RawPeer(rig.port)
        peer.send(content)
        peer.end()
    for content in (*BEFORE_ASSOCIATION.values(), *BROKEN_REQUESTS.values()):
        peer = RawPeer(rig.port, context)
        peer.send(content)
        peer.end()
    for content in IN_DATA_TRANSFER.values():
        peer = RawPeer(rig.port, context)
        peer.associate()
        peer.send(content)
        peer.end()
    wait_for(lambda: not list(layout.incoming.rglob("*.dcm")), 20, lambda: "an unfinished data set was left")
    assert not list(layout.archive.rglob("*"))
    file = write(tmp_path / "1.dcm", instance(1))
    done = call("storescu", rig.port, client, authority, str(file))
    assert done.returncode == 0, done.stderr


def test_whoever_cannot_agree_on_tls_is_turned_away_and_keeps_nobody_out(
    layout: Layout, rigs: list[Rig], authority: Authority, server: Pair, client: Pair, tmp_path: Path
) -> None:
    tls = security(server, client_ca=authority.certificate, client_certificate=ClientCertificate.REQUIRED)
    rig = Rig(layout, tls)
    rigs.append(rig)
    silent = socket.create_connection(("127.0.0.1", rig.port))  # it never begins its handshake
    stranger = Authority(tmp_path / "other", "Another CA").issue("ct1.example")
    assert call("echoscu", rig.port, stranger, authority).returncode != 0
    assert call("echoscu", rig.port, None, authority).returncode != 0
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as plain:
        plain.sendall(b"\1\0\0\0\0\4test")
        with suppress(ConnectionResetError):
            assert plain.recv(100)[:1] in (b"", b"\x15"), "an alert, or the end"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("AES128-SHA:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as bare, pytest.raises(ssl.SSLError):
        old.wrap_socket(bare)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", rig.port), timeout=10) as bare, pytest.raises(ssl.SSLError):
        old.wrap_socket(bare)
    assert call("echoscu", rig.port, client, authority).returncode == 0
    silent.close()
    said = {reason.removeprefix("TLS was not agreed upon: ") for reason in rig.refusals()}
    assert said >= {
        "the peer's certificate is of an authority that client_ca does not name",
        "the peer showed no certificate",
        "the peer does not speak TLS",
        "the peer knows no cipher suite of the profile",
        "the peer knows no version of TLS from 1.2",
    }
    with rig.ledger.begin() as connection:
        assert connection.execute(text("select distinct status from refusal")).scalars().all() == [0x0124]


def test_an_expired_certificate_is_named() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = 10
    assert refusal_reason(error) == "TLS was not agreed upon: the peer's certificate has expired"


def test_an_open_association_is_aborted_at_a_stop_and_a_half_sent_image_leaves_nothing(
    layout: Layout, rigs: list[Rig], server: Pair
) -> None:
    from tests.scp_listener.raw_peer import COMMAND, LAST, P_DATA, RawPeer, pdu, store_request, value

    rig = Rig(layout, security(server))
    rigs.append(rig)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = RawPeer(rig.port)
    peer.socket = context.wrap_socket(peer.socket)
    peer.associate()
    peer.send(pdu(P_DATA, value(store_request(b"1.2.3"), COMMAND | LAST)))
    peer.send(pdu(P_DATA, value(b"half an image", 0)))
    wait_for(lambda: bool(list(layout.incoming.rglob("*.dcm"))), 10, lambda: "nothing came")
    assert rig.listener.stop(0.2)
    assert not list(layout.incoming.rglob("*.dcm"))
    peer.end()
    with rig.ledger.begin() as connection:
        assert list(connection.execute(text("select outcome from association"))) == [("aborted",)]


def test_dcmtk_of_each_profile_is_served(
    layout: Layout, rigs: list[Rig], authority: Authority, client: Pair
) -> None:
    rig = Rig(layout, security(authority.issue("rsa.example", key="rsa"), profile=Profile.B_10))
    rigs.append(rig)
    for profile in ("+py", "+px", "+pz"):
        done = call("echoscu", rig.port, client, authority, profile)
        assert done.returncode == 0, (profile, done.stderr)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE-RSA-AES256-GCM-SHA384")
    with (
        socket.create_connection(("127.0.0.1", rig.port), timeout=10) as bare,
        context.wrap_socket(bare) as one,
    ):
        assert one.cipher()[:2] == ("DHE-RSA-AES256-GCM-SHA384", "TLSv1.2")  # type: ignore[index]


def test_files_that_cannot_be_used_are_named_and_show_nothing(
    server: Pair, client: Pair, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("not PEM")
    for settings in (
        security(server, certificate=tmp_path / "none.pem"),
        security(server, key=client.key),
        security(server, client_ca=broken, client_certificate=ClientCertificate.REQUIRED),
    ):
        with pytest.raises(ConfigurationError) as raised:
            server_context(settings)
        assert raised.value.place.startswith("TLS: /")
        assert "PRIVATE" not in str(raised.value)


def test_a_renewed_certificate_counts_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "own").issue("renewed.example")
    tls = ServerTls(security(pair))
    first = tls._current()
    assert tls._current() is first
    good = pair.certificate.read_bytes()
    pair.certificate.write_text("half written")
    assert tls._current() is first, "the old one stays until the new one can be used"
    pair.certificate.write_bytes(good + b"\n")
    assert tls._current() is not first
