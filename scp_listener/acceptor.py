"""The listening sockets of a listener: connections are taken one after the other, and each begins on its own thread.

A connection that cannot be served, for want of descriptors or threads, costs itself alone; the thread here must outlive
it, and must not turn in circles meanwhile.
"""

from __future__ import annotations

import errno
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseServer
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

from fiona_dagster.domain.dimse_status import Status
from scp_listener.data_phase import Uploads
from scp_listener.log import LOG
from scp_listener.threshold import Threshold
from scp_listener.tls import ServerTls, refusal_reason

QUEUE = 128
"""Connections that may wait to be accepted."""
SHUTDOWN_SECONDS = 5.0

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_SECONDS = 0.2
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 120_000}
"""A peer that vanished without a word is noticed within two minutes (seconds, count and milliseconds of tcp(7))."""


class Acceptor(ThreadedAssociationServer):
    """pynetdicom's server with a longer queue, TLS agreed upon by the connection's own thread, and a look after ended
    Associations twice a second."""

    request_queue_size = QUEUE
    daemon_threads = True
    block_on_close = False

    sweep: Callable[[], None] = staticmethod(lambda: None)
    uploads: Uploads | None = None
    tls: ServerTls | None = None
    threshold = Threshold(QUEUE)
    """Where connections are counted; the ports of a process share one."""
    begun: Callable[[Any], None] = staticmethod(lambda _: None)
    """Told of an Association whose thread was started."""
    turned_away: Callable[..., None] = staticmethod(lambda *_: None)
    """Told why a connection ended before its Association, from which address it came, and the Status where it is not
    out of resources."""

    def get_request(self) -> tuple[socket.socket, Any]:
        assert isinstance(self.socket, socket.socket)  # noqa: S101  pynetdicom types it as optional
        try:
            connection, address = self.socket.accept()
        except OSError as error:
            if (
                error.errno in _EXHAUSTED
            ):  # it waits in the queue; asking again at once would only heat the room
                self.turned_away("the receiver is out of descriptors or memory", "")
                time.sleep(_PAUSE_SECONDS)
            raise
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        served, ended = self.threshold.arrived(request, str(client_address[0]))
        if ended is not None:
            self.turned_away("a connection that asked for nothing gave way to another", ended)
        if not served:
            self.turned_away("as many connections are open as may be", str(client_address[0]))
        return served

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # whatever ends it, the place at the threshold is free again
            self.threshold.gone(request)
            raise

    def finish_request(self, request: Any, client_address: Any) -> None:
        connection = request

        def became(secure: socket.socket) -> None:
            nonlocal connection
            self.threshold.became(request, secure)
            connection = secure

        try:
            keep_watch(request)
            super().finish_request(self.tls.secure(request, became) if self.tls else request, client_address)
        except BaseException:  # as above
            self.threshold.gone(connection)
            raise

    def service_actions(self) -> None:
        super().service_actions()
        try:
            self.sweep()
        except Exception as error:  # noqa: BLE001 — this thread accepts connections: it must outlive any ended one
            LOG.error("an ended Association was not looked after (%s)", type(error).__name__)

    def shutdown(self) -> None:
        """Stop accepting, even if the accepting thread hangs; pynetdicom's own would look for us among the servers
        that it started itself."""
        ending = threading.Thread(target=BaseServer.shutdown, args=(self,), name="shutdown", daemon=True)
        ending.start()
        ending.join(SHUTDOWN_SECONDS)
        self.server_close()

    def handle_error(self, _request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        reason, status = "a connection failed before its Association", Status.OUT_OF_RESOURCES
        if isinstance(error, RuntimeError):
            reason = "the receiver is out of threads"
        elif isinstance(error, ssl.SSLError | BlockingIOError | ConnectionError) and self.tls:
            reason, status = refusal_reason(error), Status.REFUSED_NOT_AUTHORISED
        self.turned_away(reason, str(client_address[0]), status)


class SharedAcceptor(Acceptor):
    """Several processes accept from one listening socket: whoever is free; what waits in it outlives each of them."""

    def __init__(self, *arguments: Any, shared: socket.socket, **more: Any) -> None:
        self._shared = shared
        super().__init__(*arguments, **more)

    def server_bind(self) -> None:
        """The socket was bound, and listens, before this process was."""
        assert isinstance(self.socket, socket.socket)  # noqa: S101  pynetdicom types it as optional
        self.socket.close()
        self.socket = self._shared.dup()
        self.socket.settimeout(0)  # another process may have been quicker
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def server_close(self) -> None:
        """Let go of it, which is no end for the others; with the last one new connections are refused."""
        assert isinstance(self.socket, socket.socket)  # noqa: S101
        self.socket.close()
        self._shared.close()


def keep_watch(connection: socket.socket) -> None:
    """Let the kernel notice a peer that is no longer there."""
    with suppress(OSError):  # it is gone already: the first receive tells
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            option = getattr(socket, name, None)
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
