"""Upload of one package to OpenSSH's server: ours against OpenSSH's own client, in one run, round by round.

    python benchmarks/upload.py [--megabytes 325] [--rounds 3] [--json FILE]

Both send to the same sshd on loopback, which this program starts, with the same cipher (AES-GCM, which is what ours
prefers). Ours is timed twice: sending alone, which is what `sftp` does, and the whole delivery, which reads size and
checksum back and renames. The bar is 0.7 of OpenSSH's client for sending. Exit status 1: below the bar, or a
package did not arrive whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import ratios, spread
from fiona_dagster.adapters import sftp
from fiona_dagster.adapters.ssh_session import sftp_session
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination

BAR = 0.7
CIPHER = "aes128-gcm@openssh.com"
_PIECE = 1 << 20


@contextmanager
def running_sshd(folder: Path) -> Iterator[Destination]:
    """OpenSSH's server for the present user, on a free port; logs in by a key beside it."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    (folder / "root").mkdir()
    for name in ("host_key", "user_key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nPermitRootLogin prohibit-password\n"
        f"Subsystem sftp internal-sftp -d {folder}/root\n"
    )
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    command = [program, "-D", "-e", "-f", str(folder / "config")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if "listening on" in line:
                    break
            threading.Thread(
                target=server.stderr.read, daemon=True
            ).start()  # a full pipe would stop the server
            user = os.environ.get("USER") or "root"
            yield Destination("bench", "sftp", "127.0.0.1", port, ".", user, "", str(folder / "known_hosts"))
        finally:
            server.terminate()


def a_package(path: Path, size: int) -> Package:
    """Bytes that cannot be compressed, and their MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as stream:
        for left in range(size, 0, -_PIECE):
            piece = os.urandom(min(_PIECE, left))
            digest.update(piece)
            stream.write(piece)
    return Package(path.name, path, size, digest.hexdigest(), "0" * 64, 1, 1)


def by_openssh(package: Package, destination: Destination, folder: Path) -> float:
    """Seconds of `sftp -b`: one `put`."""
    batch = folder / "batch"
    batch.write_text(f"put {package.path} openssh.zip\n")
    options = {"UserKnownHostsFile": folder / "known_hosts", "IdentityFile": folder / "user_key", "Ciphers": CIPHER,
               "BatchMode": "yes", "IdentitiesOnly": "yes"}  # fmt: skip
    command = ["sftp", "-q", "-b", str(batch), "-P", str(destination.port)]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    began = time.perf_counter()
    subprocess.run([*command, f"{destination.user}@127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def by_us_sending(package: Package, destination: Destination, secret: str) -> float:
    """Seconds of our log-in and sending, without reading back."""
    began = time.perf_counter()
    with sftp_session(destination, secret) as client:
        sftp.send_only(client, package, ".")
    return time.perf_counter() - began


def by_us(package: Package, destination: Destination, secret: str) -> float:
    """Seconds of a whole delivery, confirmed."""
    began = time.perf_counter()
    sftp.deliver(package, destination, secret, transfer_id=1)
    return time.perf_counter() - began


def measure(megabytes: float, rounds: int) -> dict[str, dict[int, float]]:
    """Megabytes a second by round; each round in another order, so that a warm disk favours nobody."""
    found: dict[str, dict[int, float]] = {"openssh": {}, "ours, sending": {}, "ours, confirmed": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = a_package(folder / "package.zip", int(megabytes * 1e6))
        with running_sshd(folder) as destination:
            secret = (folder / "user_key").read_text()
            ways = {
                "openssh": lambda: by_openssh(package, destination, folder),
                "ours, sending": lambda: by_us_sending(package, destination, secret),
                "ours, confirmed": lambda: by_us(package, destination, secret),
            }
            for number in range(rounds):
                order = sorted(ways, reverse=bool(number % 2))
                for way in order:
                    found[way][number] = megabytes / ways[way]()
                    for one in (folder / "root").iterdir():
                        if hashlib.md5(
                            one.read_bytes(), usedforsecurity=False
                        ).hexdigest() != package.md5 and (one.suffix != ".md5"):
                            raise SystemExit(f"{way}: the package did not arrive whole")
                        one.unlink()
    return found


def main() -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=325.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is stopped, not left behind
    found = measure(options.megabytes, options.rounds)
    for way, values in found.items():
        middle = spread(values)
        assert middle is not None
        sys.stdout.write(f"{way:<16} {middle.text()} MB/s\n")
    ratio = spread(ratios(found["ours, sending"], found["openssh"]))
    whole = spread(ratios(found["ours, confirmed"], found["openssh"]))
    assert ratio is not None and whole is not None  # noqa: PT018 — there is a round
    sys.stdout.write(f"sending {ratio.text(2)} of OpenSSH's client (bar {BAR}); confirmed {whole.text(2)}\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return 0 if ratio.median >= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
