"""Listeners of tests, forked from one process that has everything loaded: a start costs a tenth of a new interpreter's.

The process is started with the first listener of a test run and lives as long as it does. `python -m scp_listener`
itself is started by tests/scp_listener/test_slim.py and by every gateway of the journeys.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

_LONGEST_REQUEST = 1 << 20


class ForkedListener:
    """What tests use of `subprocess.Popen`, for a process that is another one's child."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        """Returns when the process exists; its standard output is `stdout`, its standard error is appended to `log`."""
        self.returncode: int | None = None
        reader, writer = os.pipe()
        self.stdout: IO[str] = os.fdopen(reader, encoding="utf-8")
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(_zygote())
        request = {"arguments": list(arguments), "environment": environment, "log": str(log)}
        socket.send_fds(self._line, [json.dumps(request).encode()], [writer])
        os.close(writer)
        self.pid = int(self._line.recv(64))

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with suppress(TimeoutError, BlockingIOError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: it still runs.
        """
        if self.returncode is None:
            self._line.settimeout(timeout)
            self.returncode = int(self._line.recv(64))
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@cache
def _zygote() -> str:
    """Address of the process that forks, which ends when its standard input does: with us."""
    address = f"\0fiona-tests-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, address[1:]],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return address


def _serve(address: str) -> int:
    """Fork listeners until the tests end; returns in each of these, with its exit code."""
    from scp_listener import slim  # noqa: F401, I001  first, as where it starts by itself

    import scp_listener.__main__
    import scp_listener.server
    import scp_listener.supervisor
    import scp_listener.workers  # noqa: F401

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(address)
        door.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch
        print("ready", flush=True)
        while sys.stdin not in (found := select.select([sys.stdin, door], [], [])[0]):
            assert found
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                return _watch(line)
            line.close()
    return 0


def _watch(line: socket.socket) -> int:
    """Fork one listener and tell its end; returns in the listener."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, descriptors, _, _ = socket.recv_fds(line, _LONGEST_REQUEST, 1)
    request = json.loads(data)
    pid = os.fork()
    if pid == 0:
        line.close()
        return _listener(request["arguments"], request["environment"], request["log"], descriptors[0])
    os.close(descriptors[0])
    line.send(b"%d" % pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):  # nobody asks any more
        line.send(b"%d" % status)
    os._exit(0)


def _listener(arguments: list[str], environment: dict[str, str], log: str, output: int) -> int:
    from scp_listener.__main__ import main

    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    files = [os.open(os.devnull, os.O_RDONLY), output, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)]
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.argv[1:] = arguments
    return main()


if __name__ == "__main__":
    sys.exit(_serve("\0" + sys.argv[1]))
