from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.access import Rejection
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.reception import InstanceHeader, StoreRequest, admit_instance
from fiona_dagster.domain.stow import StowSettings, stow_from
from fiona_dagster.domain.transport_security import ClientCertificate
from fiona_dagster.settings import settings_from

SENDER = {"aetitle": "WEBPACS", "token": "env:TOKEN"}
TLS = {"certificate": "/c.pem", "key": "/k.pem"}


def parsed(**values: Any) -> StowSettings | None:
    return stow_from(values, host="192.0.2.1", ae_title="FIONA", place="config.json: STOW")


def settings(**values: Any) -> StowSettings:
    found = parsed(**values)
    assert found is not None
    return found


def test_without_a_section_there_is_no_door() -> None:
    assert parsed() is None


def test_a_door_behind_a_web_server_listens_on_loopback() -> None:
    found = settings(port=8042, ip="127.0.0.1", senders=[SENDER], request_bytes=5e9)
    assert (found.host, found.port, found.tls, found.request_bytes) == (
        "127.0.0.1",
        8042,
        None,
        5_000_000_000,
    )
    (sender,) = found.senders
    assert (sender.caller.ae_title, sender.called_ae, sender.token) == ("WEBPACS", "FIONA", "env:TOKEN")


def test_a_sender_may_name_the_ae_title_that_routes_it() -> None:
    found = settings(port=8042, senders=[{**SENDER, "called": "PROJ"}], **TLS)
    assert found.senders[0].called_ae == "PROJ"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"port": 8042, **TLS}, "nobody may send"),
        ({"port": 8042, "senders": [SENDER]}, "in clear"),
        ({"port": "8042", "senders": [SENDER], **TLS}, "not a port"),
        ({"senders": [SENDER], **TLS}, "not a port"),
        ({"port": 8042, "senders": [{"aetitle": "WEB"}], **TLS}, "cannot be told from others"),
        (
            {"port": 8042, "senders": [{"aetitle": "WEB", "token": "hunter2"}], **TLS},
            "not a secret reference",
        ),
        ({"port": 8042, "senders": [{**SENDER, "aetitle": "WEB*"}], **TLS}, "of one sender"),
        ({"port": 8042, "senders": [{**SENDER, "aetitle": ""}], **TLS}, "AE title"),
        ({"port": 8042, "senders": [{**SENDER, "addresses": ["ten"]}], **TLS}, "network"),
        ({"port": 8042, "senders": [{"aetitle": "WEB", "certificate": "web"}], **TLS}, "nobody is asked"),
        ({"port": 8042, "senders": [SENDER], "certificate": "/c.pem"}, "is missing"),
        (
            {"port": 8042, "senders": [SENDER], "clientca": "/ca.pem", **TLS},
            "'clientca' .* did you mean client_ca",
        ),
        (
            {"port": 8042, "senders": [{**SENDER, "adresses": ["10.0.0.5"]}], **TLS},
            "'adresses' .* mean addresses",
        ),
    ],
)
def test_a_door_that_is_not_safe_does_not_load(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        parsed(**values)
    assert "hunter2" not in str(caught.value)


def test_the_whole_configuration_gives_the_site_its_door() -> None:
    stow = {"port": 0, "ip": "127.0.0.1", "senders": [SENDER]}
    found = settings_from({"STOW": stow, "DICOMAETITLE": "SITE"}, place="config.json", environment={})
    assert found.default_site.stow is not None
    assert found.default_site.stow.senders[0].called_ae == "SITE"


def test_certificates_are_a_must_only_where_every_sender_has_one() -> None:
    by_name = {"aetitle": "WEB", "certificate": "web.example"}
    alone = settings(port=1, senders=[by_name], client_ca="/ca.pem", **TLS).tls
    mixed = settings(port=1, senders=[by_name, SENDER], client_ca="/ca.pem", **TLS).tls
    assert alone is not None
    assert mixed is not None
    assert alone.client_certificate is ClientCertificate.REQUIRED
    assert mixed.client_certificate is ClientCertificate.OPTIONAL


@pytest.mark.parametrize(
    ("address", "names", "is_tls", "rejection"),
    [
        ("10.1.2.3", {"web.example"}, True, None),
        ("::ffff:10.1.2.3", {"web.example"}, True, None),
        ("10.2.0.1", {"web.example"}, True, Rejection.ADDRESS),
        ("no address", {"web.example"}, True, Rejection.ADDRESS),
        ("10.1.2.3", {"other.example"}, True, Rejection.CERTIFICATE),
        ("10.1.2.3", set(), False, Rejection.INSECURE),
    ],
)
def test_a_sender_is_known_by_address_and_certificate(
    address: str, names: set[str], is_tls: bool, rejection: Rejection | None
) -> None:
    one = {"aetitle": "WEB", "certificate": "Web.Example", "addresses": ["10.1.0.0/16"]}
    (sender,) = settings(port=1, senders=[one], client_ca="/ca.pem", **TLS).senders
    assert sender.admits(address, frozenset(names), is_tls=is_tls) is rejection


def test_a_request_for_one_study_takes_no_other() -> None:
    header = InstanceHeader("1.2", "1.2.3", "1.2.3.4", "1.2.840.10008.5.1.4.1.1.2")
    for study, status in (
        ("", Status.SUCCESS),
        ("1.2", Status.SUCCESS),
        ("1.3", Status.CANNOT_UNDERSTAND_OTHER_STUDY),
    ):
        request = StoreRequest(header.sop_class_uid, header.sop_instance_uid, "1.2.840.10008.1.2.1", study)
        assert admit_instance(header, request) is status
