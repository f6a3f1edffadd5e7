"""The web server of the second door: uvicorn in a thread of a listener process, on a socket that all of them share."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fiona_dagster.domain.access import certificate_names
from fiona_dagster.domain.stow import StowSettings
from fiona_dagster.settings import Site
from scp_listener.door import Door
from scp_listener.log import LOG
from scp_listener.store import Store
from scp_listener.stow import NAMES, StowDoor
from scp_listener.stow_access import StowAccess
from scp_listener.tls import CertificateFiles, server_context

QUEUE = 128
"""Connections that may wait to be accepted."""
MOST_CONNECTIONS = 64
"""Of a process; whoever comes then is answered 503."""
_CERTIFICATE = "the TLS certificate of the STOW-RS door"
RENEWAL_SECONDS = 30
"""Between two looks at the certificate's files."""
REQUEST_SECONDS = 20.0
"""A connection on which no request is under way is ended after so long."""


@dataclass(frozen=True)
class StowEntrance:
    """What the processes of a listener share: made once, before the first of them."""

    settings: StowSettings
    access: StowAccess
    tls: ssl.SSLContext | None = field(repr=False)
    files: CertificateFiles | None
    """As they were when `tls` was made: a process that begins later has that context, too."""
    socket: socket.socket

    @classmethod
    def open(cls, settings: StowSettings, secret: Callable[[str], str]) -> StowEntrance:
        """Bind the port.

        Raises:
            ConfigurationError: tokens or TLS cannot be set up.
            OSError: the address is taken or not ours.
        """
        access, tls, files = StowAccess.of(settings, secret), None, None
        if settings.tls is not None:
            files = CertificateFiles(settings.tls, _CERTIFICATE)
            tls = server_context(settings.tls)
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        bound = socket.create_server((settings.host, settings.port), family=family, backlog=QUEUE)
        port = bound.getsockname()[1]
        LOG.info("STOW-RS on %s://%s:%d/studies", "https" if tls else "http", settings.host, port)
        return cls(replace(settings, port=port), access, tls, files, bound)


class StowServer:
    """The door in this process; `stop` once."""

    def __init__(self, entrance: StowEntrance, site: Site, store: Store, limits: Door, folder: Path) -> None:
        door = StowDoor(entrance.settings, entrance.access, site, store, limits, folder)
        tls = entrance.tls
        config = uvicorn.Config(
            door.application(),
            http=_Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # what a stranger says of its address counts for nothing
            limit_concurrency=MOST_CONNECTIONS,
            backlog=QUEUE,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            callback_notify=self._renew,
            timeout_notify=RENEWAL_SECONDS,
        )
        self._entrance = entrance
        self._config, self._server = config, uvicorn.Server(config)
        self._socket = entrance.socket.dup()
        self._thread = threading.Thread(target=self._run, name="stow", daemon=True)
        self._thread.start()

    def stop(self, grace_seconds: float) -> bool:
        """Accept no more, let open requests finish, end those that do not; whether all have ended."""
        self._config.timeout_graceful_shutdown = max(1, int(grace_seconds))
        self._server.should_exit = True
        self._thread.join(grace_seconds + 10.0)
        if self._thread.is_alive():
            LOG.error("the STOW-RS door does not end")
        return not self._thread.is_alive()

    async def _renew(self) -> None:
        """Show a replaced certificate to who connects from now on; a changed `client_ca` waits for a restart."""
        if self._entrance.files is not None:
            self._entrance.files.read_where_changed(self._load)

    def _load(self) -> None:
        security, tls = self._entrance.settings.tls, self._entrance.tls
        if security is not None and tls is not None:
            server_context(security)  # else what does not fit would be in use in part
            tls.load_cert_chain(security.certificate, security.key, password=lambda: b"")

    def _run(self) -> None:
        """A door that ends by itself takes its process along, which finishes what is open: another takes its place."""
        try:
            self._server.run(sockets=[self._socket])
        except (Exception, SystemExit) as error:  # noqa: BLE001  its message may hold anything
            LOG.error("the STOW-RS door ended (%s)", type(error).__name__)
        if not self._server.should_exit:
            os.kill(os.getpid(), signal.SIGTERM)


class _Connection(H11Protocol):
    """uvicorn's, which tells the application whom a certificate names, and ends connections that ask for nothing."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app = _with_names(self.app, _names(transport))
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._idle and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif self._idle and self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._expired)

    def _expired(self) -> None:
        self._deadline = None
        if self._idle:
            self.transport.abort()


def _names(transport: Any) -> frozenset[str]:
    connection = transport.get_extra_info("ssl_object")
    return certificate_names(connection.getpeercert()) if connection is not None else frozenset()


def _with_names(application: Any, names: frozenset[str]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    async def told(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, NAMES: names}, receive, send)

    return told
