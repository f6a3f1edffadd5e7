"""Who receives in the benchmark of reception: ours, DCMTK's storescp and Orthanc, each started anew for every run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
_READY_SECONDS = 60.0
_STOP_SECONDS = 300.0
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Receiver:
    """A program that receives; `command` from the port and its folder, `stored` counts its objects there."""

    name: str
    does: str
    command: Callable[[int, Path], list[str]]
    stored: Callable[[Path], int]
    ours: bool = False
    missing: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Receiving:
    """A receiver at work; the figures are there after it has ended.

    CPU in seconds and the largest resident set in bytes of the process and all its children (wait4(2));
    `behind` are the seconds that it still worked after it was told to stop.
    """

    port: int
    folder: Path
    pid: int = 0
    cpu: float = 0.0
    rss: int = 0
    behind: float = 0.0
    problem: str = ""

    def cpu_until_now(self) -> float:
        """CPU seconds of the process, its children, and theirs, those that have ended included (proc_pid_stat(5))."""
        family: dict[int, tuple[int, int]] = {}
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = place.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            family[int(place.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
        wanted, ticks = {self.pid}, 0
        while wanted:
            ticks += sum(family[one][1] for one in wanted if one in family)
            wanted = {pid for pid, (parent, _) in family.items() if parent in wanted}
        return ticks / os.sysconf("SC_CLK_TCK")


def receivers(chosen: frozenset[str], workers: int) -> list[Receiver]:
    """Those whose name is chosen; all where nothing is."""
    storescp = shutil.which("storescp")
    orthanc = shutil.which("Orthanc")
    quick = {"TCP_NODELAY": "1"}
    everybody = [
        _ours("ours", "file and folder synced before Success", [], workers),
        _ours("ours, no sync", "the disk is left to the system, as the others do", ["--unsafe-no-sync"], workers),
        _ours("ours, stock", "pynetdicom's own data phase, synced", ["--data-phase", "stock"], workers),
        Receiver(
            "storescp tuned", "--fork, bit preserving, 128 kB PDUs, no delay; no sync",
            lambda port, folder: [str(storescp), "--fork", "+B", "-dhl", "+xa", "-pdu", "131072", "-od",
                                  str(folder), str(port)],
            _files, environment=quick, missing="" if storescp else "not installed",
        ),
        Receiver(
            "storescp", "as it comes; no sync",
            lambda port, folder: [str(storescp), "--fork", "-od", str(folder), str(port)],
            _files, missing="" if storescp else "not installed",
        ),
        Receiver(
            "Orthanc tuned", "no MD5, no sync of the storage area, no delay; SQLite index",
            lambda port, folder: _orthanc(str(orthanc), port, folder, tuned=True),
            _orthanc_files, environment=quick, missing="" if orthanc else "not installed",
        ),
        Receiver(
            "Orthanc", "as it comes: MD5, files synced, SQLite index",
            lambda port, folder: _orthanc(str(orthanc), port, folder, tuned=False),
            _orthanc_files, missing="" if orthanc else "not installed",
        ),
    ]  # fmt: skip
    return [one for one in everybody if not chosen or one.name in chosen]


@contextmanager
def receiving(receiver: Receiver, folder: Path) -> Iterator[Receiving]:
    """Start `receiver` in the empty `folder`; it is stopped and measured at the end."""
    port = _free_port()
    running = Receiving(port, folder)
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            receiver.command(port, folder), cwd=folder, env=environment | dict(receiver.environment),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            running.pid = process.pid
            _wait_until_it_listens(port, process)
            yield running
            if not receiver.ours:
                time.sleep(1.5)  # storescp collects its children once a second: their CPU counts then
        finally:
            _stop(process, running)


def _ours(name: str, does: str, more: list[str], workers: int) -> Receiver:
    def command(port: int, folder: Path) -> list[str]:
        python = [sys.executable, "-m", "scp_listener", "--host", HOST, "--port", str(port)]
        return [*python, "--data-dir", str(folder), "--workers", str(workers), *more]

    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(_ROOT))}
    return Receiver(
        name, does, command,
        lambda folder: _files(folder / "site" / "archive"),
        ours=True, environment=environment,
    )  # fmt: skip


def _orthanc(program: str, port: int, folder: Path, *, tuned: bool) -> list[str]:
    configuration = folder.parent / f"{folder.name}.json"
    settings: dict[str, object] = {
        "Name": "BENCHMARK", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "DicomPort": port,
        "HttpServerEnabled": False, "Plugins": [], "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False,
    }  # fmt: skip
    if tuned:
        settings |= {"StoreMD5ForAttachments": False, "SyncStorageArea": False, "SaveJobs": False}
    configuration.write_text(json.dumps(settings), encoding="utf-8")
    return [program, str(configuration)]


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _orthanc_files(folder: Path) -> int:
    """Objects have a name of 36 letters; beside each stands one with its tags as JSON, or the front of it."""
    large = [path for path in folder.rglob("*") if len(path.name) == 36 and path.stat().st_size > 40_000]
    return sum(path.open("rb").read(132)[128:] == b"DICM" for path in large)


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"a receiver ended with exit status {process.returncode}: see its log")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                time.sleep(0.3)  # the receiver ends with our probe first: it is no part of what is measured
                return
        time.sleep(0.05)  # another program's port: there is no event for it
    raise RuntimeError("a receiver does not listen")


def _stop(process: subprocess.Popen[bytes], running: Receiving) -> None:
    began = time.perf_counter()
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.perf_counter() - began > _STOP_SECONDS:
            process.kill()
        time.sleep(0.01)  # wait4 tells what it used, and knows no deadline
    process.returncode = os.waitstatus_to_exitcode(status)
    running.behind = time.perf_counter() - began
    running.cpu, running.rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
