from __future__ import annotations

from fiona_dagster.domain.breaker import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    PROBE_SECONDS,
    Breaker,
    after_failure,
    back_off,
    probing,
)


def test_one_that_nobody_answers_at_is_left_alone_at_once_and_longer_each_time() -> None:
    breaker, waits = Breaker(), []
    for _ in range(12):
        breaker = after_failure(breaker, "PACS", now=0.0, unreachable=True, reason="down")
        waits.append(breaker.retry_at)
    assert not breaker.admits(waits[-1] - 1)
    assert breaker.admits(waits[-1])
    assert waits[0] < waits[2] < waits[4]
    assert 0.75 * FIRST_SECONDS <= waits[0] <= 1.25 * FIRST_SECONDS
    assert max(waits) <= 1.25 * LONGEST_SECONDS


def test_failures_of_one_that_answers_are_tolerated_twice() -> None:
    breaker = Breaker()
    states = []
    for _ in range(3):
        breaker = after_failure(breaker, "PACS", now=5.0, unreachable=False, reason="busy")
        states.append(breaker.admits(5.0))
    assert states == [True, True, False]


def test_two_destinations_are_not_tried_at_the_same_moment() -> None:
    assert back_off(3, "A") != back_off(3, "B")
    assert back_off(3, "A") == back_off(3, "A")


def test_while_one_probes_the_others_wait_but_not_for_ever() -> None:
    opened = after_failure(Breaker(), "PACS", now=0.0, unreachable=True, reason="down")
    under_way = probing(opened, now=100.0)
    assert not under_way.admits(101.0)
    assert under_way.admits(100.0 + PROBE_SECONDS)
    assert probing(Breaker(), now=100.0) == Breaker()
