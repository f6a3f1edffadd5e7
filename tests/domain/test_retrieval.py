"""When is everything here, and what is fetched: examples, and the decision against a source that says anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.procedures import Procedure, ProcedureState
from fiona_dagster.domain.retrieval import (
    BACK_OFF_SECONDS,
    GIVE_UP_SECONDS,
    NAMES_A_REQUEST,
    SETTLE_SECONDS,
    SETTLE_SECONDS_WITHOUT_STEP,
    Account,
    Fetch,
    Origin,
    RetrievalState,
    SeriesThere,
    after_error,
    after_look,
    to_compare,
)

NEW = Account("S", "1.2", "SCANNER@h:1", Origin.STEP, RetrievalState.ACTIVE, started_at=0.0, next_at=0.0)
ALL = frozenset({"1", "2", "3"})
WHOLE = (SeriesThere("A", 3, ALL),)
HERE = {"A": ALL}


def step(state: ProcedureState, **expected: tuple[str, ...]) -> Procedure:
    return Procedure("9.9", state, "MR1", "MR", expected, 0.0, None)


DONE = [step(ProcedureState.COMPLETED, A=("1", "2", "3"))]


def test_a_study_is_finished_when_two_looks_agree_that_all_is_here_and_its_step_has_ended() -> None:
    once, fetches = after_look(NEW, WHOLE, HERE, DONE, now=10.0)
    assert (once.state, fetches, once.next_at) == (RetrievalState.ACTIVE, (), 10.0 + SETTLE_SECONDS)
    too_soon, _ = after_look(once, WHOLE, HERE, DONE, now=20.0)
    assert (too_soon.state, too_soon.next_at) == (RetrievalState.ACTIVE, 10.0 + SETTLE_SECONDS)
    twice, _ = after_look(too_soon, WHOLE, HERE, DONE, now=10.0 + SETTLE_SECONDS)
    assert (twice.state, twice.reason, twice.expected) == (RetrievalState.FINISHED, "", 3)


def test_without_a_step_the_two_looks_lie_further_apart() -> None:
    once, _ = after_look(NEW, WHOLE, HERE, [], now=0.0)
    assert once.next_at == SETTLE_SECONDS_WITHOUT_STEP


@pytest.mark.parametrize(
    ("shown", "steps", "reason"),
    [
        ((), DONE, "the source shows no instance of it"),
        ((SeriesThere("A", 0),), DONE, "the source shows no instance of it"),
        ((SeriesThere("A", 2, frozenset({"1", "2"})),), DONE, "the source shows fewer instances than before"),
        ((SeriesThere("B", 9, ALL),), DONE, "the source shows fewer instances than before"),
        ((*WHOLE, SeriesThere("B", None)), DONE, "the source does not say how many instances a series has"),
        ((SeriesThere("A", 4, ALL),), DONE, "1 instances of the source are not here"),
        (WHOLE, [step(ProcedureState.IN_PROGRESS)], "a procedure step has not ended"),
        (WHOLE, [step(ProcedureState.COMPLETED, B=("7", "8"))],
         "2 instances that a procedure step names are not here"),
    ],
)  # fmt: skip
def test_what_keeps_a_study_from_being_finished_is_said_and_breaks_the_agreement(
    shown: tuple[SeriesThere, ...], steps: list[Procedure], reason: str
) -> None:
    once, _ = after_look(NEW, WHOLE, HERE, DONE, now=0.0)
    broken, _ = after_look(once, shown, HERE, steps, now=600.0)
    assert (broken.state, broken.reason) == (RetrievalState.ACTIVE, reason)
    again, _ = after_look(broken, WHOLE, HERE, DONE, now=1200.0)
    assert again.state is RetrievalState.ACTIVE, "counted from the beginning"


def test_an_error_breaks_the_agreement_and_the_next_look_backs_off() -> None:
    account, _ = after_look(NEW, WHOLE, HERE, DONE, now=0.0)
    for count, wait in enumerate((*BACK_OFF_SECONDS, BACK_OFF_SECONDS[-1]), start=1):
        account = after_error(account, "down", now=100.0)
        assert (account.errors, account.next_at, account.agreed_at) == (count, 100.0 + wait, None)
    assert after_error(NEW, "not admitted", now=0.0, lasting=True).next_at == BACK_OFF_SECONDS[-1]


def test_after_a_day_a_study_is_given_up_with_its_reason_and_nothing_more_is_fetched() -> None:
    late = GIVE_UP_SECONDS + 1
    tried, fetches = after_look(NEW, WHOLE, {"A": {"1"}}, DONE, now=late)
    assert tried.state is RetrievalState.ACTIVE, (
        "it was away, perhaps: what it has now is asked for once more"
    )
    assert fetches
    coming, nothing = after_look(tried, WHOLE, {"A": {"1"}}, DONE, now=late, still_coming=True)
    assert (coming.state, nothing) == (RetrievalState.ACTIVE, ())
    assert coming.reason.endswith("not asked for while images of it are coming")
    failed, fetches = after_look(tried, WHOLE, {"A": {"1"}}, DONE, now=late + 1)
    assert (failed.state, fetches) == (RetrievalState.FAILED, ())
    assert failed.reason == "2 instances of the source are not here"
    assert after_error(NEW, "down", now=late).state is RetrievalState.FAILED
    settling, _ = after_look(NEW, WHOLE, HERE, DONE, now=late)
    assert settling.state is RetrievalState.ACTIVE, "what is whole gets its second look"
    assert after_error(NEW, "down", now=-5.0).state is RetrievalState.ACTIVE, "the clock was set back"


def test_a_series_of_which_nothing_is_here_is_fetched_whole_and_another_by_name() -> None:
    names = frozenset(f"{n:03d}" for n in range(NAMES_A_REQUEST + 2))
    shown = (SeriesThere("A", 3, ALL), SeriesThere("B", len(names), names))
    _, fetches = after_look(NEW, shown, {"B": {"000"}}, [], now=0.0)
    assert fetches[0] == Fetch("A")
    assert [len(one.sop_instance_uids) for one in fetches[1:]] == [NAMES_A_REQUEST, 1]
    assert "000" not in {uid for one in fetches for uid in one.sop_instance_uids}


def test_fetches_that_bring_nothing_change_their_manner_and_get_rarer() -> None:
    account, requests, waits = NEW, [], []
    for _ in range(6):
        now = account.next_at
        account, fetches = after_look(account, WHOLE, {"A": {"1"}}, [], now=now)
        requests.append([one.sop_instance_uids for one in fetches])
        waits.append(account.next_at - now)
    lists, single, whole = [("2", "3")], [("2",), ("3",)], [()]
    assert requests == [lists, lists, single, whole, lists, lists]
    assert waits == [15.0, 15.0, 60.0, 300.0, 900.0, 3600.0]
    some, _ = after_look(account, WHOLE, {"A": {"1", "2"}}, [], now=account.next_at)
    assert some.fruitless == 1, "it brought something: from the beginning"


def test_nothing_is_fetched_while_images_are_coming() -> None:
    account, fetches = after_look(NEW, WHOLE, {}, [], now=0.0, still_coming=True)
    assert (fetches, account.missing, account.fruitless) == ((), 3, 0)


def test_instances_are_asked_for_by_name_until_a_number_was_compared() -> None:
    shown = [SeriesThere("A", 3), SeriesThere("B", None), SeriesThere("C", 5)]
    here = {"A": ALL, "C": ALL}
    assert to_compare(NEW, shown, here) == ["A", "B", "C"]
    compared, _ = after_look(NEW, WHOLE, HERE, [], now=0.0)
    assert to_compare(compared, shown, here) == ["B", "C"]
    assert to_compare(compared, [SeriesThere("A", 3)], {"A": {"1", "2"}}) == ["A"]


def test_an_instance_that_came_under_another_series_is_not_missing() -> None:
    account, fetches = after_look(NEW, WHOLE, {"B": ALL}, [], now=0.0)
    assert (account.missing, fetches) == (0, ())


def test_equal_numbers_of_other_instances_are_not_enough() -> None:
    account, fetches = after_look(NEW, WHOLE, {"A": {"7", "8", "9"}}, [], now=0.0)
    assert account.missing == 3
    assert fetches == (Fetch("A", ("1", "2", "3")),)


UIDS = st.sets(st.sampled_from(["1", "2", "3", "4", "5"]))
SHOWN = st.none() | st.dictionaries(
    st.sampled_from(["A", "B"]), st.tuples(st.none() | st.integers(0, 6), st.none() | UIDS)
)
STATES = st.lists(st.sampled_from(list(ProcedureState)), max_size=2)


@given(st.lists(st.tuples(SHOWN, UIDS, STATES, st.integers(-100, 7200)), max_size=12))
def test_whatever_a_source_says_only_two_full_looks_in_a_row_that_agree_finish(
    looks: list[
        tuple[dict[str, tuple[int | None, set[str] | None]] | None, set[str], list[ProcedureState], int]
    ],
) -> None:
    """A source that lies, forgets and fails at random; what came here only grows."""
    account, now, here = NEW, 0.0, dict[str, frozenset[str]]()
    ever: dict[str, int] = {}
    complete: list[tuple[float, dict[str, int]]] = []
    for said, came, states, passes in looks:
        if account.state is not RetrievalState.ACTIVE:
            break
        now += passes
        here = {"A": here.get("A", frozenset()) | came}
        if said is None:
            account = after_error(account, "down", now=now)
            complete.clear()
            continue
        shown = [SeriesThere(uid, n, None if u is None else frozenset(u)) for uid, (n, u) in said.items()]
        counts = {one.series_instance_uid: one.count or 0 for one in shown}
        steps = [step(state) for state in states]
        account, fetches = after_look(account, shown, here, steps, now=now)
        whole = (
            sum(counts.values()) > 0
            and all(one.count is not None for one in shown)
            and all(counts.get(uid, 0) >= number for uid, number in ever.items())
            and all((one.uids or frozenset()) <= here["A"] for one in shown)
            and all(s.is_final for s in states)
        )
        ever = {uid: max(counts.get(uid, 0), ever.get(uid, 0)) for uid in {*counts, *ever}}
        assert account.expected == sum(ever.values())
        complete = [*complete, (now, counts)] if whole else []
        if account.state is RetrievalState.FINISHED:
            assert len([1 for _, one in complete if one == counts]) >= 2
            assert not fetches
        for fetch in fetches:
            assert not set(fetch.sop_instance_uids) & here["A"], "what is here is not asked for by name"
    assert replace(account, next_at=0.0).reason or account.state is RetrievalState.FINISHED or account == NEW
