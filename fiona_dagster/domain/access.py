"""Who may open an Association, as whom, from where, and for what. Section `ACCESS` of a site in config.json."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from fiona_dagster.domain.configuration_values import (
    choice_of,
    flag_of,
    objects_of,
    refuse_unknown_keys,
    texts_of,
)
from fiona_dagster.domain.errors import ConfigurationError

ACCESS_KEYS = frozenset({"callers", "called"})
CALLER_KEYS = frozenset({"aetitle", "addresses", "services", "tls", "certificate"})

_VERIFICATION = "1.2.840.10008.1.1"
_COMMITMENT = "1.2.840.10008.1.20.1"
_PROCEDURE_STEPS = "1.2.840.10008.3.1.2.3."
_QUERIES = ("1.2.840.10008.5.1.4.1.2.", "1.2.840.10008.5.1.4.31")  # Query/Retrieve, Modality Worklist (PS3.4)
_LONGEST_AE_TITLE = 16

Network = IPv4Network | IPv6Network


class Service(StrEnum):
    """What a peer may ask for; C-ECHO is for everybody who may call at all."""

    VERIFICATION = "verification"
    STORAGE = "storage"
    QUERY = "query"
    COMMITMENT = "commitment"
    PROCEDURE_STEP = "procedure-step"


ALL_SERVICES = frozenset(Service)


class Rejection(Enum):
    """Why an Association is rejected: result, source and diagnostic of PS3.8 table 9-21, and words for the ledger."""

    CALLING_AE_TITLE = (1, 1, 3, "the calling AE title is not on the list")
    CALLED_AE_TITLE = (1, 1, 7, "the called AE title is not one of ours")
    ADDRESS = (1, 1, 3, "the calling AE title does not belong to this address")
    INSECURE = (1, 1, 1, "the calling AE title must come by TLS")
    CERTIFICATE = (1, 1, 3, "the calling AE title does not belong to this certificate")
    SERVICES = (1, 1, 1, "nothing that was proposed is permitted to this caller")
    SWITCHED_OFF = (2, 3, 1, "the receiver is switched off")
    TOO_MANY = (2, 3, 2, "as many Associations are open as may be")
    TOO_MANY_OF_PEER = (2, 3, 2, "as many Associations of this peer are open as may be")

    @property
    def codes(self) -> tuple[int, int, int]:
        """Result, source and diagnostic."""
        return self.value[:3]

    @property
    def reason(self) -> str:
        """What the ledger says; it names no peer."""
        return self.value[3]


@dataclass(frozen=True)
class Caller:
    """One line of the list. `ae_title` may end in `*`; no `networks`: from anywhere; `certificate`: a name in it."""

    ae_title: str
    networks: tuple[Network, ...] = ()
    services: frozenset[Service] = ALL_SERVICES
    tls: bool = False
    certificate: str = ""

    def is_called(self, ae_title: str) -> bool:
        """Whether this line speaks of `ae_title`."""
        return _matches(self.ae_title, ae_title)


@dataclass(frozen=True)
class AccessRules:
    """No `callers`: everybody; no `called`: any AE title may be called, for it carries routing intent (FIONA's
    `--promiscuous`)."""

    callers: tuple[Caller, ...] = ()
    called: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """Who calls whom. `names` of the verified certificate; `from_here`: from this machine itself; `is_own`: with a pass
    that only the gateway's user can make."""

    calling_ae: str
    called_ae: str
    address: str
    is_tls: bool = False
    names: frozenset[str] = frozenset()
    from_here: bool = False
    is_own: bool = False


def service_of(abstract_syntax_uid: str) -> Service:
    """The service that a Presentation Context is for; whatever is nothing else is storage, private classes too."""
    if abstract_syntax_uid == _VERIFICATION:
        return Service.VERIFICATION
    if abstract_syntax_uid == _COMMITMENT:
        return Service.COMMITMENT
    if abstract_syntax_uid.startswith(_PROCEDURE_STEPS):
        return Service.PROCEDURE_STEP
    if abstract_syntax_uid.startswith(_QUERIES):
        return Service.QUERY
    return Service.STORAGE


