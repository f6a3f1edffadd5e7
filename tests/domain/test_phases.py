from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.phases import BACK_OFF_SECONDS, Due, EarlierRun, Phase, attempt_due, run_key

DUE = Due(StudyKey("20270115-0123456789ab"), Phase.TRANSFER, "2.0")


def test_the_first_run_is_due_at_once() -> None:
    assert attempt_due([], now=0) == 0


def test_nothing_is_due_while_a_run_goes_on() -> None:
    assert attempt_due([EarlierRun(10.0), EarlierRun(None)], now=1e9) is None


def test_a_run_that_left_the_work_undone_is_repeated_after_a_pause() -> None:
    assert attempt_due([EarlierRun(100.0)], now=100.0 + BACK_OFF_SECONDS[0] - 1) is None
    assert attempt_due([EarlierRun(100.0)], now=100.0 + BACK_OFF_SECONDS[0]) == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_work_is_never_given_up_and_every_attempt_has_its_own_key(ends: list[float]) -> None:
    earlier = [EarlierRun(end) for end in ends]
    attempt = attempt_due(earlier, now=max(ends) + BACK_OFF_SECONDS[-1])
    assert attempt == len(ends)
    assert len({run_key(DUE, number) for number in range(attempt + 1)}) == attempt + 1


def test_keys_and_tags_name_the_study_by_its_ledger_key_only() -> None:
    assert run_key(DUE, 1) == "20270115-0123456789ab:transfer:2.0:1"
    assert set(DUE.tags.values()) == {"20270115-0123456789ab", "transfer", "2.0"}
