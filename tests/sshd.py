"""OpenSSH's own server, run by the present user on a free port with its internal SFTP."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import paramiko

from tests.conftest import free_port, need_program


@dataclass(frozen=True)
class Sshd:
    """A running sshd: `key` is the private key (PEM) that it lets in, `root` where the user starts."""

    host: str
    port: int
    user: str
    key: str
    known_hosts: str
    root: Path


@contextmanager
def running_sshd(folder: Path, *, only_sftp: bool = False, largest_file: int | None = None) -> Iterator[Sshd]:
    """Start /usr/sbin/sshd below `folder` and stop it at the end.

    `only_sftp`: no shell, as hospitals set it up. `largest_file`: in kilobytes;
    what is written beyond it fails, as on a full disk.
    """
    program = need_program("sshd")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # its empty folder for privilege separation, lost at each boot
    root = folder / "root"
    root.mkdir(parents=True)
    host_key, user_key = _key(folder / "host_key"), _key(folder / "user_key")
    (folder / "authorized").write_text(f"{user_key.get_name()} {user_key.get_base64()}\n")
    port = free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp -d {root}\n"
        + ("ForceCommand internal-sftp\n" if only_sftp else "")
    )
    command = [program, "-D", "-e", "-f", str(folder / "config")]
    if largest_file is not None:
        limit = 'trap "" XFSZ; ulimit -f "$0"; exec "$@"'
        command = ["bash", "-c", limit, str(largest_file), *command]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                break
        else:
            raise RuntimeError(f"sshd did not start: {lines}")
        drain = threading.Thread(target=process.stderr.read, daemon=True)  # a full pipe would stop the server
        drain.start()
        try:
            known = f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}"
            key = (folder / "user_key").read_text()
            yield Sshd("127.0.0.1", port, getuser(), key, known, root)
        finally:
            process.terminate()
            process.wait(10)
            drain.join(10)


def _key(path: Path) -> paramiko.PKey:
    key = paramiko.ECDSAKey.generate(bits=256)
    key.write_private_key_file(str(path))
    path.chmod(0o600)
    return key
