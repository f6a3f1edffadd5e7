"""Who may open an Association: every branch of the decision, and every value that is not understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fiona_dagster.domain.access import (
    ALL_SERVICES,
    AccessRules,
    Call,
    Rejection,
    Service,
    access_from,
    admit_call,
    certificate_names,
    service_of,
)
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.limits import Allowance, Limits, limits_from
from fiona_dagster.domain.receiver import receiver_from, shared_port
from fiona_dagster.domain.transport_security import ClientCertificate, Profile

CALL = Call("CT1", "FIONA", "10.0.0.7")
STORAGE = {Service.STORAGE}


def rules(**values: Any) -> AccessRules:
    return access_from(values, place="p")


LIST = rules(
    callers=[
        {"aetitle": "CT*", "addresses": ["10.0.0.0/24", "fd00::/8"], "services": ["storage"]},
        {"aetitle": "CT1", "addresses": ["10.0.0.7"], "services": ["commitment"]},
        {"aetitle": "SAFE", "tls": True},
        {"aetitle": "KNOWN", "certificate": "ct1.Hospital.example"},
    ]
)


@pytest.mark.parametrize(
    ("call", "proposed", "verdict"),
    [
        (CALL, STORAGE, {Service.VERIFICATION, Service.STORAGE, Service.COMMITMENT}),
        (replace(CALL, calling_ae="CT2"), STORAGE, {Service.VERIFICATION, Service.STORAGE}),
        (
            replace(CALL, calling_ae="CT2", address="fd00::1"),
            STORAGE,
            {Service.VERIFICATION, Service.STORAGE},
        ),
        (replace(CALL, address="::ffff:10.0.0.9"), STORAGE, {Service.VERIFICATION, Service.STORAGE}),
        (replace(CALL, calling_ae="MR1"), STORAGE, Rejection.CALLING_AE_TITLE),
        (replace(CALL, calling_ae="ct1"), STORAGE, Rejection.CALLING_AE_TITLE),
        (replace(CALL, address="10.0.1.7"), STORAGE, Rejection.ADDRESS),
        (replace(CALL, address="nowhere"), STORAGE, Rejection.ADDRESS),
        (replace(CALL, calling_ae="CT2"), {Service.QUERY}, Rejection.SERVICES),
        (replace(CALL, calling_ae="SAFE"), STORAGE, Rejection.INSECURE),
        (replace(CALL, calling_ae="SAFE", is_tls=True), STORAGE, ALL_SERVICES),
        (replace(CALL, calling_ae="KNOWN"), STORAGE, Rejection.INSECURE),
        (replace(CALL, calling_ae="KNOWN", is_tls=True), STORAGE, Rejection.CERTIFICATE),
        (
            replace(CALL, calling_ae="KNOWN", is_tls=True, names=frozenset({"ct1.hospital.example"})),
            STORAGE,
            ALL_SERVICES,
        ),
        (
            replace(CALL, calling_ae="HEARTBEAT", from_here=True),
            {Service.VERIFICATION},
            {Service.VERIFICATION},
        ),
        (replace(CALL, calling_ae="HEARTBEAT", from_here=True), STORAGE, Rejection.CALLING_AE_TITLE),
        (
            replace(CALL, calling_ae="ANY", from_here=True, is_own=True),
            STORAGE,
            {Service.VERIFICATION, Service.STORAGE},
        ),
        (replace(CALL, calling_ae="ANY", from_here=True, is_own=True), {Service.QUERY}, Rejection.SERVICES),
        (replace(CALL, calling_ae="ANY", is_own=True), STORAGE, Rejection.CALLING_AE_TITLE),
    ],
)
def test_a_caller_is_judged_by_title_address_certificate_and_what_it_asks_for(
    call: Call, proposed: set[Service], verdict: object
) -> None:
    assert admit_call(LIST, call, proposed) == verdict


def test_without_rules_everybody_may_call_any_title() -> None:
    assert admit_call(AccessRules(), replace(CALL, called_ae="PROJECT7"), STORAGE) == ALL_SERVICES


def test_the_called_titles_can_be_limited() -> None:
    limited = rules(called=["FIONA", "PROJ*"])
    assert admit_call(limited, CALL, STORAGE) == ALL_SERVICES
    assert admit_call(limited, replace(CALL, called_ae="PROJECT7"), STORAGE) == ALL_SERVICES
    assert admit_call(limited, replace(CALL, called_ae="ANY-SCP"), STORAGE) is Rejection.CALLED_AE_TITLE


@pytest.mark.parametrize(
    ("uid", "service"),
    [
        ("1.2.840.10008.1.1", Service.VERIFICATION),
        ("1.2.840.10008.1.20.1", Service.COMMITMENT),
        ("1.2.840.10008.3.1.2.3.3", Service.PROCEDURE_STEP),
        ("1.2.840.10008.5.1.4.1.2.2.1", Service.QUERY),
        ("1.2.840.10008.5.1.4.31", Service.QUERY),
        ("1.2.840.10008.5.1.4.1.1.2", Service.STORAGE),
        ("1.3.12.2.1107.5.9.1", Service.STORAGE),
    ],
)
def test_a_presentation_context_is_for_one_service(uid: str, service: Service) -> None:
    assert service_of(uid) is service


def test_names_of_a_certificate_are_its_common_and_dns_names() -> None:
    certificate = {
        "subject": ((("countryName", "NO"),), (("commonName", "CT1"),)),
        "subjectAltName": (("DNS", "ct1.Hospital.example"), ("IP Address", "10.0.0.7")),
    }
    assert certificate_names(certificate) == {"ct1", "ct1.hospital.example"}
    assert certificate_names({}) == certificate_names(None) == frozenset()


TLS = {"certificate": "/c.pem", "key": "/k.pem"}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"ACCESS": []}, "c: ACCESS"),
        ({"ACCESS": {"callers": []}}, "c: ACCESS: callers"),
        ({"ACCESS": {"callers": [{}]}}, "c: ACCESS: callers[1]: aetitle"),
        ({"ACCESS": {"callers": [{"aetitle": "A" * 17}]}}, "c: ACCESS: callers[1]: aetitle"),
        (
            {"ACCESS": {"callers": [{"aetitle": "A", "addresses": ["10.0.0.1/24"]}]}},
            "c: ACCESS: callers[1]: addresses",
        ),
        (
            {"ACCESS": {"callers": [{"aetitle": "A", "addresses": "10.0.0.1"}]}},
            "c: ACCESS: callers[1]: addresses",
        ),
        (
            {"ACCESS": {"callers": [{"aetitle": "A", "services": ["store"]}]}},
            "c: ACCESS: callers[1]: services",
        ),
        ({"ACCESS": {"callers": [{"aetitle": "A", "services": []}]}}, "c: ACCESS: callers[1]: services"),
        ({"ACCESS": {"callers": [{"aetitle": "A", "addresses": []}]}}, "c: ACCESS: callers[1]: addresses"),
        (
            {"ACCESS": {"callers": [{"aetitle": "A", "certificate": ""}]}},
            "c: ACCESS: callers[1]: certificate",
        ),
        ({"ACCESS": {"called": []}}, "c: ACCESS: called"),
        ({"LIMITS": {"associations_per_peer": 0.5}}, "c: LIMITS: associations_per_peer"),
        ({"ACCESS": {"callers": [{"aetitle": "A", "tls": "yes"}]}}, "c: ACCESS: callers[1]: tls"),
        ({"ACCESS": {"callers": [{"aetitle": "A", "tls": True}]}}, "c: ACCESS"),
        ({"ACCESS": {"callers": [{"aetitle": "A", "certificate": "a"}]}, "TLS": TLS}, "c: ACCESS"),
        ({"LIMITS": {"associations": 0}}, "c: LIMITS: associations"),
        ({"LIMITS": {"pdu_bytes": 1000}}, "c: LIMITS: pdu_bytes"),
        ({"LIMITS": {"idle_seconds": 0}}, "c: LIMITS: idle_seconds"),
        ({"LIMITS": {"disk_free_percent": 101}}, "c: LIMITS: disk_free_percent"),
        ({"TLS": {"certificate": "/c.pem"}}, "c: TLS: key"),
        ({"TLS": {**TLS, "client_certificate": "required"}}, "c: TLS: client_ca"),
        ({"TLS": {**TLS, "profile": "B.1"}}, "c: TLS: profile"),
        ({"TLS": {**TLS, "port": "2762"}}, "c: TLS: port"),
        ({"WORKERS": 0}, "c: WORKERS"),
        ({"DATAPHASE": "fast"}, "c: DATAPHASE"),
    ],
)
def test_what_cannot_be_understood_does_not_load_and_is_named(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        receiver_from(values, place="c")
    assert raised.value.place == place
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"ACCESS": {"caller": []}}, "c: ACCESS: the key 'caller' is not known, did you mean callers"),
        ({"LIMITS": {"asociations": 3}}, "c: LIMITS: the key 'asociations' .* did you mean associations"),
        ({"TLS": {**TLS, "ca": "/ca.pem"}}, "c: TLS: the key 'ca'"),
    ],
)
def test_a_key_that_nothing_reads_does_not_leave_open_what_it_should_close(
    values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        receiver_from(values, place="c")


def test_a_client_ca_asks_for_certificates() -> None:
    tls = receiver_from({"TLS": {**TLS, "client_ca": "/ca.pem", "profile": "B.10"}}, place="c").tls
    assert tls is not None
    assert tls.client_certificate is ClientCertificate.REQUIRED
    assert tls.profile is Profile.B_10
    assert any(name.startswith("DHE-") for name in tls.profile.ciphers)
    assert not any(name.startswith("DHE-") for name in Profile.B_12.ciphers)


def test_no_two_doors_share_a_port() -> None:
    assert shared_port([("A", "h", 1), ("A", "h", 2), ("B", "h", 0), ("B", "h", 0), ("C", "g", 1)]) == ""
    assert shared_port([("A", "h", 1), ("A", "h", 1)]) == "two doors of site A have port 1"
    assert shared_port([("A", "h", 1), ("B", "h", 1)]) == "sites A and B share port 1"


def test_a_disk_has_room_above_both_limits() -> None:
    limits = limits_from({"disk_free_bytes": 100, "disk_free_percent": 10}, place="p")
    assert limits.has_room(100, 1000)
    assert not limits.has_room(99, 100)
    assert not limits.has_room(100, 1001)
    assert Limits(disk_free_bytes=0).has_room(0, 0)


def test_a_rate_is_kept_and_a_burst_is_free() -> None:
    rate = Allowance(per_second=10.0, burst_seconds=2.0)
    assert rate.take(20, now=100.0) == 0.0
    assert rate.take(10, now=100.0) == pytest.approx(1.0)
    assert rate.take(10, now=101.0) == pytest.approx(1.0)
    assert rate.take(20, now=200.0) == 0.0, "rest gives back the burst, no more"
    assert rate.take(1, now=200.0) == pytest.approx(0.1)
    assert Allowance(per_second=0.0).take(1e12, now=0.0) == 0.0
