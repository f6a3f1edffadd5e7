"""The listener of a soak, as it runs in a hospital, and what befalls it: killed processes, stops, a full disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from benchmarks.soak_account import Account
from benchmarks.soak_senders import HOST, Target
from fiona_dagster.domain.layout import Layout

_ROOT = Path(__file__).resolve().parent.parent
_READY_SECONDS, _STOP_SECONDS = 90.0, 120.0
_GRACE_SECONDS = 5
_FULL_SECONDS = 2.0
FAULTS = ("worker killed", "worker killed", "parent killed", "stopped and started", "disk full")


class Listener:
    """`python -m scp_listener` with workers, on a data directory of its own."""

    def __init__(self, folder: Path, data: Path, workers: int) -> None:
        self.layout = Layout(data)
        self._workers, self._log = workers, folder / "listener.log"
        self._config = folder / "config.json"
        self._process: subprocess.Popen[str] | None = None
        port, web_port = _free_port(), _free_port()
        (folder / "token").write_text("soak-soak-soak-soak")
        self.target = Target(port, web_port, "soak-soak-soak-soak")
        sender = {"aetitle": "SOAKWEB", "token": f"file:{folder / 'token'}"}
        self._config.write_text(
            json.dumps(
                {
                    "DATADIR": str(data),
                    "DICOMIP": HOST,
                    "DICOMPORT": port,
                    "LIMITS": {"disk_free_bytes": 0, "associations": 200},
                    "STOW": {"port": web_port, "ip": HOST, "senders": [sender]},
                }
            )
        )

    def start(self) -> None:
        """Start, and wait until it listens."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FIONA_")}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scp_listener", "--site", "ABCD", "--config", str(self._config),
                 "--workers", str(self._workers), "--grace", str(_GRACE_SECONDS)],
                cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip
        alarm = threading.Timer(_READY_SECONDS, self._process.kill)
        alarm.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        alarm.cancel()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the listener did not start: {self._log.read_text()[-2000:]}")

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL to the parent; its workers see that, and end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._close()

    def kill_all(self) -> None:
        """Leave nothing running, whatever happened."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._close()

    def kill_worker(self, random: Random) -> bool:
        """SIGKILL to one of its processes; whether there was one."""
        assert self._process is not None
        pid = self._process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(int(random.choice(children)), signal.SIGKILL)
        except (OSError, IndexError):
            return False
        return True

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def _close(self) -> None:
        assert self._process is not None
        if self._process.stdout is not None:
            self._process.stdout.close()


class Faults(threading.Thread):
    """One fault after the other, until it is told to stop; the listener runs when it has ended."""

    def __init__(
        self, listener: Listener, account: Account, seed: int, every: float, stopping: threading.Event, *,
        small_disk: bool,
    ) -> None:  # fmt: skip
        super().__init__(name="faults", daemon=True)
        self._listener, self._account, self._every, self._stopping = listener, account, every, stopping
        self._random, self._small_disk = Random(f"faults/{seed}"), small_disk
        self.crashed = False
        self.problem = ""

    def run(self) -> None:
        try:
            while not self._stopping.wait(self._every * self._random.uniform(0.5, 1.5)):
                self._befall(self._random.choice(FAULTS))
        except Exception as error:  # noqa: BLE001  the soak ends with it, and says so
            self.problem = f"a fault went wrong: {type(error).__name__}: {error}"
            self._stopping.set()

    def _befall(self, fault: str) -> None:
        if fault == "disk full" and not self._small_disk:
            return
        self._account.did(fault)
        self._account.befell(fault)
        if fault == "worker killed":
            self.crashed = self._listener.kill_worker(self._random) or self.crashed
        elif fault == "parent killed":
            self.crashed = True
            self._listener.kill()
            self._listener.start()
        elif fault == "stopped and started":
            code = self._listener.stop()
            if code:
                self._account.did(f"stop ended with {code}")
                self.crashed = True
            self._listener.start()
        else:
            with _full(self._listener.layout.datadir):
                self._stopping.wait(_FULL_SECONDS)
        self._account.befell(f"behind: {fault}")


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Nothing fits on the disk of `folder`."""
    hog = folder / "hog"
    try:
        with hog.open("wb", buffering=0) as stream:
            block = bytes(1 << 20)
            for size in (1 << 20, 1 << 16, 1 << 12):
                with suppress(OSError):
                    while True:
                        stream.write(block[:size])
        yield
    finally:
        hog.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[tuple[Path, str]]:
    """A data directory on a small file system where we may mount one, else a folder and why."""
    data = folder / "data"
    data.mkdir(parents=True)
    if os.geteuid() != 0:
        yield data, "the fault 'disk full' needs root, to mount a small file system"
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=750", "fiona-soak", str(data)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        yield data, f"the fault 'disk full' needs a small file system: {mounted.stderr.strip()}"
        return
    try:
        yield data, ""
    finally:
        for _ in range(50):
            if not subprocess.run(["umount", str(data)], capture_output=True, check=False).returncode:
                break
            time.sleep(0.1)  # a process that was killed may hold it for a moment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
