"""Real DICOM peers for tests: DCMTK's storescp and Orthanc, each in a folder of its own on free ports."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port, need_program

HOST = "127.0.0.1"
READY_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc: its DICOM side as a peer, its HTTP side as a REST API."""

    peer: DicomPeer
    url: str

    def get(self, path: str) -> Any:
        """The JSON behind `path`, e.g. `/statistics`."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310 — our own loopback
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """POST `body` as JSON, return the JSON answer."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def settled(self, path: str) -> Any:
        """The JSON behind `path` once its Status is no longer Pending; Orthanc tells it to those who ask only."""
        deadline = time.monotonic() + READY_SECONDS
        while (answer := self.get(path))["Status"] == "Pending" and time.monotonic() < deadline:
            time.sleep(0.05)
        return answer

    def instance_count(self) -> int:
        return int(self.get("/statistics")["CountInstances"])


@contextmanager
def orthanc(
    folder: Path, *, modalities: Mapping[str, DicomPeer] | None = None, **options: Any
) -> Iterator[Orthanc]:
    """Start Orthanc in `folder` and wait until both its ports answer.

    Args:
        folder: an empty folder for its database and configuration.
        modalities: peers it knows, by name (for C-MOVE, C-STORE and Storage Commitment).
        options: further keys of its configuration.
    """
    program = need_program("Orthanc")
    folder.mkdir(parents=True, exist_ok=True)
    dicom, http = free_port(), free_port()
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [],
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": dicom,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomCheckCalledAet": False,
        "UnknownSopClassAccepted": True,
        "HttpServerEnabled": True,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {
            name: [one.ae_title, one.host, one.port] for name, one in (modalities or {}).items()
        },
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    with running([program, str(folder / "orthanc.json")], folder / "orthanc.log", ports=(dicom, http)):
        yield Orthanc(DicomPeer("ORTHANC", HOST, dicom), f"http://{HOST}:{http}")


@contextmanager
def storescp(folder: Path, *options: str, ae_title: str = "STORESCP") -> Iterator[DicomPeer]:
    """Start DCMTK's storescp, which writes what it receives into `folder`."""
    program = need_program("storescp")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "-aet", ae_title, "-od", str(folder), *options, str(port)]
    with running(command, folder.with_name(f"{folder.name}.log"), ports=(port,)):
        yield DicomPeer(ae_title, HOST, port)


@contextmanager
def dcmqrscp(folder: Path, destination: DicomPeer) -> Iterator[DicomPeer]:
    """DCMTK's archive; it moves to `destination`."""
    program, port = need_program("dcmqrscp"), free_port()
    (folder / "store").mkdir(parents=True)
    (folder / "dcmqrscp.cfg").write_text(
        f'NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n\n'
        f'HostTable BEGIN\ndest = ({destination.ae_title}, {destination.host}, {destination.port})\nHostTable END\n\n'
        "VendorTable BEGIN\nVendorTable END\n\n"
        f'AETable BEGIN\nQRSCP {folder / "store"} RW (1000, 1024mb) ANY\nAETable END\n'
    )  # fmt: skip
    command = [program, "-c", str(folder / "dcmqrscp.cfg"), "+B"]
    with running(command, folder / "dcmqrscp.log", ports=(port,)):
        yield DicomPeer("QRSCP", HOST, port)


@contextmanager
def running(command: list[str], log: Path, *, ports: tuple[int, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block; enters it once every port takes connections."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            for port in ports:
                await_port(port, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Poll the socket: a foreign server says in no other way that it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{process.args} did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
