from __future__ import annotations

from dataclasses import replace

import pytest

from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    InstanceHeader,
    Peer,
    StoreRequest,
    admit_instance,
    by_preference,
    is_enabled,
    received_instance,
)

HEADER = InstanceHeader("1.2.1", "1.2.2", "1.2.3", "1.2.840.10008.5.1.4.1.1.2")
REQUEST = StoreRequest("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2")


@pytest.mark.parametrize(
    ("control", "enabled"), [(None, True), ("", True), ("101", True), ("0", False), ("011\n", False)]
)
def test_the_first_character_of_the_control_file_decides(control: str | None, enabled: bool) -> None:
    assert is_enabled(control) is enabled


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, Status.SUCCESS),
        ({"sop_class_uid": ""}, Status.SUCCESS),
        ({"study_instance_uid": "1.02.3"}, Status.SUCCESS),
        ({"sop_instance_uid": ""}, Status.CANNOT_UNDERSTAND_NO_SOP_UID),
        ({"study_instance_uid": ""}, Status.CANNOT_UNDERSTAND_NO_STUDY_UID),
        ({"series_instance_uid": ""}, Status.CANNOT_UNDERSTAND_NO_SERIES_UID),
        ({"series_instance_uid": "../x"}, Status.CANNOT_UNDERSTAND_UNSAFE_UID),
        ({"series_instance_uid": "1." * 33 + "1"}, Status.CANNOT_UNDERSTAND_UNSAFE_UID),
        ({"sop_instance_uid": "1.2.4"}, Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
    ],
)
def test_an_instance_is_admitted_by_its_uids(changed: dict[str, str], status: Status) -> None:
    assert admit_instance(replace(HEADER, **changed), REQUEST) is status


def test_the_senders_order_of_transfer_syntaxes_stands_but_private_ones_come_last() -> None:
    proposed = ["1.2.840.113619.5.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"]
    assert by_preference(proposed) == ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1", "1.2.840.113619.5.2"]


def test_a_record_fits_the_ledgers_columns() -> None:
    header = replace(HEADER, modality="X" * 50, study_date="2" * 50, study_time="1" * 50)
    record = received_instance(
        header, REQUEST, site="ABCD", sha256="0" * 64, size_bytes=1, path="p", received_at=1.0,
        peer=Peer("A", "B", "C"), aside=False,
    )  # fmt: skip
    assert (record.modality, len(record.study_date), len(record.study_time)) == ("OT", 16, 32)


def test_our_implementation_names_itself_within_the_standards_limits() -> None:
    assert is_valid_uid(IMPLEMENTATION_CLASS_UID)
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


def test_every_refusal_has_a_reason() -> None:
    assert set(REASONS) == set(Status) - {Status.SUCCESS}


def test_a_peer_in_a_log_is_shown_without_what_could_be_more_than_a_name() -> None:
    assert str(Peer("CT_1", "FIONA", "10.0.0.5")) == "CT_1 calling FIONA from 10.0.0.5"
    assert str(Peer("DOE^J\n 2026", "", "10.0.0.5")) == "DOE?J??2026 calling nobody from 10.0.0.5"
    assert str(Peer("", "", "10.0.0.5")) == "10.0.0.5"
    assert str(Peer("", "", "")) == "an unknown address"