def admit_call(
    rules: AccessRules, call: Call, proposed: Collection[Service]
) -> frozenset[Service] | Rejection:
    """The services that a caller may use, or why it is rejected.

    The machine itself may always ask by C-ECHO whether its receiver answers: that is the gateway's own heartbeat. The
    gateway itself may send again what others sent, under their AE titles and from here: it shows a pass instead.
    """
    if call.from_here and set(proposed) <= {Service.VERIFICATION}:
        return frozenset({Service.VERIFICATION})
    if rules.called and not any(_matches(one, call.called_ae) for one in rules.called):
        return Rejection.CALLED_AE_TITLE
    if not rules.callers:
        return ALL_SERVICES
    if call.from_here and call.is_own:
        own = frozenset({Service.VERIFICATION, Service.STORAGE})
        return own if own.intersection(proposed) else Rejection.SERVICES
    lines = [one for one in rules.callers if one.is_called(call.calling_ae)]
    for wrong, fits in (
        (Rejection.CALLING_AE_TITLE, lambda _: True),
        (Rejection.ADDRESS, lambda one: _is_within(call.address, one.networks)),
        (Rejection.INSECURE, lambda one: call.is_tls or not (one.tls or one.certificate)),
        (Rejection.CERTIFICATE, lambda one: not one.certificate or one.certificate.lower() in call.names),
    ):
        lines = [one for one in lines if fits(one)]
        if not lines:
            return wrong
    permitted = frozenset({Service.VERIFICATION}).union(*(one.services for one in lines))
    return permitted if permitted.intersection(proposed) else Rejection.SERVICES


def certificate_names(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Common names and DNS names of a verified certificate as Python's `ssl` shows it, in lower case."""
    if not certificate:
        return frozenset()
    subject: Iterable[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    names = {value for part in subject for key, value in part if key == "commonName"}
    names |= {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return frozenset(name.lower() for name in names)


def access_from(values: Mapping[str, Any], *, place: str) -> AccessRules:
    """Rules from the section `ACCESS`.

    Raises:
        ConfigurationError: a value that cannot be understood, or a key that is not known, with its place.
    """
    refuse_unknown_keys(values, ACCESS_KEYS, place=place)
    callers = []
    for number, one in enumerate(objects_of(values, "callers", place=place), 1):
        where = f"{place}: callers[{number}]"
        refuse_unknown_keys(one, CALLER_KEYS, place=where)
        callers.append(_caller(one, where))
    _refuse_blank(values, "called", place)
    if "callers" in values and not callers:
        raise ConfigurationError(
            "the list is empty: nobody could call",
            place=f"{place}: callers",
            remedy="name callers, or leave it out",
        )
    called = tuple(_ae_title(one, f"{place}: called") for one in texts_of(values, "called", place=place))
    return AccessRules(tuple(callers), called)


def _caller(values: Mapping[str, Any], place: str) -> Caller:
    for key in ("services", "addresses", "certificate"):
        _refuse_blank(values, key, place)
    services = texts_of(values, "services", place=place)
    for one in services:
        choice_of({"services": one}, "services", "", tuple(Service), place=place)
    return Caller(
        ae_title=_ae_title(str(values.get("aetitle") or ""), f"{place}: aetitle"),
        networks=tuple(
            _network(one, f"{place}: addresses") for one in texts_of(values, "addresses", place=place)
        ),
        services=frozenset(Service(one) for one in services) or ALL_SERVICES,
        tls=flag_of(values, "tls", place=place),
        certificate=str(values.get("certificate") or ""),
    )


def _refuse_blank(values: Mapping[str, Any], key: str, place: str) -> None:
    """An empty list would restrict nothing, and reads as if it permitted nothing."""
    if key in values and values[key] in ([], "", None):
        raise ConfigurationError(
            "is empty", place=f"{place}: {key}", remedy="name something, or leave it out"
        )


def _network(text: str, place: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigurationError(
            f"'{text}' is neither an address nor a network",
            place=place,
            remedy="e.g. 10.0.0.5 or 10.0.0.0/24",
        ) from None


def _ae_title(text: str, place: str) -> str:
    title = text.strip()
    if (
        not title
        or len(title.removesuffix("*")) > _LONGEST_AE_TITLE
        or "\\" in title
        or not title.isprintable()
    ):
        raise ConfigurationError(
            f"'{title}' cannot be an AE title",
            place=place,
            remedy="1 to 16 characters; a * at its end stands for any",
        )
    return title


def _matches(pattern: str, ae_title: str) -> bool:
    title = ae_title.strip()
    return title.startswith(pattern[:-1]) if pattern.endswith("*") else title == pattern


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    if not networks:
        return True
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in one for one in networks)
