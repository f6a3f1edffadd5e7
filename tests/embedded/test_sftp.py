from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from fiona_dagster.embedded.sftp import EmbeddedSftp


@contextmanager
def _session(server: EmbeddedSftp) -> Iterator[paramiko.SFTPClient]:
    with paramiko.Transport((server.host, server.port)) as transport:
        transport.connect(username="fiona", password="secret")
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        with client:
            yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedSftp]:
    with EmbeddedSftp(tmp_path / "root", users={"fiona": "secret"}) as running:
        yield running


def test_files_are_written_read_renamed_listed_and_removed(server: EmbeddedSftp) -> None:
    with _session(server) as client:
        client.mkdir("d")
        with client.open("d/a", "wb") as file:
            file.write(b"hello")
        assert client.stat("d/a").st_size == 5
        client.rename("d/a", "d/b")
        with client.open("/d/b", "rb") as file:
            assert file.read() == b"hello"
        assert client.listdir("d") == ["b"]
        client.remove("d/b")
        client.rmdir("d")
        assert client.listdir("/") == []


def test_rename_never_replaces_and_posix_rename_does(server: EmbeddedSftp) -> None:
    (server.root / "a").write_text("a")
    (server.root / "b").write_text("b")
    with _session(server) as client:
        with pytest.raises(OSError, match="Failure"):
            client.rename("a", "b")
        client.posix_rename("a", "b")
    assert (server.root / "b").read_text() == "a"


@pytest.mark.parametrize(
    "path", ["../outside/secret", "/../outside/secret", "link/secret", "file_link", "d/../../outside/secret"]
)
def test_nothing_outside_the_root_can_be_reached(server: EmbeddedSftp, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("precious")
    (server.root / "link").symlink_to(outside)
    (server.root / "file_link").symlink_to(outside / "secret")
    with _session(server) as client:
        with pytest.raises(OSError):  # noqa: PT011 — refused or not there: both are right
            client.open(path, "rb").read()
        with pytest.raises(OSError):  # noqa: PT011
            client.open(path, "wb")
        with pytest.raises(OSError):  # noqa: PT011
            client.stat(path)
        with pytest.raises(OSError):  # noqa: PT011
            client.listdir("link")
        with pytest.raises(OSError):  # noqa: PT011
            client.symlink("/etc/hostname", "new_link")
    assert (outside / "secret").read_text() == "precious"
    assert [p.name for p in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize(
    ("user", "password"), [("fiona", "wrong"), ("nobody", ""), ("nobody", "secret"), ("fiona", "")]
)
def test_only_the_right_password_logs_in(server: EmbeddedSftp, user: str, password: str) -> None:
    with (
        paramiko.Transport((server.host, server.port)) as transport,
        pytest.raises(paramiko.AuthenticationException),
    ):
        transport.connect(username=user, password=password)


def test_the_host_key_survives_a_restart(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        with EmbeddedSftp(tmp_path / "root", users={}) as server:
            keys.add(server.known_hosts.partition(" ")[2])
    assert len(keys) == 1
    assert (tmp_path / "root.host_key").stat().st_mode & 0o077 == 0
    assert list((tmp_path / "root").iterdir()) == []


def test_the_known_hosts_line_is_that_of_the_port(server: EmbeddedSftp) -> None:
    assert server.known_hosts.startswith(f"[127.0.0.1]:{server.port} ecdsa-sha2-nistp256 ")


def test_a_dropped_connection_keeps_the_bytes_before_it_and_drops_only_once(server: EmbeddedSftp) -> None:
    server.faults.drop_after_bytes = 10
    with pytest.raises((OSError, EOFError, paramiko.SSHException)), _session(server) as client:
        client.putfo(_Bytes(b"x" * 100), "a")
    assert (server.root / "a").read_bytes() == b"x" * 10
    with _session(server) as client, client.open("a", "wb") as file:
        file.write(b"y" * 100)
    assert (server.root / "a").stat().st_size == 100


def test_refused_writes_fail(server: EmbeddedSftp) -> None:
    server.faults.refuse_writes = True
    with _session(server) as client, client.open("a", "wb") as file, pytest.raises(OSError, match="Failure"):
        file.write(b"x")


def test_stopping_ends_open_sessions_and_frees_the_port(tmp_path: Path) -> None:
    server = EmbeddedSftp(tmp_path / "root", users={"fiona": "secret"}).start()
    with _session(server) as client:
        server.stop()
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            client.listdir(".")
    with (
        EmbeddedSftp(tmp_path / "root", port=server.port, users={"fiona": "secret"}) as again,
        _session(again) as client,
    ):
        assert client.listdir(".") == []


def test_the_program_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    command = [sys.executable, "-m", "fiona_dagster.embedded.sftp", "--root", str(tmp_path / "root"), "--user", "fiona",
               "--password-file", str(tmp_path / "password"), "--port", "0"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = process.stdout.readline().split()
            assert words[:2] == ["listening", "on"]
            host, _, port = words[2].partition(":")
            with paramiko.Transport((host, int(port))) as transport:
                transport.connect(username="fiona", password="secret")
                key = transport.get_remote_server_key()
            assert (
                process.stdout.readline().strip()
                == f"known_hosts: [{host}]:{port} {key.get_name()} {key.get_base64()}"
            )
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


class _Bytes:
    """A stream of known content, read as `putfo` does."""

    def __init__(self, content: bytes) -> None:
        self._left = content

    def read(self, size: int) -> bytes:
        piece, self._left = self._left[:size], self._left[size:]
        return piece
