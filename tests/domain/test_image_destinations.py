from __future__ import annotations

from typing import Any

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.image_destinations import (
    Confirm,
    ImageDestination,
    image_destination_from_fields,
    is_image_destination,
)
from fiona_dagster.domain.outgoing_security import outgoing_security_from
from fiona_dagster.domain.project import project_from_fields


def read(**fields: Any) -> ImageDestination:
    return image_destination_from_fields({"dest_name": "lab", **fields}, place="p")


def test_dicom_with_and_without_tls_and_by_the_fields_of_the_form() -> None:
    plain = read(dest_url="dicom://RESEARCH%20PACS@pacs.example:11112?associations=4&confirm=query")
    assert plain == ImageDestination(
        "lab", "dicom", "RESEARCH PACS", "pacs.example", 11112, associations=4, confirm=Confirm.QUERY
    )
    assert plain.address == "RESEARCH PACS@pacs.example:11112"
    assert read(dest_url="dicoms://A@h:2762").tls
    by_fields = {"dest_type": "1", "dest_aetitle": "A", "dest_host": "h", "dest_port": "105", "dest_tls": "1"}
    assert is_image_destination(by_fields)
    assert read(**by_fields) == ImageDestination("lab", "dicom", "A", "h", 105, tls=True)


def test_the_web_has_a_user_and_a_secret_only_over_tls() -> None:
    web = read(dest_url="https://ann@pacs.example/dicom-web/", dest_secret_ref="env:TOKEN")
    assert (web.url, web.user, web.secret_ref) == ("https://pacs.example/dicom-web", "ann", "env:TOKEN")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dest_url": "dicom://h:104"}, "no usable AE title"),
        ({"dest_url": "dicom://A@h:99999"}, "no usable dest_url"),
        ({"dest_url": "dicom://A@h:104?confirm=maybe"}, "none of the choices"),
        ({"dest_url": "dicom://A@h:104?assoc=2"}, "which is not known"),
        ({"dest_url": "dicom://A@h:104?associations=99"}, "number of Associations"),
        ({"dest_url": "https://ann:pass@h/x"}, "password in its dest_url"),
        ({"dest_url": "http://h/x", "dest_secret_ref": "env:T"}, "without TLS"),
        ({"dest_url": "https://h/x?confirm=commitment"}, "Storage Commitment"),
        ({"dest_type": "2"}, "no dest_name or no dest_url"),
        ({"dest_url": "https://h/" + "x" * 120}, "more than 120"),
    ],
)
def test_what_cannot_be_understood_does_not_load(fields: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read(**fields)


def test_a_project_keeps_archives_and_places_of_packages_apart_and_leaves_out_what_is_not_in_use() -> None:
    rows = [
        {"dest_name": "pacs", "dest_url": "dicom://A@h:104"},
        {"dest_name": "server", "dest_url": "sftp://u@h/in"},
        {"dest_name": "old", "dest_url": "dicom://B@h:104", "dest_active": "0"},
    ]
    project = project_from_fields({"project_name": "HEART"}, rows, place="p")
    assert [one.name for one in project.image_destinations] == ["pacs"]
    assert [one.name for one in project.destinations] == ["server"]


def test_certificate_and_key_of_what_we_call_belong_together() -> None:
    with pytest.raises(ConfigurationError, match="belong together"):
        outgoing_security_from({"certificate": "/c"}, place="p")
    security, unknown = outgoing_security_from({"ca": "file:/ca.pem", "caa": 1}, place="p")
    assert (str(security.ca), len(unknown), security.check_name) == ("/ca.pem", 1, True)
