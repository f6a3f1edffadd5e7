"""Our own heartbeat on a port with TLS: a C-ECHO to the receiver on this machine, and how long its certificate lasts.

The certificate is not verified: who answers on our own port is not in doubt, and its name is that of the callers'
network, not of loopback.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC
from pathlib import Path

from fiona_dagster.adapters.dicom_scu import acse, messages
from fiona_dagster.adapters.dicom_scu.association import write_p_data_head
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.transport_security import ClientCertificate, TransportSecurity
from fiona_dagster.settings import DicomPeer

_VERIFICATION, _IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
_A_ASSOCIATE_AC, _P_DATA_TF = 2, 4
_RELEASE = bytes.fromhex("05000000000400000000")
_HEAD_BYTES, _LONGEST_PDU = 12, 1 << 16


def secure_echo(peer: DicomPeer, security: TransportSecurity, calling: str, *, seconds: float = 10.0) -> None:
    """Verify that the receiver answers C-ECHO on its port with TLS.

    Raises:
        Transient: it does not answer, or not with an acceptance.
        ConfigurationError: the certificate that we would show cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if security.client_certificate is not ClientCertificate.NONE:
        _show(context, security)
    try:
        with (
            socket.create_connection((peer.host, peer.port), timeout=seconds) as bare,
            context.wrap_socket(bare) as connection,
        ):
            proposed = [(_VERIFICATION, [_IMPLICIT])]
            connection.sendall(acse.associate_request(peer.ae_title, calling, proposed, 16384))
            if _pdu(connection)[0] != _A_ASSOCIATE_AC:
                raise Transient(f"{peer} rejects our C-ECHO over TLS: see its log")
            command = messages.encode_request(messages.C_ECHO_RQ, 1, _VERIFICATION)
            head = bytearray(_HEAD_BYTES)
            write_p_data_head(head, 0, len(command), 1, command=True, last=True)
            connection.sendall(bytes(head) + command)
            if _pdu(connection)[0] != _P_DATA_TF:
                raise Transient(f"{peer} does not answer C-ECHO over TLS: see its log")
            connection.sendall(_RELEASE)
            _pdu(connection)
    except OSError as error:
        reason = (
            "TLS was not agreed upon" if isinstance(error, ssl.SSLError) else error.strerror or "timed out"
        )
        raise Transient(
            f"{peer} does not answer over TLS ({reason}): see its log; where callers need a certificate, name one "
            "that its client CA has signed in TLS.own_certificate and TLS.own_key"
        ) from None


def days_left(certificate: Path, *, now: float) -> float:
    """For how many days from `now` (seconds since the epoch) a certificate in PEM is valid; below 0: it is not.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the certificate cannot be read ({type(error).__name__})",
            place=str(certificate),
            remedy="name a PEM file",
        ) from None
    return (found.not_valid_after_utc.astimezone(UTC).timestamp() - now) / 86400


def _show(context: ssl.SSLContext, security: TransportSecurity) -> None:
    try:
        context.load_cert_chain(
            security.own_certificate or security.certificate,
            security.own_key or security.key,
            password=lambda: b"",
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"our own certificate cannot be used ({type(error).__name__})",
            place="TLS",
            remedy="name PEM files that belong together in own_certificate and own_key",
        ) from None


def _pdu(connection: ssl.SSLSocket) -> bytes:
    head = _exactly(connection, 6)
    return head + _exactly(connection, min(int.from_bytes(head[2:6], "big"), _LONGEST_PDU))


def _exactly(connection: ssl.SSLSocket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise OSError(0, "the connection was ended")
        data += piece
    return data
