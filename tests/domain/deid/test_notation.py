from __future__ import annotations

import datetime as dt

import pytest

from fiona_dagster.domain.deid.notation import dates_in

EVE = dt.date(1953, 12, 24)


@pytest.mark.parametrize(
    "text",
    [
        "19531224", "24121953", "19531224101112", "1953-12-24", "1953.12.24", "1953 12 24", "24.12.1953", "24/12-1953",
        "24. 12. 1953", "12/24/1953", "24. december 1953", "24des1953", "24 desember 53", "december 24, 1953",
        "dec 24 '53", "24.12.53", "24/12-53", "24-12-53", "12/24/53", "53-12-24", "24 12 53", "24. 12. 53",
        "born 24.12.53, seen", "1 24.12-53", "24.12.53.", "xdec 24, 1953",
    ],
)  # fmt: skip
def test_one_date_is_read_in_any_notation(text: str) -> None:
    assert EVE in dates_in(text)


def test_a_year_of_two_digits_is_one_of_both_centuries() -> None:
    assert dates_in("24.12.53") == {EVE, EVE.replace(year=2053)}


@pytest.mark.parametrize(
    "text", ["", "531224", "1.24.12.53", "24.12.53.7", "124.12.53", "24.12.5", "24.12.1853", "31.02.53"]
)
def test_other_numbers_are_no_date_of_two_digits(text: str) -> None:
    assert not {EVE, EVE.replace(year=1853)} & dates_in(text)
    assert dates_in("31.02.1953") == set()
