"""TLS on a site's second port: section `TLS` in config.json. The profiles are those of PS3.15 annex B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fiona_dagster.domain.configuration_values import choice_of, refuse_unknown_keys
from fiona_dagster.domain.errors import ConfigurationError

TLS_KEYS = frozenset({
    "port", "certificate", "key", "client_ca", "client_certificate", "profile", "own_certificate", "own_key",
})  # fmt: skip
PORT = 2762
"""Registered for DICOM over TLS (PS3.8 section 9.1.1)."""


class ClientCertificate(StrEnum):
    """Whether a caller must show a certificate that the client CA has signed."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


_B_12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)  # fmt: skip
_B_10 = ("DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384")


class Profile(StrEnum):
    """Both: TLS 1.2 and 1.3 alone. B.9 differs from B.10 only in that it would go down to TLS 1.0, which RFC 8996
    forbids; a peer that follows B.9 and has TLS 1.2 is served by either.
    """

    B_12 = "B.12"
    """BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile."""
    B_10 = "B.10"
    """Non-Downgrading BCP 195 TLS Secure Transport Connection Profile, with finite-field Diffie-Hellman besides."""

    @property
    def ciphers(self) -> tuple[str, ...]:
        """Cipher suites of TLS 1.2, by OpenSSL's names; those of TLS 1.3 are all GCM or ChaCha20 by themselves."""
        return _B_12 + (_B_10 if self is Profile.B_10 else ())


@dataclass(frozen=True)
class TransportSecurity:
    """Files in PEM. `own_certificate` is what the gateway shows when it calls its own port (default: the server's)."""

    port: int
    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificate: ClientCertificate = ClientCertificate.NONE
    profile: Profile = Profile.B_12
    own_certificate: Path | None = None
    own_key: Path | None = None


def transport_security_from(values: Mapping[str, Any], *, place: str) -> TransportSecurity | None:
    """What the section `TLS` says, None where it is absent.

    Raises:
        ConfigurationError: a value that cannot be understood, or a key that is not known, with its place.
    """
    if not values:
        return None
    refuse_unknown_keys(values, TLS_KEYS, place=place)
    authority = _file(values, "client_ca")
    default = ClientCertificate.REQUIRED if authority else ClientCertificate.NONE
    wanted = ClientCertificate(
        choice_of(values, "client_certificate", default, tuple(ClientCertificate), place=place)
    )
    if wanted is not ClientCertificate.NONE and authority is None:
        raise ConfigurationError(
            "is missing",
            place=f"{place}: client_ca",
            remedy="name the CA that signs the callers' certificates",
        )
    files = {key: _file(values, key) for key in ("certificate", "key")}
    for key, path in files.items():
        if path is None:
            raise ConfigurationError("is missing", place=f"{place}: {key}", remedy="name a PEM file")
    certificate, key_file = files["certificate"], files["key"]
    assert certificate is not None and key_file is not None  # noqa: S101, PT018
    profile = Profile(choice_of(values, "profile", Profile.B_12, tuple(Profile), place=place))
    return TransportSecurity(
        port=_port(values.get("port", PORT), f"{place}: port"),
        certificate=certificate,
        key=key_file,
        client_ca=authority,
        client_certificate=wanted,
        profile=profile,
        own_certificate=_file(values, "own_certificate"),
        own_key=_file(values, "own_key"),
    )


def _file(values: Mapping[str, Any], key: str) -> Path | None:
    value = values.get(key)
    return Path(str(value).removeprefix("file:")) if value else None


def _port(value: object, place: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ConfigurationError(f"'{value}' is not a port", place=place, remedy="use 0 to 65535")
