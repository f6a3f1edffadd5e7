from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.moments import SKEW_SECONDS, Moment, elapsed

SECONDS = st.floats(0, 1e7)
JUMPS = st.floats(-1e6, 1e6)


@given(SECONDS, SECONDS, JUMPS)
def test_within_one_start_of_the_machine_no_setting_of_the_clock_counts(
    uptime: float, passed: float, jump: float
) -> None:
    since = Moment(1e9, "boot", uptime)
    now = Moment(1e9 + passed + jump, "boot", uptime + passed)
    assert abs(elapsed(since, now) - passed) < 1e-3


@given(SECONDS, SECONDS, SECONDS)
def test_over_a_restart_it_is_never_more_than_has_passed_however_far_the_clock_was_put_on(
    before: float, uptime: float, jump: float
) -> None:
    now = Moment(1e9 + before + uptime + jump, "second", uptime)
    assert elapsed(Moment(1e9, "first", 5.0), now) <= before + uptime


@given(SECONDS, st.floats(SKEW_SECONDS + 1, 1e6))
def test_a_clock_that_was_set_back_over_a_restart_holds_nothing_up_for_longer_than_the_machine_is_up(
    uptime: float, back: float
) -> None:
    assert elapsed(Moment(1e9, "first", 5.0), Moment(1e9 - back, "second", uptime)) == uptime


def test_clocks_of_two_machines_that_differ_a_little_are_no_passed_time() -> None:
    assert elapsed(Moment(1e9, "one", 900.0), Moment(1e9 - 2, "other", 5000.0)) == 0.0
    assert elapsed(Moment(1e9, "one", 900.0), Moment(1e9 + 20, "other", 5000.0)) == 20.0


def test_a_machine_that_does_not_tell_its_start_goes_by_the_clock() -> None:
    assert elapsed(Moment(100.0), Moment(116.0)) == 16.0
    assert elapsed(Moment(100.0), Moment(90.0)) == 0.0


def test_a_moment_before_another() -> None:
    now = Moment(100.0, "boot", 50.0)
    assert elapsed(now.before(7.0), now) == 7.0
