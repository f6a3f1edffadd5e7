"""The site's key pair (Ed25519, RFC 8032): it signs proofs and certificates; the public half is for everybody.

The private half lies beside the keyring, mode 600, and is made on first use; or `FIONA_SIGNING_KEY` gives it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fiona_dagster.adapters.private_files import locked_for_writing, read_private, replace_private
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.signed import canonical, document_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "Ed25519"
FILE_NAME = "signing.pem"
VARIABLE = "FIONA_SIGNING_KEY"
"""`file:/path` of a PEM (PKCS #8, not encrypted) of mode 600, or 64 hexadecimal digits."""
_SEED_BYTES = 32
_WHAT = "the signing key"
Signed = Literal["known", "unknown", "wrong"]
"""Whose signature it is: of the public key that was given, a sound one of another key, or none that fits."""


class SigningKey:
    """The key pair of one site."""

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path, self._given = path, (environment or {}).get(VARIABLE, "").strip()

    @classmethod
    def beside(cls, keyring: Path, environment: Mapping[str, str] | None = None) -> SigningKey:
        """The site's key pair where its keyring lies."""
        return cls(keyring.with_name(FILE_NAME), environment)

    def sign(self, content: dict[str, Any]) -> bytes:
        """The file of the signed document with `content`.

        Raises:
            ConfigurationError: the key cannot be read, or others may read it.
            Transient: another process holds the lock too long.
        """
        private = self._private()
        public = _raw(private)
        signature = {
            "algorithm": ALGORITHM,
            "key_id": public_key_id(public),
            "public_key": base64.b64encode(public).decode(),
            "value": base64.b64encode(private.sign(canonical(content))).decode(),
        }
        return document_bytes(content, signature)

    def public_key(self) -> bytes:
        """The public half, 32 bytes. Raises as `sign`."""
        return _raw(self._private())

    def _private(self) -> Ed25519PrivateKey:
        if self._given:
            return self._from_environment()
        found = read_private(self.path, _WHAT)
        if found is None:
            with locked_for_writing(self.path, _WHAT):
                found = read_private(self.path, _WHAT)
                if found is None:
                    found = _new_pem()
                    replace_private(self.path, found)
        return _from_pem(found, str(self.path))

    def _from_environment(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if self._given.startswith("file:"):
            path = Path(self._given.removeprefix("file:"))
            return _from_pem(read_private(path, _WHAT) or b"", str(path))
        try:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self._given))
        except ValueError:  # the cause may hold the key
            raise ConfigurationError(
                f"{VARIABLE} does not give a key",
                remedy=f"write {2 * _SEED_BYTES} hexadecimal digits, or file:/path of a PEM, mode 600",
            ) from None


def public_key_id(public_key: bytes) -> str:
    """The short name of a public key: the first 16 digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def public_pem(public_key: bytes) -> bytes:
    """A public key as PEM (SubjectPublicKeyInfo), as OpenSSL reads it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public_key(path: Path) -> bytes:
    """The public key in a PEM file.

    Raises:
        ConfigurationError: there is none in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None  # type: ignore[assignment]
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(
            "is not a public key (Ed25519, PEM)",
            place=str(path),
            remedy="ask the site for `fiona keys public`",
        )
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def signed_by(content: dict[str, Any], signature: Mapping[str, str], known: bytes | None = None) -> Signed:
    """Whether `content` was signed, and by the key `known`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = base64.b64decode(signature["public_key"], validate=True)
        value = base64.b64decode(signature["value"], validate=True)
        if signature["algorithm"] != ALGORITHM or signature["key_id"] != public_key_id(public):
            return "wrong"
        Ed25519PublicKey.from_public_bytes(public).verify(value, canonical(content))
    except (InvalidSignature, KeyError, ValueError, binascii.Error):
        return "wrong"
    if known is None:
        return "unknown"
    return "known" if public == known else "wrong"


def _new_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _from_pem(pem: bytes, place: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # type: ignore[assignment]
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            "is not a private key (Ed25519, PKCS #8, PEM, not encrypted)",
            place=place,
            remedy="restore it from the backup, or take it away: a new one signs what comes",
        ) from None
    return key


def _raw(private: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
