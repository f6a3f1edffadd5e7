from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.dictionaries import form_columns, role_dictionary
from fiona_dagster.domain.registration import (
    SERIES,
    STUDIES,
    TRANSFER_SOURCES,
    TRANSFERS,
    StudyRegistration,
    TransferRow,
    TransferStatus,
    fiona_date,
    fiona_time,
    incoming_rows,
    is_pending,
    patient_hash,
    transfer_fields,
)

SERIES_ONE = ClassifiedSeries(
    "1.2.1",
    "MR",
    ("T1", "axial"),
    176,
    "2",
    " t1\x00 mprage ",
    "2026.01.02",
    "10:11:12.500",
    "tfl",
    "BRAIN",
    999,
)
STUDY = StudyRegistration(
    study_instance_uid="1.2", institution="Ward", sender_ae_title="MR1", addressed_ae_title="FIONA",
    patient_name_hash="n" * 64, patient_id_hash="i" * 64, description="Caput", study_date="20260102",
    study_time="101112", accession_number="A1", arrival_date="2026-01-02 10:20", series=(SERIES_ONE,),
)  # fmt: skip
ROW = TransferRow("1.2", "BRAIN1", "B001", "", "key", TransferStatus.REQUESTED)


def columns(form: str) -> set[str]:
    return {*form_columns(role_dictionary("Incoming"), form), f"{form}_complete"}


def test_a_patient_is_a_keyed_hash_of_64_digits() -> None:
    wanted = hmac.new(b"key", b"10106112345", hashlib.sha256).hexdigest()
    assert patient_hash("10106112345 ", b"key") == patient_hash("10106112345\x00", b"key") == wanted
    assert patient_hash("10106112345", b"other") != wanted
    assert wanted != hashlib.sha256(b"10106112345").hexdigest()


def test_no_id_is_nobody() -> None:
    assert patient_hash("  ", b"key") == ""


def test_rows_have_only_names_of_the_dictionary() -> None:
    base, series = incoming_rows(STUDY)
    assert set(base) - {"study_instance_uid"} <= columns(STUDIES)
    assert set(series[0]) - {"study_instance_uid", "redcap_repeat_instrument"} <= columns(SERIES)
    done = replace(
        ROW, transfer_date="2026-01-02 10:31", requested_date="x", requested_by="x", source="assign", rule="x",
        mapped_uid="x", active_seconds=1, profile="x", num_files=1, run_id="x", attempts=1,
    )  # fmt: skip
    assert set(transfer_fields(done)) <= columns(TRANSFERS)


def test_a_series_row_has_fionas_values() -> None:
    base, (row,) = incoming_rows(STUDY)
    assert row == {
        "study_instance_uid": "1.2", "redcap_repeat_instrument": "series", "series_instance_uid": "1.2.1",
        "series_description": "t1  mprage", "series_date": "20260102", "series_time": "101112",
        "series_num_files": "176", "series_sequence_name": "tfl", "series_classify_types": '["T1", "axial"]',
        "series_number": "2", "series_modality": "MR", "series_body_part": "BRAIN", "series_bytes": "999",
        "series_complete": "2",
    }  # fmt: skip
    assert (base["study_num_series"], base["study_num_files"], base["study_modalities"]) == ("1", "176", "MR")


def test_equal_studies_make_equal_rows_whatever_the_order() -> None:
    other = replace(SERIES_ONE, series_instance_uid="1.2.0", series_number="10", modality="SR")
    forth = incoming_rows(replace(STUDY, series=(SERIES_ONE, other)))
    assert forth == incoming_rows(replace(STUDY, series=(other, SERIES_ONE)))
    assert [row["series_number"] for row in forth[1]] == ["2", "10"]
    assert forth[0]["study_modalities"] == "MR\\SR"


@pytest.mark.parametrize(
    ("value", "stored"),
    [("20260102", "20260102"), ("2026.01.02", "20260102"), ("2026-01-02 ", "20260102"), ("2026", ""), ("", ""),
     ("20260102-20260103", "")],
)  # fmt: skip
def test_dates_are_eight_digits_or_nothing(value: str, stored: str) -> None:
    assert fiona_date(value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [("101112", "101112"), ("101112.123456", "101112"), ("10:11:12", "101112"), ("1011", "101100"), ("10", "100000"),
     ("", ""), ("noon", "")],
)  # fmt: skip
def test_times_are_six_digits_or_nothing(value: str, stored: str) -> None:
    assert fiona_time(value) == stored


@pytest.mark.parametrize("number", ["", "abc", "1.5", "1e3"])
def test_a_series_number_that_is_none_stays_out(number: str) -> None:
    assert (
        incoming_rows(replace(STUDY, series=(replace(SERIES_ONE, series_number=number),)))[1][0][
            "series_number"
        ]
        == ""
    )


def test_what_a_transfer_leaves_open_is_absent() -> None:
    assert transfer_fields(ROW) == {
        "transfer_project_name": "BRAIN1", "transfer_name": "B001", "transfer_event_name": "", "transfer_key": "key",
        "transfer_status": "0", "transfers_complete": "0",
    }  # fmt: skip


def test_an_attempt_sets_every_box_and_the_messages() -> None:
    fields = transfer_fields(
        replace(
            ROW, status=TransferStatus.FAILED, transfer_date="2026-01-02 10:31", deidentification_failed=True
        )
    )
    assert [fields[f"transfer_error___{code}"] for code in (1, 2, 3)] == ["1", "0", "0"]
    assert fields["transfer_error_message"] == "[]"
    assert fields["transfers_complete"] == "1"


def test_every_source_has_its_code() -> None:
    field = next(row for row in role_dictionary("Incoming").fields if row["field_name"] == "transfer_source")
    codes = {part.split(",")[0].strip() for part in field["select_choices_or_calculations"].split("|")}
    assert codes == {str(code) for code in TRANSFER_SOURCES.values()}


@pytest.mark.parametrize(
    ("fields", "pending"),
    [
        ({}, False),
        ({"transfer_requested_date": "2026-01-02 10:30"}, True),
        ({"transfer_requested_date": "2026-01-02 10:30", "transfer_name": ""}, False),
        ({"transfer_requested_date": "2026-01-02 10:30", "transfer_date": "2026-01-02 10:31"}, False),
        ({"transfer_requested_date": "2026-01-02 10:30", "transfer_date": "2026-01-02 10:30"}, False),
        ({"transfer_requested_date": "2026-01-03 10:30", "transfer_date": "2026-01-02 10:31"}, True),
        ({"transfer_requested_date": "2026-01-03 10:30", "transfer_status": "5"}, False),
    ],
)
def test_a_transfer_is_pending_until_it_was_done_after_the_request(
    fields: dict[str, str], pending: bool
) -> None:
    assert is_pending({"transfer_project_name": "BRAIN1", "transfer_name": "B001", **fields}) is pending


def test_nothing_of_the_patient_is_in_a_printed_registration() -> None:
    text = repr(replace(STUDY, accession_number="ACC-77", description="Nansen"))
    assert "ACC-77" not in text
    assert "Nansen" not in text
    assert "B001" not in repr(ROW)
