"""When a study has arrived: decided by what was announced and by time that has passed for certain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.arrival import (
    Announced,
    ArrivedStudy,
    Completes,
    Shortfall,
    StudyActivity,
    Waits,
    arrival_of,
)
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.moments import Moment

KEY = StudyKey("20270115-0123456789ab")
LAST = Moment(1e9, "boot", 1000.0)
QUIET, PATIENCE = 16.0, 86_400.0
SHORT = (Shortfall("CT", 100, 90),)


def activity(**changes: Any) -> StudyActivity:
    values: dict[str, Any] = {
        "key": KEY, "site": "ABCD", "revision": 0, "instance_count": 3, "arrived_count": 0, "heard": LAST,
        "open_associations": 0,
    }  # fmt: skip
    return StudyActivity(**{**values, **changes})


def announced(**values: Any) -> StudyActivity:
    return activity(announced=Announced(**values))


def after(seconds: float, *, jump: float = 0.0) -> Moment:
    """So long after the last instance; the clock was set by `jump` meanwhile."""
    return Moment(LAST.at + seconds + jump, LAST.boot, LAST.uptime + seconds)


def decided(study: StudyActivity, now: Moment) -> Waits | Completes:
    return arrival_of(study, now=now, quiet_seconds=QUIET, patience_seconds=PATIENCE)


def test_a_study_of_which_nothing_is_known_arrives_after_the_quiet_period() -> None:
    assert decided(activity(), after(QUIET)) == Completes("quiet for 16 s", complete=None)
    assert decided(activity(), after(15.9)) == Waits("quiet for 16 s of 16 s")


def test_an_open_association_that_carries_the_study_keeps_it_waiting_however_quiet_it_is() -> None:
    for study in (activity(open_associations=1), replace(announced(ended=1), open_associations=1)):
        found = decided(study, after(1e6))
        assert isinstance(found, Waits)
        assert "open Association" in found.reason


def test_late_images_reopen_a_study_and_nothing_new_does_not() -> None:
    assert isinstance(decided(activity(arrived_count=2, revision=1), after(200)), Completes)
    assert isinstance(decided(activity(arrived_count=3, revision=1), after(200)), Waits)


def test_a_step_in_progress_keeps_a_quiet_study_waiting_for_a_day_and_no_longer() -> None:
    study = announced(in_progress=1, heard=LAST)
    assert decided(study, after(3600)) == Waits(
        "1 procedure step(s) in progress, for 1.0 h of 24.0 h", incomplete=True
    )
    assert decided(study, after(PATIENCE)) == Completes(
        "1 procedure step(s) in progress: given up after 24.0 h", complete=False
    )


def test_a_study_of_which_every_announced_instance_is_here_is_complete_at_once() -> None:
    study = announced(ended=2, heard=LAST)
    assert decided(study, after(0)) == Completes(
        "every instance that its procedure steps name is here", complete=True
    )


def test_instances_that_no_step_names_bring_the_quiet_period_back() -> None:
    study = announced(ended=1, unannounced=1)
    assert isinstance(decided(study, after(1)), Waits)
    assert decided(study, after(QUIET)) == Completes("quiet for 16 s", complete=True)


def test_what_a_step_or_the_source_has_more_is_waited_for_and_then_marked() -> None:
    study = announced(ended=1, shortfalls=SHORT, expected=100)
    assert decided(study, after(QUIET)) == Waits(
        "10 instance(s) missing, for 16 s of 24.0 h", incomplete=True
    )
    assert decided(study, after(PATIENCE)) == Completes(
        "10 instance(s) missing: given up after 24.0 h", complete=False
    )


def test_news_of_a_step_begin_the_wait_anew() -> None:
    study = announced(ended=1, shortfalls=SHORT, heard=after(PATIENCE - 60))
    assert isinstance(decided(study, after(PATIENCE)), Waits)


def test_no_patience_is_no_wait_and_still_no_silence() -> None:
    study = announced(ended=1, shortfalls=SHORT)
    found = arrival_of(study, now=after(QUIET), quiet_seconds=QUIET, patience_seconds=0.0)
    assert isinstance(found, Completes)
    assert found.complete is False


def test_a_whole_studys_count_and_its_series_are_not_added_up() -> None:
    both = (Shortfall("", 100, 90), Shortfall("CT", 60, 52))
    assert ArrivedStudy(KEY, "ABCD", 1, 90, shortfalls=both).missing == 10
    assert ArrivedStudy(KEY, "ABCD", 2, 90).missing == 0
    assert ArrivedStudy(KEY, "ABCD", 2, 90).is_late_addition


COUNTS = st.integers(0, 3)
STUDIES = st.builds(
    lambda steps, count, arrived, associations, short: activity(
        instance_count=count,
        arrived_count=arrived,
        open_associations=associations,
        announced=Announced(
            in_progress=steps[0],
            ended=steps[1],
            unannounced=steps[2],
            shortfalls=tuple(Shortfall("CT", 5, 5 - one) for one in short),
            heard=LAST if steps[0] or steps[1] else None,
        ),
    ),
    st.tuples(COUNTS, COUNTS, COUNTS), st.integers(1, 5), st.integers(0, 5), COUNTS,
    st.lists(st.integers(1, 5), max_size=3),
)  # fmt: skip
SECONDS = st.floats(0, 3 * PATIENCE)


@given(STUDIES, SECONDS, st.floats(-1e7, 1e7))
def test_setting_the_clock_changes_no_decision(study: StudyActivity, passed: float, jump: float) -> None:
    assert decided(study, after(passed, jump=jump)) == decided(study, after(passed))


@given(STUDIES, SECONDS, SECONDS)
def test_a_study_that_has_arrived_does_not_unarrive_by_waiting(
    study: StudyActivity, passed: float, more: float
) -> None:
    if isinstance(decided(study, after(passed)), Completes):
        assert isinstance(decided(study, after(passed + more)), Completes)


@given(STUDIES)
def test_every_study_that_nothing_carries_ends_within_its_patience(study: StudyActivity) -> None:
    new = study.instance_count > study.arrived_count
    if new and not study.open_associations:
        assert isinstance(decided(study, after(PATIENCE)), Completes)


@given(STUDIES, SECONDS)
def test_what_is_known_to_be_incomplete_is_never_called_complete(study: StudyActivity, passed: float) -> None:
    found = decided(study, after(passed))
    if study.announced.in_progress or study.announced.shortfalls:
        assert not (isinstance(found, Completes) and found.complete is not False)
    elif isinstance(found, Completes):
        assert found.complete is not False


@given(STUDIES, SECONDS)
def test_nothing_is_closed_before_the_quiet_period_but_what_is_wholly_announced(
    study: StudyActivity, passed: float
) -> None:
    if isinstance(decided(study, after(passed)), Completes) and passed < QUIET:
        assert study.announced.ended
        assert not study.announced.unannounced
        assert not study.announced.shortfalls
