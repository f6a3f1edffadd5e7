"""Who may store over the web, and how much: section `STOW` of a site in config.json (PS3.18 section 10.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from fiona_dagster.domain.access import AccessRules, Call, Caller, Rejection, Service, access_from, admit_call
from fiona_dagster.domain.configuration_values import number_of, objects_of, refuse_unknown_keys
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.transport_security import (
    TLS_KEYS,
    ClientCertificate,
    TransportSecurity,
    transport_security_from,
)

STOW_KEYS = frozenset({"ip", "senders", "request_bytes", *TLS_KEYS}) - {"own_certificate", "own_key"}
SENDER_KEYS = frozenset({"aetitle", "called", "token", "certificate", "addresses"})
REQUEST_BYTES = 64_000_000_000

_CALLER_KEYS = ("aetitle", "addresses", "certificate")


@dataclass(frozen=True)
class StowSender:
    """One who may store. Its instances are recorded and routed as if `caller` had called `called_ae`.

    It is known by a bearer token, of which `token` is the secret reference, by a name in its verified certificate
    (`caller.certificate`), or by both where both are named.
    """

    caller: Caller
    called_ae: str
    token: str = ""

    def admits(self, address: str, names: frozenset[str], *, is_tls: bool) -> Rejection | None:
        """Why a connection from `address` with `names` in its certificate is none of its own; None: it is."""
        call = Call(self.caller.ae_title, self.called_ae, address, is_tls=is_tls, names=names)
        found = admit_call(AccessRules((self.caller,)), call, {Service.STORAGE})
        return found if isinstance(found, Rejection) else None


@dataclass(frozen=True)
class StowSettings:
    """The door for STOW-RS; without `tls` on loopback only, behind a server that speaks it."""

    host: str
    port: int
    senders: tuple[StowSender, ...]
    tls: TransportSecurity | None = None
    request_bytes: int = REQUEST_BYTES


def stow_from(values: Mapping[str, Any], *, host: str, ae_title: str, place: str) -> StowSettings | None:
    """The door that `values` describe, None where there is none.

    `host` and `ae_title` are the site's own, for what `values` do not name.

    Raises:
        ConfigurationError: a value that cannot be understood, a key that is not known, nobody who may send, or a door
            that is not safe.
    """
    if not values:
        return None
    refuse_unknown_keys(values, STOW_KEYS, place=place)
    senders = []
    for number, one in enumerate(objects_of(values, "senders", place=place), 1):
        where = f"{place}: senders[{number}]"
        refuse_unknown_keys(one, SENDER_KEYS, place=where)
        senders.append(_sender(one, ae_title, where))
    if not senders:
        raise ConfigurationError("nobody may send", place=place, remedy="name senders, or take STOW away")
    settings = StowSettings(
        host=str(values.get("ip") or host),
        port=_port(values.get("port"), place),
        senders=tuple(senders),
        tls=_tls(values, senders, place),
        request_bytes=int(number_of(values, "request_bytes", REQUEST_BYTES, place=place)),
    )
    if settings.tls is None and not _is_loopback(settings.host):
        raise ConfigurationError(
            "patient data and tokens would cross the network in clear",
            place=place,
            remedy="name certificate and key, or the ip 127.0.0.1 behind a server that speaks TLS",
        )
    return settings


def _tls(values: Mapping[str, Any], senders: list[StowSender], place: str) -> TransportSecurity | None:
    """TLS as the section `TLS` of a site has it; certificates of clients are a must where every sender needs one."""
    by_certificate = [bool(one.caller.certificate) for one in senders]
    chosen = {name: values[name] for name in TLS_KEYS - {"port"} if name in values}
    if any(by_certificate) and not chosen.get("client_ca"):
        raise ConfigurationError(
            "a sender is known by its certificate, and nobody is asked for one",
            place=place,
            remedy="name client_ca, the CA that signs the senders' certificates",
        )
    if chosen.get("client_ca") and not all(by_certificate):
        chosen.setdefault("client_certificate", ClientCertificate.OPTIONAL)
    if chosen:
        chosen["port"] = _port(values.get("port"), place)
    return transport_security_from(chosen, place=place)


def _sender(values: Mapping[str, Any], ae_title: str, place: str) -> StowSender:
    token = str(values.get("token") or "")
    chosen = {name: values[name] for name in _CALLER_KEYS if name in values}
    rules = access_from({"callers": [chosen], "called": [str(values.get("called") or ae_title)]}, place=place)
    caller, called = rules.callers[0], rules.called[0]
    if caller.ae_title.endswith("*") or called.endswith("*"):
        raise ConfigurationError(
            "aetitle and called are names of one sender", place=place, remedy="write them without *"
        )
    if not token and not caller.certificate:
        raise ConfigurationError(
            "a sender that cannot be told from others",
            place=place,
            remedy="name token (a secret reference) or certificate (a name in it)",
        )
    if token and not token.startswith(("env:", "file:")):
        raise ConfigurationError(
            "token is not a secret reference", place=place, remedy="write env:NAME or file:/path"
        )
    return StowSender(caller, called, token)


def _port(value: object, place: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ConfigurationError(f"'{value}' is not a port", place=f"{place}: port", remedy="use 0 to 65535")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
