"""Incoming's `series_burned_in` and box 3 of `transfer_error` tell what became of a series' pixels."""

from __future__ import annotations

from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.pixels.masks import Mask, Masking
from fiona_dagster.domain.pixels.series_state import burned_in_states, is_redacted
from fiona_dagster.domain.registration import BurnedIn
from fiona_dagster.domain.transfer import Disposition, ReleaseRow

MASKED = Masking("an ultrasound", ("reading",), (Mask(0, 0, 1, 1, 5, 5),)).to_json()
READ = Masking("an ultrasound", ("reading",)).to_json()
SUSPECTED = "pixels may carry burned-in text: a secondary capture"
YES = "pixels may carry burned-in text: BurnedInAnnotation is YES"


def held(identity: int, reason: str) -> ReleaseRow:
    return ReleaseRow(identity, Disposition.HELD, reason)


def copied(identity: int, masking: str = "") -> ReleaseRow:
    return ReleaseRow(identity, Disposition.RELEASED, path="output/copy.dcm", masking=masking)


def states(*rows: ReleaseRow, types: tuple[str, ...] = ()) -> dict[str, BurnedIn]:
    series = [ClassifiedSeries("1.2", "US", types, 2), ClassifiedSeries("1.3", "CT", (), 1)]
    return burned_in_states(series, {1: "1.2", 2: "1.2", 3: "1.3"}, rows)


def test_nothing_is_said_of_series_in_which_nobody_looked() -> None:
    assert states(copied(3), held(3, "an object type that is not known")) == {}


def test_what_a_rule_classes_or_the_header_raises_is_suspected() -> None:
    assert states(types=("CHECKBURNEDINFO",)) == {"1.2": BurnedIn.SUSPECTED}
    assert states(held(1, SUSPECTED)) == {"1.2": BurnedIn.SUSPECTED}
    assert states(held(1, SUSPECTED), held(2, YES)) == {"1.2": BurnedIn.PRESENT}


def test_reading_knows_more_than_suspecting_and_one_masked_image_counts_for_its_series() -> None:
    assert states(held(1, SUSPECTED), copied(1, READ)) == {"1.2": BurnedIn.NONE}
    assert states(copied(1, READ), copied(2, MASKED), held(2, YES)) == {"1.2": BurnedIn.REDACTED}


def test_only_copies_whose_pixels_were_changed_count_as_redacted() -> None:
    assert is_redacted([copied(1, READ), copied(2, MASKED)])
    assert not is_redacted([copied(1, READ), held(2, SUSPECTED), copied(3)])
