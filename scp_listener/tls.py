"""TLS under an Association (PS3.15 annex B.10 and B.12): the server's context, and a socket that two threads may use.

OpenSSL's connections take one thread at a time, and an Association is read by its own thread while another may send
(a report, an abort at a stop). `SecureSocket` never blocks inside OpenSSL: it waits outside, by poll(2).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.transport_security import ClientCertificate, Profile, TransportSecurity
from scp_listener.log import LOG

HANDSHAKE_SECONDS = 30.0

_FFDHE2048 = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----"""
"""The group ffdhe2048 of RFC 7919: the key length of DHE is stated, as annex B.10 asks."""

_VERIFY = {
    ClientCertificate.REQUIRED: ssl.CERT_REQUIRED,
    ClientCertificate.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificate.NONE: ssl.CERT_NONE,
}


class SecureSocket(ssl.SSLSocket):
    """A TLS connection with the manners of a blocking socket; receiving raises BlockingIOError when time is up."""

    limit: float | None = None
    turn: threading.RLock

    def settimeout(self, value: float | None) -> None:
        """Seconds that a receive or send may wait; None: for ever."""
        self.limit = value
        socket.socket.settimeout(self, 0.0)

    def gettimeout(self) -> float | None:
        return self.limit

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def do_handshake(self, block: bool = False) -> None:
        """Agree on TLS within the time of `settimeout`."""
        self._patiently(super().do_handshake)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return bytes(self._patiently(super().recv, buflen, flags))

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        return int(self._patiently(super().recv_into, buffer, nbytes, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return int(self._patiently(super().send, data, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        with memoryview(data) as view, view.cast("B") as rest:
            sent = 0
            while sent < len(rest):
                sent += self.send(rest[sent:], flags)

    def shutdown(self, how: int) -> None:
        """End the connection; the peer is told by close_notify where that can be sent at once."""
        if self.turn.acquire(blocking=False):
            try:
                with suppress(OSError, ValueError):
                    if self._sslobj is not None:  # type: ignore[attr-defined]
                        self._sslobj.shutdown()  # type: ignore[attr-defined]
            finally:
                self.turn.release()
        socket.socket.shutdown(self, how)

    def _patiently(self, action: Callable[..., Any], *arguments: Any) -> Any:
        deadline = None if self.limit is None else time.monotonic() + self.limit
        while True:
            with self.turn:
                try:
                    return action(*arguments)
                except ssl.SSLWantReadError:
                    awaited = select.POLLIN
                except ssl.SSLWantWriteError:
                    awaited = select.POLLOUT
            self._wait(awaited, deadline)

    def _wait(self, awaited: int, deadline: float | None) -> None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        descriptor = self.fileno()
        if descriptor < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        poll = select.poll()
        poll.register(descriptor, awaited)
        if not poll.poll(left):
            raise BlockingIOError(errno.EAGAIN, "nothing moved in time")


_CAUSES = (
    ("CERTIFICATE_HAS_EXPIRED", "the peer's certificate has expired"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "the peer showed no certificate"),
    ("CERTIFICATE_VERIFY_FAILED", "the peer's certificate was not accepted"),
    ("UNSUPPORTED_PROTOCOL", "the peer knows no version of TLS from 1.2"),
    ("VERSION_TOO_LOW", "the peer knows no version of TLS from 1.2"),
    ("NO_SHARED_CIPHER", "the peer knows no cipher suite of the profile"),
    ("NO_SUITABLE_SIGNATURE_ALGORITHM", "the peer knows no signature that our certificate can make"),
    ("UNKNOWN_CA", "the peer does not know the authority of our certificate"),
    ("CERTIFICATE_EXPIRED", "the peer says that our certificate has expired"),
    ("BAD_CERTIFICATE", "the peer does not accept our certificate"),
    ("CERTIFICATE_UNKNOWN", "the peer does not accept our certificate"),
    ("HTTP_REQUEST", "the peer does not speak TLS"),
    ("WRONG_VERSION_NUMBER", "the peer does not speak TLS"),
    ("RECORD_LAYER_FAILURE", "the peer does not speak TLS"),
)
"""OpenSSL's names of reasons, the first that is found in one."""
_VERIFICATION = {
    10: "the peer's certificate has expired",
    9: "the peer's certificate is not valid yet",
    18: "the peer's certificate is signed by itself alone",
    19: "the peer's certificate is of an authority that client_ca does not name",
    20: "the peer's certificate is of an authority that client_ca does not name",
    21: "the peer's certificate is of an authority that client_ca does not name",
    26: "the peer's certificate is not for clients",
}
"""OpenSSL's X509_V_ERR numbers (x509_vfy.h)."""


def refusal_reason(error: OSError) -> str:
    """Why TLS was not agreed upon, in words for the ledger; nothing of a certificate is in them."""
    if isinstance(error, BlockingIOError):
        cause = "the peer did not answer in time"
    elif isinstance(error, ssl.SSLCertVerificationError):
        cause = _VERIFICATION.get(error.verify_code, "the peer's certificate was not accepted")
    elif isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        cause = "the peer hung up"
    else:
        name = getattr(error, "reason", None) or ""
        cause = next((words for one, words in _CAUSES if one in name), "the handshake failed")
    return f"TLS was not agreed upon: {cause}"


class ServerTls:
    """Makes connections of a site's second port secure; a certificate that was renewed counts from then on."""

    def __init__(self, settings: TransportSecurity) -> None:
        """Read the files.

        Raises:
            ConfigurationError: they cannot be read, or do not belong together.
        """
        self._settings = settings
        self._files = CertificateFiles(settings, "the TLS certificate")
        self._context = server_context(settings)

    def secure(
        self, connection: socket.socket, became: Callable[[SecureSocket], None] = lambda _: None
    ) -> SecureSocket:
        """Agree on TLS with who has connected; `connection` is of no further use, and `became` is told what has taken
        its place before anything is agreed upon.

        Raises:
            OSError: it was not agreed upon in time.
        """
        connection.settimeout(HANDSHAKE_SECONDS)
        made = self._current().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        assert isinstance(made, SecureSocket)  # noqa: S101
        became(made)
        try:
            made.do_handshake()
        except BaseException:  # whatever ends it: nobody else knows this socket
            made.close()
            raise
        return made

    def _current(self) -> ssl.SSLContext:
        self._files.read_where_changed(self._read_again)
        return self._context

    def _read_again(self) -> None:
        self._context = server_context(self._settings)


class CertificateFiles:
    """Certificate, key and CA of a door, which are read again where they have changed."""

    def __init__(self, settings: TransportSecurity, what: str) -> None:
        """They are read right after this; `what` is their name in the log."""
        self._settings, self._what = settings, what
        self._seen = self._times()
        self._unusable: tuple[int, ...] = ()

    def read_where_changed(self, read: Callable[[], None]) -> None:
        """`read` them where they have changed. What cannot be used changes nothing, is told once, and read again the
        next time: it may be half written."""
        times = self._times()
        if times == self._seen:
            return
        try:
            read()
        except (ConfigurationError, ssl.SSLError) as error:
            if times != self._unusable:
                LOG.error("%s stays as it was: %s", self._what, error)
            self._unusable = times
        else:
            LOG.info("%s was read again", self._what)
            self._seen = times

    def _times(self) -> tuple[int, ...]:
        found = []
        for path in (self._settings.certificate, self._settings.key, self._settings.client_ca):
            try:
                found.append(path.stat().st_mtime_ns if path else 0)
            except OSError:
                found.append(-1)
        return tuple(found)


def server_context(settings: TransportSecurity) -> ssl.SSLContext:
    """The context of the profile chosen.

    Raises:
        ConfigurationError: a file cannot be read, or they do not belong together; no message shows what is in them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _SecureSocketOf
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(":".join(settings.profile.ciphers))
    if settings.profile is Profile.B_10:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as group:
            group.write(_FFDHE2048)
            group.flush()
            context.load_dh_params(group.name)
    _read(
        lambda: context.load_cert_chain(settings.certificate, settings.key, password=lambda: b""),
        "certificate and key",
        settings.certificate,
        "name PEM files that belong together, the key without a password, both readable by the gateway's user",
    )
    authority = settings.client_ca
    if authority is not None:
        _read(lambda: context.load_verify_locations(authority), "client_ca", authority, "name a PEM file")
    context.verify_mode = _VERIFY[settings.client_certificate]
    return context


def _read(action: Callable[[], None], what: str, path: Path, remedy: str) -> None:
    try:
        action()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = error.strerror if not isinstance(error, ssl.SSLError) and isinstance(error, OSError) else None
        raise ConfigurationError(
            f"{what} cannot be used ({why or type(error).__name__})", place=f"TLS: {path}", remedy=remedy
        ) from None


class _SecureSocketOf(SecureSocket):
    """With its lock from the beginning: OpenSSL's sockets are not made by `__init__`."""

    def __new__(cls, *arguments: Any, **more: Any) -> _SecureSocketOf:
        made: _SecureSocketOf = super().__new__(cls, *arguments, **more)
        made.turn = threading.RLock()
        return made
