"""PostgreSQL for tests: a cluster in a temporary folder, on loopback, run by a user that it accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.conftest import free_port, need_program
from tests.peers import HOST, running

USER = "fiona"


@dataclass(frozen=True)
class Postgres:
    """A running cluster; every test takes a database of its own."""

    port: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def database(self) -> str:
        """Name of a new, empty database."""
        name = f"test{next(self._numbers)}"
        engine = create_engine(
            self.url("postgres").replace("postgresql:", "postgresql+psycopg2:"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return name


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Make a cluster, start it and remove it at the end. It refuses root, so root hands it to the user `postgres`."""
    initdb, postgres = _program("initdb"), _program("postgres")
    folder = Path(
        tempfile.mkdtemp(prefix="fiona-postgres-")
    )  # not below tmp_path: that is closed to other users
    data = folder / "data"
    become: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        become = [need_program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    try:
        subprocess.run(
            [*become, initdb, "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        port = free_port()
        command = [*become, postgres, "-D", str(data), "-p", str(port), "-k", str(folder),
                   "-c", f"listen_addresses={HOST}", "-c", "fsync=off", "-c", "max_connections=100"]  # fmt: skip
        with running(command, folder / "postgres.log", ports=(port,)):
            yield Postgres(port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    """Debian keeps the server's programs of each version in a folder of their own."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else need_program(name)
