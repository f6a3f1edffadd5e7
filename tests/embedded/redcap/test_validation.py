"""Text validations (redcap-contract 1.5)."""

from __future__ import annotations

import pytest

from fiona_dagster.embedded.redcap.model import Column, field_of
from fiona_dagster.embedded.redcap.validation import judge_of
from tests.contract.api import field, validated


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("integer", "-3", "-3"), ("integer", "3.0", None), ("integer", "٣", None), ("number", "1e5", "1e5"),
        ("number", ".5", ".5"), ("number", "1,5", None), ("number_2dp", "1.50", "1.50"), ("number_2dp", "1.5", None),
        ("number_comma_decimal", "1,5", "1,5"), ("time", "23:59", "23:59"), ("time", "24:00", None),
        ("time_mm_ss", "59:59", "59:59"), ("email", "a@b.no", "a@b.no"), ("email", "a@b", None),
        ("alpha_only", "abc", "abc"), ("alpha_only", "a1", None), ("zipcode", "12345-6789", "12345-6789"),
        ("ssn", "123-45-6789", "123-45-6789"), ("mrn_10d", "1234567890", "1234567890"), ("mrn_10d", "1", None),
        ("mrn_11d", "whatever", "whatever"), ("", "anything", "anything"),
        ("date_ymd", "2026-02-28", "2026-02-28"), ("date_dmy", "2026-02-28", "2026-02-28"),
        ("date_ymd", "2026-02-30", None), ("date_ymd", "20260228", None),
        ("datetime_ymd", "2026-02-28 10:15", "2026-02-28 10:15"), ("datetime_ymd", "2026-02-28", None),
        ("datetime_ymd", "2026-02-28 10:15:00", None),
        ("datetime_seconds_mdy", "2026-02-28 10:15:16", "2026-02-28 10:15:16"),
    ],
)  # fmt: skip
def test_a_value_is_taken_or_not(kind: str, value: str, stored: str | None) -> None:
    one = field_of(field("x", "form", **validated(kind)))
    judge = judge_of(Column("x", one), "YMD")
    assert (value if judge is None else judge(value)) == stored
