"""TLS around the connection of an Association that we request (PS3.15 annex B)."""

from __future__ import annotations

import socket
import ssl

from fiona_dagster.domain.errors import ConfigurationError, Unreachable
from fiona_dagster.domain.outgoing_security import OutgoingSecurity

PLACE = "OUTGOINGTLS"


def tls_context(security: OutgoingSecurity) -> ssl.SSLContext:
    """A context for what we call; the peer's certificate is always verified.

    Raises:
        ConfigurationError: a file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(security.profile.ciphers))
    context.check_hostname = security.check_name
    try:
        if security.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(security.ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the authority's certificate cannot be used ({type(error).__name__})",
            place=f"{PLACE}.ca",
            remedy="name a PEM file",
        ) from None
    if security.certificate is not None:
        try:
            context.load_cert_chain(security.certificate, security.key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"our own certificate cannot be used ({type(error).__name__})",
                place=PLACE,
                remedy="name PEM files that belong together in certificate and key",
            ) from None
    return context


def secured(bare: socket.socket, host: str, name: str, security: OutgoingSecurity) -> ssl.SSLSocket:
    """`bare` with TLS around it; `name` is the peer's, for messages.

    Raises:
        ConfigurationError: its certificate is not one that we trust.
        Unreachable: TLS was not agreed upon.
    """
    context = tls_context(security)
    try:
        return context.wrap_socket(bare, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"{name} shows a certificate that is not trusted ({error.verify_message})",
            remedy=f"name the authority that signed it in {PLACE}.ca; where it names another host, set "
            f"{PLACE}.check_name to false",
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise Unreachable(
            f"{name}: TLS was not agreed upon ({reason}): does it speak TLS at this port, and does it want a "
            f"certificate of ours ({PLACE}.certificate)?"
        ) from None
