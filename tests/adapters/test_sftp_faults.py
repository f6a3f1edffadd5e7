"""OpenSSH with what goes wrong on the way: a line cut at every twentieth, a full disk; and FIONA's conventions."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fiona_dagster.adapters import sftp
from fiona_dagster.adapters.package_files import manifest_file
from fiona_dagster.adapters.sftp_packets import FIRST_ID
from fiona_dagster.adapters.sftp_writing import RemoteWriter
from fiona_dagster.domain.delivery import pause
from fiona_dagster.domain.delivery_settings import DeliveryTerms
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination
from tests.deliverables import a_package
from tests.sshd import Sshd, running_sshd

SIZE = 2_000_000


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


class Line:
    """A line to a server that is cut, once, after so many bytes were sent there."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.cut_after: int | None = None
        self.freeze_after: int | None = None
        self.sent = 0
        self._thawed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for one, other, counted in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._pump, args=(one, other, counted))
                thread.start()
                self._threads.append(thread)

    def _pump(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        try:
            while piece := one.recv(16384):
                if counted:
                    self.sent += len(piece)
                    if self.cut_after is not None and self.sent > self.cut_after:
                        self.cut_after = None
                        break
                    if self.freeze_after is not None and self.sent > self.freeze_after:
                        self._thawed.wait()  # nothing is taken any more, and nothing is closed
                other.sendall(piece)
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if not counted:
                end.close()

    def close(self) -> None:
        self._thawed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def line(sshd: Sshd) -> Iterator[Line]:
    made = Line(sshd.port)
    yield made
    made.close()


def destination(sshd: Sshd, folder: str, port: int | None = None) -> Destination:
    known = sshd.known_hosts.replace(f":{sshd.port}", f":{port or sshd.port}")
    return Destination("a", "sftp", sshd.host, port or sshd.port, folder, sshd.user, "", known)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def is_whole(folder: Path, package: Package) -> bool:
    return hashlib.md5((folder / package.name).read_bytes()).hexdigest() == package.md5


def test_a_line_that_is_cut_at_every_twentieth_of_an_upload_never_shows_half_a_package_and_loses_little(
    sshd: Sshd, line: Line, tmp_path: Path
) -> None:
    for twentieth in range(1, 20):
        folder = sshd.root / f"cut-{twentieth}"
        folder.mkdir()
        package = a_package(tmp_path / str(twentieth), size=SIZE)
        line.sent, line.cut_after = 0, SIZE * twentieth // 20
        with pytest.raises(Transient):
            sftp.deliver(package, destination(sshd, folder.name, line.port), sshd.key, transfer_id=1)
        assert not (folder / package.name).exists()
        there = (folder / f".{package.name}.part").stat().st_size
        receipt = sftp.deliver(package, destination(sshd, folder.name, line.port), sshd.key, transfer_id=1)
        assert receipt.sent_bytes <= SIZE - there  # it may have written on what had come before the cut
        assert is_whole(folder, package)
        assert names(folder) == [package.name, f"{package.name}.md5"]


@pytest.mark.parametrize("after", [2_600, 400_000, 2_000_000])
def test_a_server_that_freezes_is_given_up_and_the_upload_goes_on_from_there(
    sshd: Sshd, line: Line, tmp_path: Path, after: int
) -> None:
    folder = sshd.root / f"frozen-{after}"
    folder.mkdir()
    package = a_package(tmp_path / "outbox", size=12_000_000)  # more than all buffers on the way
    line.freeze_after = after
    with pytest.raises(Transient):
        sftp.deliver(
            package, destination(sshd, folder.name, line.port), sshd.key, transfer_id=1, patience=1.5
        )
    assert not (folder / package.name).exists()
    receipt = sftp.deliver(package, destination(sshd, folder.name), sshd.key, transfer_id=1)
    assert is_whole(folder, package)
    assert receipt.sent_bytes < package.size_bytes or after < 400_000


def test_keys_that_are_exchanged_anew_on_the_way_stop_nothing(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sshd.root / "rekeyed"
    folder.mkdir()
    package = a_package(tmp_path / "outbox", size=SIZE)
    monkeypatch.setattr("paramiko.packet.Packetizer.REKEY_BYTES", 200_000)  # else after half a gigabyte
    monkeypatch.setattr(
        "fiona_dagster.adapters.sftp_checksum._by_command", lambda *_: ""
    )  # read back as well
    sftp.deliver(package, destination(sshd, folder.name), sshd.key, transfer_id=1)
    assert is_whole(folder, package)


def test_answers_in_any_order_are_taken_and_a_refused_write_leaves_nothing_under_way() -> None:
    channel = ScriptedChannel("SSH-2.0-OpenSSH_7.4")
    channel.answer(FIRST_ID, 8)  # it knows no limits of its own
    taken: list[int] = []
    writer = RemoteWriter(
        cast("Any", channel),
        cast("Any", SimpleNamespace(handle=b"h")),
        0,
        acknowledged=lambda: taken.append(1),
    )
    writer.write(bytes(3 * 32768))
    channel.answer(FIRST_ID + 3, 0)
    channel.answer(7, 0)  # to a request of paramiko's
    channel.answer(FIRST_ID + 1, 0)
    channel.answer(FIRST_ID + 2, 0)
    writer.finish()
    assert len(taken) == 4
    writer.write(bytes(2 * 32768))
    channel.answer(FIRST_ID + 4, 4)
    channel.answer(FIRST_ID + 5, 0)
    with pytest.raises(OSError, match="failure"):
        writer.finish()
    assert not channel.recv_ready()
    refused = RemoteWriter(
        cast("Any", Refusing("SSH-2.0-other")), cast("Any", SimpleNamespace(handle=b"h")), 0,
        acknowledged=lambda: None,
    )  # fmt: skip
    with pytest.raises(PermissionError):  # said while the piece is still on its way
        refused.write(bytes(4 * 32768))


class ScriptedChannel:
    """A channel whose answers stand ready."""

    out_max_packet_size = 32768

    def __init__(self, version: str) -> None:
        self._answers = bytearray()
        self.remote_version = version

    def get_transport(self) -> ScriptedChannel:
        return self

    def get_channel(self) -> ScriptedChannel:
        return self

    def sendall(self, content: bytes) -> None:
        assert len(content) <= self.out_max_packet_size - 64, "more would be split"

    def recv_ready(self) -> bool:
        return bool(self._answers)

    def recv(self, size: int) -> bytes:
        content = bytes(self._answers[:size])
        del self._answers[:size]
        return content

    def answer(self, identity: int, status: int) -> None:
        body = struct.pack(">BII", 101, identity, status)
        self._answers += struct.pack(">I", len(body)) + body


class Refusing(ScriptedChannel):
    """Refuses every request as soon as it has come whole, while others are on their way."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._came = bytearray()

    def sendall(self, content: bytes) -> None:
        super().sendall(content)
        self._came += content
        while len(self._came) >= 9 and len(self._came) >= (
            length := 4 + struct.unpack_from(">I", self._came)[0]
        ):
            self.answer(struct.unpack_from(">I", self._came, 5)[0], 3)
            del self._came[:length]


def test_a_disk_that_is_full_at_the_far_end_is_told_and_the_upload_goes_on_when_there_is_room(
    sshd: Sshd, tmp_path: Path
) -> None:
    package = a_package(tmp_path / "outbox", size=SIZE)
    with running_sshd(tmp_path / "small", largest_file=1000) as small:
        with pytest.raises(Transient, match="disk full"):
            sftp.deliver(package, destination(small, "."), small.key, transfer_id=1)
        part = small.root / f".{package.name}.part"
        assert not (small.root / package.name).exists()
        there = part.stat().st_size
    assert 0 < there <= 1_024_000
    part.rename(sshd.root / part.name)  # the same disk, with room again
    receipt = sftp.deliver(package, destination(sshd, "."), sshd.key, transfer_id=1)
    assert receipt.sent_bytes == SIZE - there
    assert is_whole(sshd.root, package)


def test_fionas_triple_lies_beside_the_package_and_a_package_without_its_manifest_is_not_called_whole(
    sshd: Sshd, tmp_path: Path
) -> None:
    folder = sshd.root / "triple"
    folder.mkdir()
    package = a_package(tmp_path / "outbox", size=1000)
    manifest_file(package.path).write_text("{}")
    sftp.deliver(
        package, destination(sshd, "triple"), sshd.key, transfer_id=1, terms=DeliveryTerms(triples=True)
    )
    stem = package.name.removesuffix(".zip")
    assert (folder / f"{stem}.json").read_text() == "{}"
    assert (folder / f"{stem}.md5sum").read_text().split() == [package.md5, package.name]
    assert len(names(folder)) == 4


@pytest.mark.parametrize("packed", [False, True])
def test_a_sum_that_the_server_published_after_the_upload_spares_looking_and_an_older_one_says_nothing(
    sshd: Sshd, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sshd.root / f"sums-{packed}"
    folder.mkdir()
    package = a_package(tmp_path / "outbox", size=1000)
    there, terms = destination(sshd, folder.name), DeliveryTerms(server_sums=True)
    sftp.deliver(package, there, sshd.key, transfer_id=1, terms=terms)
    line = f"{package.md5}  {package.name}\n".encode()
    name = package.name.replace(".zip", ".md5sum_server")
    later = (folder / package.name).stat().st_mtime + 5
    published = folder / ("md5server_cache.tar" if packed else name)
    if packed:
        with tarfile.open(published, "w") as archive:
            member = tarfile.TarInfo(f"sums/{name}")
            member.size, member.mtime = len(line), int(later)
            archive.addfile(member, io.BytesIO(line))
    else:
        published.write_bytes(line)
    os.utime(published, (later, later))
    looked: list[str] = []

    def says_no(*_: object) -> bool:
        looked.append("looked")
        return False

    monkeypatch.setattr(sftp, "holds", says_no)
    assert sftp.deliver(package, there, sshd.key, transfer_id=1, terms=terms).sent_bytes == 0
    assert looked == []
    os.utime(published, (1.0, 1.0))
    with pytest.raises(Transient):  # a sum of before: it looks, and `holds` says no to everything
        sftp.deliver(package, there, sshd.key, transfer_id=1, terms=terms)
    assert looked


def test_an_upload_takes_no_more_of_the_line_than_it_may() -> None:
    assert pause(1_000_000, 0.25, 1_000_000) == 0.75
    assert pause(1_000_000, 2.0, 1_000_000) == 0.0
    assert pause(1_000_000, 0.0, 0.0) == 0.0


def test_another_key_at_the_same_address_gets_nothing(sshd: Sshd, tmp_path: Path) -> None:
    package = a_package(tmp_path / "outbox", size=1000)
    with running_sshd(tmp_path / "other") as other:
        wrong = replace(destination(sshd, "."), port=other.port)
        wrong = replace(wrong, known_hosts=sshd.known_hosts.replace(f":{sshd.port}", f":{other.port}"))
        with pytest.raises(Exception, match="is not the one in known_hosts"):
            sftp.deliver(package, wrong, sshd.key, transfer_id=1)
        assert names(other.root) == []
