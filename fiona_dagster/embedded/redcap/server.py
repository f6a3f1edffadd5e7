"""The HTTP server: `/api/` for programs, `/` for people. It never logs what it is sent."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.embedded.redcap import rights
from fiona_dagster.embedded.redcap.data_entry import save_form
from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.dispatch import answer
from fiona_dagster.embedded.redcap.faults import (
    BAD_GATEWAY_PAGE,
    BANNED_PAGE,
    OUT_OF_MEMORY_PAGE,
    Fault,
    Faults,
)
from fiona_dagster.embedded.redcap.page import index_page, project_page
from fiona_dagster.embedded.redcap.parameters import Parameters, Upload, form_pairs
from fiona_dagster.embedded.redcap.record_page import record_page

LOOPBACK = "127.0.0.1"
_LOCAL_NAMES = ["127.0.0.1", "localhost", "[::1]"]
_PRIVATE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}
_SUPER_TOKEN = re.compile(r"^[0-9A-F]{64}$")
_MOST_PARTS = 100_000


def application(database: Database, faults: Faults, *, base_url: str, page: bool) -> Starlette:
    """The ASGI application. `page` adds the web page, which needs no login and so belongs on loopback only."""

    async def api(request: Request) -> Response:
        if request.method != "POST":
            return Response("The request method is not implemented", status_code=501)
        parameters = await _parameters(request)
        if faults.delay_seconds:
            await asyncio.sleep(faults.delay_seconds)
        admitted, fault = faults.admit()
        if not admitted:
            return HTMLResponse(BANNED_PAGE, status_code=403)
        if fault is Fault.BAD_GATEWAY:
            return HTMLResponse(BAD_GATEWAY_PAGE, status_code=502)
        if fault is Fault.HTML_IN_200:
            return HTMLResponse(OUT_OF_MEMORY_PAGE)
        status, body, content_type = await run_in_threadpool(
            answer, database, parameters, base_url, faults.restrict
        )
        if fault is Fault.ANSWER_LOST:
            return HTMLResponse(BAD_GATEWAY_PAGE, status_code=502)
        return Response(body, status_code=status, headers={"Content-Type": content_type})

    async def index(_request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(index_page, database), headers=_PRIVATE)

    async def project(request: Request) -> Response:
        start = request.query_params.get("start", "0")
        number = int(start) if start.isascii() and start.isdigit() else 0
        found = await run_in_threadpool(project_page, database, request.path_params["pid"], number)
        return HTMLResponse(found or "No such project", status_code=200 if found else 404, headers=_PRIVATE)

    async def record(request: Request) -> Response:
        pid, name = request.path_params["pid"], request.query_params.get("name", "")
        found = await run_in_threadpool(record_page, database, pid, name)
        return HTMLResponse(found or "No such record", status_code=200 if found else 404, headers=_PRIVATE)

    routes = [Route("/api/", api, methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])]
    guards = []
    if page:
        routes += [Route("/", index), Route("/project/{pid:int}", project)]
        routes.append(Route("/project/{pid:int}/record", record))
        # A page of another site must not read ours through a host name that it controls (DNS rebinding).
        guards = [Middleware(TrustedHostMiddleware, allowed_hosts=_LOCAL_NAMES)]
    return Starlette(routes=routes, middleware=guards)


async def _parameters(request: Request) -> Parameters:
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_fields=_MOST_PARTS, max_part_size=1 << 30) as form:
            items = form.multi_items()
            texts = [(name, value) for name, value in items if isinstance(value, str)]
            files = [value for name, value in items if name == "file" and not isinstance(value, str)]
            found = [
                Upload(one.filename or "file", one.content_type or "", await one.read()) for one in files
            ]
            return Parameters(texts, found[0] if found else None)
    body = await request.body()
    return Parameters(await run_in_threadpool(form_pairs, body))


class RedcapServer:
    """An embedded REDCap in this process; `with RedcapServer(path) as server:` runs it in a thread.

    Attributes:
        super_token: made when the object is made; only its hash is stored.
        faults: the switches.
    """

    def __init__(
        self,
        data_file: Path,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        super_token: str | None = None,
        durable: bool = True,
    ) -> None:
        self.database = Database(data_file, durable=durable)
        self.faults = Faults()
        self.super_token = super_token or secrets.token_hex(32).upper()
        with self.database.transaction(write=True) as connection:
            rights.replace_super_token(connection, self.super_token)
        self._socket = _listen(host, port)
        # One worker thread of SQLite a request; a keep-alive of 5 s lets a stop end soon.
        config = uvicorn.Config(
            application(
                self.database, self.faults, base_url=self.page_url, page=host in {LOOPBACK, "localhost", "::1"}
            ),
            log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def page_url(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}/"

    @property
    def url(self) -> str:
        """The API's URL."""
        return f"{self.page_url}api/"

    def serve(self, listening: Callable[[str], None]) -> None:
        """Serve in this thread, the main one, until SIGTERM or SIGINT; `listening` is told the API's URL."""
        # uvicorn stops on these signals and then raises them once more for whoever started it. One that comes
        # before uvicorn listens to signals must not be lost either.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self._server, "should_exit", True))
        listening(self.url)
        self._server.run(sockets=[self._socket])

    def save_form(
        self, pid: int, instrument: str, record: str, values: Mapping[str, Any], **place: Any
    ) -> bool | None:
        """What a person does at the screen, with the Data Entry Trigger behind it; see `data_entry.save_form`."""
        return save_form(self.database, pid, instrument, record, values, page_url=self.page_url, **place)

    def start(self) -> Self:
        """Serve in a thread of its own. Calls that come before it is ready wait in the socket's queue."""
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="embedded-redcap", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish the open calls and give the port back."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def super_token_from(path: Path) -> str:
    """The super token in `path`, which is made (mode 600) when it does not exist.

    Raises:
        ConfigurationError: the file does not hold a super token.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, f"{secrets.token_hex(32).upper()}\n".encode(), mode=0o600)
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not _SUPER_TOKEN.match(token):
        raise ConfigurationError(
            "the file does not hold a super token (64 hexadecimal digits)",
            place=str(path),
            remedy="remove it",
        )
    return token


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((host, port))
        one.listen(128)
    except OSError as error:
        one.close()
        raise ConfigurationError(
            f"the embedded REDCap cannot listen on {host}:{port} ({os.strerror(error.errno or 0)})",
            remedy="choose another port; 0 picks a free one",
        ) from error
    return one
