"""Who may store over the web: senders known by a token (RFC 6750), by their certificate, or by both."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from fiona_dagster.domain.access import Rejection
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.stow import StowSender, StowSettings

SHORTEST_TOKEN = 16

_BEARER = "bearer "


class Denied(Exception):
    """Nobody we know (401), or not from where they may come from (403)."""

    def __init__(self, status: int, reason: str, ae_title: str = "") -> None:
        self.status, self.reason, self.ae_title = status, reason, ae_title
        super().__init__(reason)


@dataclass(frozen=True)
class StowAccess:
    """The senders, each with the SHA-256 of its token (empty: it needs none); tokens themselves are not kept."""

    senders: tuple[tuple[StowSender, bytes], ...] = field(repr=False)

    @classmethod
    def of(cls, settings: StowSettings, secret: Callable[[str], str]) -> StowAccess:
        """`secret` follows a reference.

        Raises:
            ConfigurationError: a token that is missing or can be guessed.
        """
        found = []
        for sender in settings.senders:
            token = _token(sender, secret)
            if sender.token and len(token) < SHORTEST_TOKEN:
                raise ConfigurationError(
                    f"the token of {sender.caller.ae_title} is too short",
                    place=sender.token,
                    remedy=f"use at least {SHORTEST_TOKEN} characters, e.g. of: openssl rand -hex 32",
                )
            found.append((sender, _digest(token) if token else b""))
        return cls(tuple(found))

    def sender(self, authorization: str, address: str, names: frozenset[str], *, is_tls: bool) -> StowSender:
        """Who sends, by the request's Authorization field and the `names` in the connection's verified certificate.

        Raises:
            Denied: nobody who may.
        """
        bearer = authorization[: len(_BEARER)].lower() == _BEARER
        digest = _digest(authorization[len(_BEARER) :].strip()) if bearer else b"-"
        elsewhere = ""
        found = None
        for sender, expected in self.senders:  # all of them, so that time tells nothing
            is_known = not expected or hmac.compare_digest(digest, expected)
            rejection = sender.admits(address, names, is_tls=is_tls)
            if is_known and rejection is None:
                found = found or sender
            has_shown = expected or sender.caller.certificate.lower() in names
            if is_known and has_shown and rejection is Rejection.ADDRESS:
                elsewhere = elsewhere or sender.caller.ae_title
        if found is not None:
            return found
        if elsewhere:
            raise Denied(403, Rejection.ADDRESS.reason, elsewhere)
        raise Denied(401, "no sender is known by these credentials")


def _token(sender: StowSender, secret: Callable[[str], str]) -> str:
    try:
        return secret(sender.token) if sender.token else ""
    except ConfigurationError as error:
        place = f"STOW: senders: {sender.caller.ae_title}: token"
        raise ConfigurationError(error.problem, place=place, remedy=error.remedy) from error


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
