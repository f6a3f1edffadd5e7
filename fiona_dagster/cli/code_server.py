"""Dagster's code server, whose runs are forked from a process that has everything loaded.

    python -m fiona_dagster.cli.code_server --host 127.0.0.1 --port 4266

Dagster starts each run as a new interpreter, and four fifths of what a small study costs is its imports
(docs/adr/0026). All else stays Dagster's: queue, limits, one process a run, its watch over them and how they end.
"""

from __future__ import annotations

import logging
import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

import click

LOCATION = "fiona"
RUN_SERVER = "fiona_dagster.cli.run_server_start"


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Dagster has no login: keep it on loopback."
)
@click.option("--port", type=int, required=True)
def main(host: str, port: int) -> None:
    """Serve the code location until SIGTERM; runs that go on are waited for."""
    from dagster._cli.api import grpc_command

    from fiona_dagster.cli.kept_engines import keep_engines

    keep_engines()
    fork_runs()
    grpc_command.main(
        ["--module-name", "fiona_dagster.definitions", "--location-name", LOCATION,
         "--host", host, "--port", str(port)],
        standalone_mode=False,
    )  # fmt: skip


def fork_runs() -> None:
    """Let Dagster's server fork its runs, and start the process that they are forked from."""
    from dagster._grpc import server

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([RUN_SERVER])
    vars(server)["DagsterApiServer"] = with_context(server.DagsterApiServer, context)
    forkserver.ensure_running()


def with_context(stock: type[Any], context: BaseContext) -> type[Any]:
    """Dagster's server class, making the processes of its runs by `context`.

    Which context it takes is private to Dagster, whose version is bound in pyproject.toml. Where it is not found any
    more, runs are started as Dagster does it, which costs time alone; that is said in the log.
    """

    def start(self: Any, *arguments: Any, **named: Any) -> None:
        stock.__init__(self, *arguments, **named)
        if isinstance(getattr(self, "_mp_ctx", None), BaseContext):
            self._mp_ctx = context
        else:
            logging.getLogger("dagster.code_server").warning(
                "runs are not forked but started one by one: this version of Dagster does it in another way"
            )

    return type(f"Forking{stock.__name__}", (stock,), {"__init__": start})


if __name__ == "__main__":
    main()
